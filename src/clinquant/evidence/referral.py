"""The confidence under which a case is not answered but REFERred to a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinquant.core.predictions import Predictions
from clinquant.evidence.decision import decide
from clinquant.evidence.evidence import Referred
from clinquant.evidence.metrics import risk_coverage
from clinquant.evidence.paired import Paired

FEWEST_CASES = 20
"""Below this the least confident twentieth is less than one case, and no confidence is chosen."""

FEWEST_ERRORS = 5
"""Below this the error among kept cases cannot be told from half the error of all."""

FALLBACK_SHARE = 0.05
"""Referred where errors are too few to choose by."""


@dataclass(frozen=True, kw_only=True)
class Referral:
    """The confidence chosen, and what it does on the cases it was chosen on.

    Attributes:
        below: a case whose highest probability is under this is referred; None when none could be chosen.
        referred: share of cases referred.
        error: error of all cases; `error_kept`: of those answered.
        rule: how it was chosen, in one sentence.
    """

    below: float | None
    referred: float
    error: float
    error_kept: float
    rule: str


def choose_referral(
    predictions: Predictions, *, threshold: float | None = None, positive: int | None = None, most: float = 0.2
) -> float | None:
    """The `below` of `plan_referral`: refer a case whose highest probability is under it; None with fewer than 20 cases."""
    return plan_referral(predictions, threshold=threshold, positive=positive, most=most).below


def plan_referral(predictions: Predictions, *, threshold: float | None = None, positive: int | None = None, most: float = 0.2) -> Referral:
    """The smallest confidence that at least halves the error of the cases kept, referring at most the share `most`.

    Where no confidence within that share halves it, the least confident `most` are referred. With fewer than 5 errors, halving cannot be
    measured and the least confident 5% are referred; with fewer than 20 cases none are. A confidence lies midway between its neighbours.

    Args:
        predictions: of the referral half of tune, labelled.
        threshold: operating point on P(positive) that decides, or None for the highest score.
        positive: index of the diseased class when there are two.
        most: greatest share of cases to refer.
    """
    wrong = decide(predictions, threshold, positive) != predictions.labels
    n, errors = len(wrong), int(wrong.sum())
    error = errors / n if n else 0.0
    if n < FEWEST_CASES:
        rule = f"no confidence was chosen: {n} cases are fewer than {FEWEST_CASES}"
        return Referral(below=None, referred=0.0, error=error, error_kept=error, rule=rule)
    confidence = predictions.probabilities.max(axis=1)
    curve = risk_coverage(confidence, wrong)
    share = most if errors >= FEWEST_ERRORS else FALLBACK_SHARE
    within = np.flatnonzero(curve.coverage >= 1.0 - share - 1e-9)
    halved = within[curve.risk[within] <= error / 2] if errors >= FEWEST_ERRORS else within[:0]
    kept = int(halved[-1]) if len(halved) else int(within[0])
    return Referral(
        below=_between(curve.confidence, kept),
        referred=1.0 - float(curve.coverage[kept]),
        error=error,
        error_kept=float(curve.risk[kept]),
        rule=_rule(errors, bool(len(halved)), share),
    )


def referred(paired: Paired, predictions: Predictions, below: float | None, threshold: float | None, positive: int | None) -> Referred:
    """What the confidence `below` does on the rows of `predictions`, one file of `paired`."""
    wrong = decide(predictions, threshold, positive) != paired.labels
    kept = np.ones(len(wrong), dtype=np.bool_) if below is None else predictions.probabilities.max(axis=1) >= below
    return Referred(
        below=below,
        referred=float(1 - kept.mean()),
        error=float(wrong.mean()),
        error_kept=float(wrong[kept].mean()) if kept.any() else None,
    )


def _between(confidences: np.ndarray[tuple[int, ...], np.dtype[np.float64]], kept: int) -> float:
    """Midway between the lowest confidence kept and the next one below; the lowest itself when all are kept."""
    lowest = float(confidences[kept])
    below = float(confidences[kept + 1]) if kept + 1 < len(confidences) else lowest
    middle = (lowest + below) / 2
    return middle if middle > below else lowest


def _rule(errors: int, halved: bool, share: float) -> str:
    if errors < FEWEST_ERRORS:
        return f"the least confident {share:.0%}: {errors} errors are too few to choose by"
    return f"the smallest confidence that halves the error, at most {share:.0%} referred" if halved else f"the least confident {share:.0%}"
