"""The plots of section “Performance”, computed from the two prediction tables by the functions of the evidence room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clinquant.core.predictions import Predictions
from clinquant.evidence.evidence import FILES, Evidence
from clinquant.evidence.metrics import class_aucs, log_odds, risk_coverage, roc
from clinquant.evidence.reliability import reliability_bins
from clinquant.report.plots.axes import Svg
from clinquant.report.plots.reliability import reliability_plot
from clinquant.report.plots.risk import risk_plot
from clinquant.report.plots.roc import roc_plot, small_roc_plot
from clinquant.report.wording import rate

PANELS = 12
"""Most one-versus-rest panels shown; beyond it, those whose AUC changed most."""


@dataclass(frozen=True)
class Panel:
    """The ROC plot of one class; `class_name` is untrusted text."""

    class_name: str
    aucs: str
    plot: Svg


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The finished plots; `roc` for two classes, `panels` for more."""

    roc: Svg | None
    panels: tuple[Panel, ...]
    panels_left_out: int
    reliability: Svg
    risk: Svg
    cases: int


def curves(evidence: Evidence, predictions: Mapping[str, Predictions]) -> Curves | None:
    """Every plot of the locked test set; None when no case has a label."""
    known = {file: predictions[file].take(predictions[file].labels >= 0) for file in FILES}
    if not len(known["float"]):
        return None
    two = evidence.positive is not None
    panels, left_out = ((), 0) if two else _panels(known)
    return Curves(
        roc=_roc(evidence, known) if two else None,
        panels=panels,
        panels_left_out=left_out,
        reliability=_reliability(evidence, known),
        risk=risk_plot(
            {file: risk_coverage(table.probabilities.max(axis=1), table.decisions != table.labels) for file, table in known.items()}
        ),
        cases=len(known["float"]),
    )


def _roc(evidence: Evidence, known: Mapping[str, Predictions]) -> Svg | None:
    """The curve of the positive class, with the operating points as the evidence has them."""
    positive = evidence.positive or 0
    labels = known["float"].labels
    if len(np.unique(labels)) < 2:
        return None
    values = {file: log_odds(table.scores)[:, positive] for file, table in known.items()}
    points = {}
    for file, point in evidence.operating_points.items():
        if point.sensitivity is not None and point.specificity is not None:
            points[file] = (1 - point.specificity, point.sensitivity)
    aucs = {file: class_aucs(table.scores, table.labels)[positive] for file, table in known.items()}
    return roc_plot({file: roc(value, labels == positive) for file, value in values.items()}, aucs, points)


def _panels(known: Mapping[str, Predictions]) -> tuple[tuple[Panel, ...], int]:
    """A plot a class that has cases and counter-cases; at most PANELS, those whose AUC changed most, in class order."""
    labels, classes = known["float"].labels, known["float"].classes
    aucs = {file: class_aucs(table.scores, table.labels) for file, table in known.items()}
    odds = {file: log_odds(table.scores) for file, table in known.items()}
    change = {k: abs((aucs["integer"][k] or 0.0) - (aucs["float"][k] or 0.0)) for k in range(len(classes)) if aucs["float"][k] is not None}
    shown = sorted(sorted(change, key=lambda k: -change[k])[:PANELS])
    panels = tuple(
        Panel(
            classes[k],
            f"AUC {rate(aucs['float'][k])} → {rate(aucs['integer'][k])}",
            small_roc_plot({file: roc(odds[file][:, k], labels == k) for file in FILES}, {file: aucs[file][k] for file in FILES}),
        )
        for k in shown
    )
    return panels, len(change) - len(shown)


def _reliability(evidence: Evidence, known: Mapping[str, Predictions]) -> Svg:
    bins = {file: reliability_bins(table.probabilities.max(axis=1), table.decisions == table.labels) for file, table in known.items()}
    return reliability_plot(bins, {file: evidence.reliability[file].ece for file in FILES})
