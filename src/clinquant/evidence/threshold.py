"""The operating point on P(positive), chosen on tune by one stated rule and then frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.evidence.metrics import Floats, Ints, Mask

RULES = "youden, sens=X, spec=X (X above 0, at most 1) or argmax"


def choose_threshold(predictions: Predictions, positive: int | None, rule: str = "youden") -> float | None:
    """Threshold t on P(positive), positive where P >= t; None for `argmax` (the highest score decides).

    `youden` takes the greatest sensitivity + specificity - 1 (Youden 1950, Cancer 3, 32-35). `sens=X` takes the highest threshold that
    still has sensitivity X, `spec=X` the lowest that has specificity X. Of equal ones the more sensitive is taken. The threshold lies
    midway between the lowest probability called positive and the highest that is not, so that no case of tune sits on it.

    Args:
        predictions: of the tune set, labelled.
        positive: index of the diseased class; None only with `argmax`.
        rule: as above.

    Raises:
        ClinquantError: `threshold-rule` when the rule is malformed or does not fit the task, `threshold-one-class` when tune lacks
            cases of either kind.
    """
    name, level = parse_rule(rule)
    if name == "argmax":
        return None
    if positive is None:
        raise ClinquantError("threshold-rule", f"rule {rule!r} needs two classes.", fix="use --threshold argmax.")
    diseased = predictions.labels == positive
    if diseased.all() or not diseased.any():
        raise ClinquantError(
            "threshold-one-class",
            f"{int(diseased.sum())} of the {len(diseased)} tune cases are positive: no threshold can be chosen.",
            fix="give the tune set cases of both classes, or use --threshold argmax.",
        )
    cuts = _cuts(predictions.probabilities[:, positive], diseased)
    return float(cuts.thresholds[_best(cuts, name, level)])


def parse_rule(rule: str) -> tuple[str, float]:
    """The rule's name and level: ("sens", 0.95) of `sens=.95`; level 0 where the rule has none. Raises ClinquantError `threshold-rule`."""
    name, equals, text = rule.partition("=")
    if name in ("youden", "argmax") and not equals:
        return name, 0.0
    try:
        level = float(text)
    except ValueError:
        level = -1.0
    if name not in ("sens", "spec") or not 0.0 < level <= 1.0:
        raise ClinquantError("threshold-rule", f"threshold rule {rule!r} is not known.", fix=f"use {RULES}.")
    return name, level


@dataclass(frozen=True, eq=False)
class _Cuts:
    """All distinct ways to cut, from all positive to none: thresholds, and the counts on the right side of each."""

    thresholds: Floats
    true_positives: Ints
    true_negatives: Ints


def _cuts(probabilities: Floats, diseased: Mask) -> _Cuts:
    values, where = np.unique(probabilities, return_inverse=True)
    sick = np.bincount(where, weights=diseased, minlength=len(values)).astype(np.int64)
    well = np.bincount(where, weights=~diseased, minlength=len(values)).astype(np.int64)
    above = np.concatenate([[0], np.cumsum(sick[::-1])])[::-1]
    below = np.concatenate([[0], np.cumsum(well)])
    return _Cuts(_midpoints(values), above, below)


def _midpoints(values: NDArray[Any]) -> Floats:
    """Between neighbours; halfway to 0 below the lowest, halfway to 1 (or just over 1) above the highest."""
    edges = np.concatenate([[0.0], values, [1.0]])
    middle = (edges[:-1] + edges[1:]) / 2
    return np.concatenate([np.where(middle[:-1] > edges[:-2], middle[:-1], values), [max(middle[-1], np.nextafter(values[-1], 2.0))]])


def _best(cuts: _Cuts, name: str, level: float) -> int:
    """Index of the cut by rule; cuts run from the most sensitive on, and `argmax` takes the first of equal ones."""
    positives, negatives = int(cuts.true_positives[0]), int(cuts.true_negatives[-1])
    if name == "youden":
        return int(np.argmax(cuts.true_positives * negatives + cuts.true_negatives * positives))
    if name == "sens":
        enough = cuts.true_positives >= level * positives - 1e-9
        return int(np.flatnonzero(enough)[-1])
    enough = cuts.true_negatives >= level * negatives - 1e-9
    return int(np.flatnonzero(enough)[0])
