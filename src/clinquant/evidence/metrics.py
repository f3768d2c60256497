"""What is measured of one file: AUC, proportions, curves. All in float64; no metric depends on the order of cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def auc(values: NDArray[Any], positive: Mask) -> float | None:
    """Chance that a positive case has the higher value, ties counting half; None without a case of either kind.

    Mann & Whitney (1947) by midranks, O(n log n). `values` and `positive` have shape [n].
    """
    m = int(positive.sum())
    n = len(positive) - m
    if m == 0 or n == 0:
        return None
    rank_sum = float(midranks(values)[positive].sum())
    return (rank_sum - m * (m + 1) / 2) / (m * n)


def macro_auc(scores: NDArray[Any], labels: Ints) -> float | None:
    """Mean one-versus-rest AUC over the classes that have a case and a counter-case; scores [n, k], labels [n].

    With two classes both terms are the AUC of P(positive), whichever class that is.
    """
    parts = [part for part in class_aucs(scores, labels) if part is not None]
    return float(np.mean(parts)) if parts else None


def class_aucs(scores: NDArray[Any], labels: Ints) -> tuple[float | None, ...]:
    """One-versus-rest AUC of each class, ranked by log-odds; None for a class without cases."""
    odds = log_odds(scores)
    return tuple(auc(odds[:, k], labels == k) for k in range(scores.shape[1]))


def log_odds(scores: NDArray[Any]) -> Floats:
    """log(p_k / (1 - p_k)) of softmax probabilities, [n, k]: the same order as p_k, without its ties near 0 and 1."""
    exact = scores.astype(np.float64)
    if exact.shape[1] == 2:
        difference = exact[:, 1] - exact[:, 0]
        return np.stack([-difference, difference], axis=1)
    others = [_log_sum_exp(np.delete(exact, k, axis=1)) for k in range(exact.shape[1])]
    return exact - np.stack(others, axis=1)


def midranks(values: NDArray[Any]) -> Floats:
    """Ranks from 1, ties sharing their mean rank; shape [n]."""
    order = np.sort(values)
    below = np.searchsorted(order, values, side="left")
    upto = np.searchsorted(order, values, side="right")
    return (below + upto + 1) / 2.0


def accuracy(labels: Ints, decisions: Ints) -> float | None:
    """Share of cases decided as their label; None without cases."""
    return float(np.mean(labels == decisions)) if len(labels) else None


def recall(labels: Ints, decisions: Ints, class_index: int) -> float | None:
    """Share of a class's cases decided as that class; None without such a case."""
    return accuracy(labels[labels == class_index], decisions[labels == class_index])


def sensitivity(labels: Ints, decisions: Ints, positive: int) -> float | None:
    """Share of positive cases called positive."""
    return recall(labels, decisions, positive)


def specificity(labels: Ints, decisions: Ints, positive: int) -> float | None:
    """Share of cases of the other class that are not called positive."""
    others = labels != positive
    return float(np.mean(decisions[others] != positive)) if others.any() else None


def confusion(labels: Ints, decisions: Ints, classes: int) -> tuple[tuple[int, ...], ...]:
    """Counts by true class (row) and decided class (column)."""
    counts = np.bincount(labels * classes + decisions, minlength=classes**2).reshape(classes, classes)
    return tuple(tuple(int(count) for count in row) for row in counts)


@dataclass(frozen=True, eq=False)
class Roc:
    """Corner points of a ROC curve from (0, 0) to (1, 1), and the threshold (value >= threshold) of each; first is inf."""

    false_positive_rate: Floats
    true_positive_rate: Floats
    thresholds: Floats


def roc(values: NDArray[Any], positive: Mask) -> Roc:
    """The empirical ROC curve, one point a distinct value. Needs a case of either kind."""
    distinct, where = np.unique(-values.astype(np.float64), return_inverse=True)
    hits = np.bincount(where, weights=positive, minlength=len(distinct))
    totals = np.bincount(where, minlength=len(distinct))
    true, false = np.cumsum(hits), np.cumsum(totals - hits)
    start = np.zeros(1)
    return Roc(
        np.concatenate([start, false / false[-1]]),
        np.concatenate([start, true / true[-1]]),
        np.concatenate([[np.inf], -distinct]),
    )


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Error among the cases kept, when only those at least as confident as `confidence` are answered; by falling confidence."""

    coverage: Floats
    risk: Floats
    confidence: Floats


def risk_coverage(confidence: NDArray[Any], wrong: Mask) -> RiskCoverage:
    """Selective risk against coverage (El-Yaniv & Wiener 2010), one point a distinct confidence; both inputs have shape [n]."""
    distinct, where = np.unique(-confidence.astype(np.float64), return_inverse=True)
    errors = np.cumsum(np.bincount(where, weights=wrong, minlength=len(distinct)))
    kept = np.cumsum(np.bincount(where, minlength=len(distinct)))
    return RiskCoverage(kept / len(wrong), errors / kept, -distinct)


def _log_sum_exp(values: Floats) -> Floats:
    top = values.max(axis=1)
    return np.asarray(top + np.log(np.exp(values - top[:, None]).sum(axis=1)))
