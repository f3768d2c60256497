"""DeLong's interval for the difference of two AUCs measured on the same cases.

DeLong, DeLong & Clarke-Pearson (1988). Biometrics 44, 837-845; structural components by midranks as Sun & Xu (2014), IEEE Signal
Processing Letters 21, 1389-1393. With units of several cases the components are summed by unit (Obuchowski 1997, Biometrics 53,
567-578), and for several classes averaged over the one-versus-rest AUCs, so that one formula serves all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.evidence.interval import Interval, normal_quantile
from clinquant.evidence.metrics import Floats, Ints, Mask, log_odds, midranks


@dataclass(frozen=True)
class DeLong:
    """AUC difference candidate - baseline, its standard error, and its normal interval."""

    difference: float
    standard_error: float
    interval: Interval


def delong(baseline: NDArray[Any], candidate: NDArray[Any], labels: Ints, unit_of_case: Ints, confidence: float = 0.95) -> DeLong | None:
    """Paired DeLong of the macro one-versus-rest AUC; None unless two classes have two cases each.

    Args:
        baseline, candidate: scores (logits), [n, k].
        labels: [n] in [0, k).
        unit_of_case: [n] index of each case's independent unit; all different for independent cases.
        confidence: two-sided.
    """
    present = [k for k in range(baseline.shape[1]) if 2 <= int((labels == k).sum()) <= len(labels) - 2]
    if len(present) < 2:
        return None
    before = [auc_components(log_odds(baseline)[:, k], labels == k) for k in present]
    after = [auc_components(log_odds(candidate)[:, k], labels == k) for k in present]
    difference = float(np.mean([a - b for (b, _), (a, _) in zip(before, after, strict=True)]))
    influence = np.mean([a - b for (_, b), (_, a) in zip(before, after, strict=True)], axis=0)
    error = float(np.sqrt(np.square(np.bincount(unit_of_case, weights=influence)).sum()))
    reach = normal_quantile(confidence) * error
    return DeLong(difference, error, Interval(difference - reach, difference + reach))


def auc_components(values: NDArray[Any], positive: Mask) -> tuple[float, Floats]:
    """The AUC, and each case's share of its error, [n]: their sum of squares is DeLong's variance.

    V10 of a positive is the share of negatives below it, V01 of a negative the share of positives above it; the shares are
    (V10 - AUC) / sqrt(m (m - 1)) and (V01 - AUC) / sqrt(n (n - 1)), that is S10 / m + S01 / n of the paper. Needs two cases of either kind.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    ranks, placements = midranks(values), np.empty(len(values))
    placements[positive] = (ranks[positive] - midranks(values[positive])) / n
    placements[~positive] = 1.0 - (ranks[~positive] - midranks(values[~positive])) / m
    area = float(placements[positive].mean())
    size = np.where(positive, m * (m - 1), n * (n - 1)).astype(np.float64)
    return area, (placements - area) / np.sqrt(size)
