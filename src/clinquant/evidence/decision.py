"""What a file decides about each case: by its threshold on P(positive), else the class of the highest score."""

from __future__ import annotations

from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.evidence.metrics import Floats, Ints

Thresholds = tuple[float | None, float | None]
"""Operating points on P(positive) of baseline and candidate; None decides by the highest score."""


def decide(predictions: Predictions, threshold: float | None = None, positive: int | None = None) -> Ints:
    """[n] decided class: `positive` where P(positive) >= threshold, else the other; without a threshold the highest score.

    Raises:
        ClinquantError: `threshold-without-positive` when a threshold is given and the task has no positive class.
    """
    if threshold is None:
        return predictions.decisions
    if positive is None:
        raise ClinquantError(
            "threshold-without-positive", f"threshold {threshold} without a positive class.", fix="give a threshold only with two classes."
        )
    called = predictions.probabilities[:, positive] >= threshold
    return positive * called + (1 - positive) * (~called)


def decided_probability(predictions: Predictions, decisions: Ints, positive: int | None = None) -> Floats:
    """[n] P(positive) with two classes, else the probability of the class decided."""
    probabilities = predictions.probabilities
    if positive is not None:
        return probabilities[:, positive]
    return probabilities[range(len(predictions)), decisions]
