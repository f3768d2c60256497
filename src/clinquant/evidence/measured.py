"""What one file reaches on a labelled set, each figure with its interval; units, not images, are what is independent."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from clinquant.core.predictions import Predictions
from clinquant.evidence.bootstrap import bootstrap, macro_auc_difference, percentile_interval
from clinquant.evidence.interval import Interval, allow_unseen
from clinquant.evidence.metrics import Ints, Mask, log_odds, macro_auc
from clinquant.evidence.paired import Paired, pair_up
from clinquant.evidence.power import macro_strata
from clinquant.evidence.proportions import design_effect
from clinquant.evidence.wilson import wilson


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One metric of one file.

    Attributes:
        metric: `auc`, `accuracy`, `sensitivity`, `specificity` or `recall`.
        class_name: the class it is about, or None for all.
        value, lower, upper: in [0, 1]; None where there is no case to measure it on.
        confidence: of the two-sided interval.
        method: of the interval.
        unit: `image`, `patient` or `group`.
        n: units it rests on.
    """

    metric: str
    class_name: str | None = field(metadata={"json": "class"})
    value: float | None
    lower: float | None
    upper: float | None
    confidence: float
    method: str
    unit: str
    n: int


def measure_auc(predictions: Predictions, *, confidence: float = 0.95, unit_name: str = "patient", seed: int = 0) -> Measured:
    """Macro AUC with the bootstrap interval by unit, at least as wide as units like none seen could make it."""
    table = pair_up(predictions, predictions, unit_name)
    value = macro_auc(predictions.scores, predictions.labels)
    interval = None if value is None else _auc_interval(table, value, confidence, seed)
    return _measured("auc", None, value, interval, confidence, f"{table.unit} bootstrap, widened for unseen loss", table, table.units)


def measure_decisions(
    predictions: Predictions, decisions: Ints, positive: int | None, *, confidence: float = 0.95, unit_name: str = "patient"
) -> tuple[Measured, ...]:
    """Accuracy, then sensitivity and specificity, or with more classes each class's recall, of decided classes [n]."""
    table = pair_up(predictions, predictions, unit_name)
    # `pair_up` sorts the cases by id: the decisions go along.
    decided = decisions[np.argsort(np.array(predictions.ids, dtype=object), kind="stable")]
    right, labels, classes = decided == table.labels, table.labels, predictions.classes
    found = [_proportion("accuracy", None, np.ones(len(labels), dtype=np.bool_), right, table, confidence)]
    if positive is not None:
        sides = (("sensitivity", positive), ("specificity", 1 - positive))
        return (*found, *(_proportion(metric, classes[k], labels == k, right, table, confidence) for metric, k in sides))
    return (*found, *(_proportion("recall", name, labels == k, right, table, confidence) for k, name in enumerate(classes)))


def _auc_interval(table: Paired, value: float, confidence: float, seed: int) -> Interval:
    # Against a score that never changes, whose AUC is 1/2, the paired bootstrap is the bootstrap of the AUC itself.
    odds = log_odds(table.baseline.scores)
    statistic = macro_auc_difference(np.zeros_like(odds), odds, table.labels, table.unit_of_case)
    drawn = bootstrap([statistic], table.units, cells=len(table.labels), seed=seed)[0] + 0.5
    units = table.units_by_class()
    seen = percentile_interval(drawn, min(count for count in units if count), confidence)
    images = np.bincount(table.labels, minlength=len(units)).astype(float).tolist()
    widened = allow_unseen(seen, value, macro_strata(units, images), confidence)
    return Interval(max(0.0, widened.lower), min(1.0, max(widened.upper, value)))


def _proportion(metric: str, class_name: str | None, cases: Mask, right: Mask, table: Paired, confidence: float) -> Measured:
    rows = np.flatnonzero(cases)
    value = float(right[rows].mean()) if len(rows) else None
    effect = design_effect(right[rows].astype(np.int64), table.unit_of_case[rows]) if len(rows) else 1.0
    interval = wilson(float(right[rows].sum()) / effect, len(rows) / effect, confidence) if len(rows) else None
    method = "Wilson score by design effect" if table.clustered else "Wilson score"
    return _measured(metric, class_name, value, interval, confidence, method, table, table.units_among(rows))


def _measured(
    metric: str,
    class_name: str | None,
    value: float | None,
    interval: Interval | None,
    confidence: float,
    method: str,
    table: Paired,
    n: int,
) -> Measured:
    return Measured(
        metric=metric,
        class_name=class_name,
        value=value,
        lower=interval.lower if interval else None,
        upper=interval.upper if interval else None,
        confidence=confidence,
        method=method,
        unit=table.unit,
        n=n,
    )
