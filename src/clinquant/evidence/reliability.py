"""How far probabilities can be believed: calibration error, proper scores, and the temperature that mends them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.predictions import Predictions, softmax
from clinquant.evidence.bootstrap import draws
from clinquant.evidence.evidence import Reliability
from clinquant.evidence.metrics import Floats, Ints, Mask

BINS = 15
"""Of equal width on [0, 1], as in Guo et al. 2017, arXiv 1706.04599, so that figures compare with published ones."""

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature."""

AT_ONCE = 1 << 21
"""Counts of units that are drawn at a time: many, for every chunk reads all sums again."""

FEWEST_DRAWS, MOST_CELLS = 400, 20_000_000
"""Of the bootstrap: draws times cases are at most so many, for large test sets have smooth percentiles from fewer draws."""


def reliability(
    predictions: Predictions, temperature: float = 1.0, *, bootstraps: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Reliability:
    """Figures of a test set whose scores have `temperature` folded in; those `before` are of the scores times the temperature.

    The intervals are percentiles of the bootstrap by unit. Those of the two calibration errors are pushed away from zero by chance, as
    the errors themselves are: an absolute value has no mean of zero (Kumar, Liang & Ma 2019, arXiv 1909.10155).
    """
    labels, scores = predictions.labels, predictions.scores
    after, before = _figures(scores, labels), _figures(scores.astype(np.float64) * temperature, labels)
    return Reliability(
        temperature=temperature,
        ece_before=before["ece"],
        **after,
        before=before,
        intervals=_intervals(predictions, bootstraps, confidence, seed),
    )


def _figures(scores: NDArray[Any], labels: Ints) -> dict[str, float]:
    probabilities = softmax(scores)
    return {
        "ece": ece(probabilities, labels),
        "classwise_ece": classwise_ece(probabilities, labels),
        "brier": brier(probabilities, labels),
        "nll": nll(scores, labels),
    }


def _intervals(predictions: Predictions, bootstraps: int, confidence: float, seed: int) -> dict[str, tuple[float, float]]:
    """Every figure is made of sums over cases, so each unit's sums are taken once and a draw only adds them up."""
    names, unit = np.unique(np.array(predictions.groups), return_inverse=True)
    labels, probabilities = predictions.labels, predictions.probabilities
    n, k = probabilities.shape
    truth = np.eye(k)[labels]
    top = probabilities.argmax(axis=1)
    hit = (top == labels).astype(np.float64)
    columns = [np.ones((n, 1)), np.square(probabilities - truth).sum(axis=1, keepdims=True) / (2 if k == 2 else 1)]
    columns += [-np.take_along_axis(_log_softmax(predictions.scores), labels[:, None], axis=1), _by_bin(probabilities.max(axis=1), hit)]
    columns += [_by_bin(probabilities[:, each], truth[:, each]) for each in range(k)]
    case_sums = np.concatenate(columns, axis=1)
    sums = np.stack([np.bincount(unit, weights=column, minlength=len(names)) for column in case_sums.T], axis=1)

    def figures(counts: NDArray[Any]) -> Floats:
        total = counts.astype(np.float64) @ sums
        gaps = np.abs(total[:, 3:]).reshape(len(total), k + 1, BINS).sum(axis=2) / total[:, :1]
        return np.stack([gaps[:, 0], gaps[:, 1:].mean(axis=1), total[:, 1] / total[:, 0], total[:, 2] / total[:, 0]])

    rows = max(1, AT_ONCE // len(names))
    bootstraps = min(bootstraps, max(FEWEST_DRAWS, MOST_CELLS // n))
    drawn = np.concatenate([figures(counts) for counts in draws(len(names), bootstraps, seed, rows)], axis=1)
    found = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1)
    return {
        name: (float(low), float(high))
        for name, low, high in zip(("ece", "classwise_ece", "brier", "nll"), found[0], found[1], strict=True)
    }


def _by_bin(probabilities: Floats, hit: Floats) -> Floats:
    """[n, 15] probability minus outcome, in the column of its bin."""
    table = np.zeros((len(hit), BINS))
    table[np.arange(len(hit)), np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)] = probabilities - hit
    return table


@dataclass(frozen=True, eq=False)
class Bins:
    """A reliability diagram: per bin of [i, i + 1) / b the number of cases, mean probability and observed share; NaN where empty."""

    count: Ints
    mean_probability: Floats
    observed: Floats


def reliability_bins(probabilities: NDArray[Any], hit: Mask, bins: int = BINS) -> Bins:
    """Cases by equal-width bins of probability; both inputs have shape [n]. A probability of 1 falls in the last bin."""
    index = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, weights=probabilities, minlength=bins) / count
        observed = np.bincount(index, weights=hit, minlength=bins) / count
    return Bins(count, mean, observed)


def ece(probabilities: Floats, labels: Ints, bins: int = BINS) -> float:
    """Expected calibration error of the highest probability (Guo et al. 2017); probabilities [n, k]."""
    return _gap(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def classwise_ece(probabilities: Floats, labels: Ints, bins: int = BINS) -> float:
    """Mean over classes of the calibration error of p_k (Kull et al. 2019, arXiv 1910.12656)."""
    return float(np.mean([_gap(probabilities[:, k], labels == k, bins) for k in range(probabilities.shape[1])]))


def brier(probabilities: Floats, labels: Ints) -> float:
    """Mean over cases of sum_k (p_k - y_k)^2 (Brier 1950), 0 to 2; with two classes of one of the equal terms, 0 to 1."""
    total = float(np.square(probabilities - np.eye(probabilities.shape[1])[labels]).sum(axis=1).mean())
    return total / 2 if probabilities.shape[1] == 2 else total


def nll(scores: NDArray[Any], labels: Ints) -> float:
    """Mean negative log likelihood of the label, in nats, from scores (logits) [n, k]."""
    return float(-np.mean(np.take_along_axis(_log_softmax(scores), labels[:, None], axis=1)))


def divergence(reference: NDArray[Any], scores: NDArray[Any]) -> float:
    """Mean Kullback-Leibler divergence of softmax(scores) from softmax(reference), nats, of scores (logits) [n, k].

    It is how much more the scores lose than the reference would, if the reference's probabilities were the truth.
    """
    p, q = _log_softmax(reference), _log_softmax(scores)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def _log_softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def fit_temperature(scores: NDArray[Any], labels: Ints) -> float:
    """T in [0.05, 20] with the least cross-entropy of softmax(scores / T) (Guo et al. 2017).

    Differs from the paper in one imaginary case more, of uniform label, spread over all cases: targets are (1 - e) one-hot + e / k with
    e = 1 / (n + 1). So T does not run to its bound where tune has no error (as Platt's targets do for two classes).

    Args:
        scores: logits [n, k] of tune.
        labels: [n].

    The cross-entropy is convex in 1 / T, so the sign of its slope decides each step of a bisection in log T.
    """
    exact = scores.astype(np.float64)
    n, k = exact.shape
    target = np.full((n, k), 1.0 / (k * (n + 1)))
    target[np.arange(n), labels] += n / (n + 1)
    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(60):
        middle = (low + high) / 2
        too_cold = float((exact * (softmax(exact / math.exp(middle)) - target)).sum()) > 0
        low, high = (middle, high) if too_cold else (low, middle)
    return math.exp((low + high) / 2)


def _gap(probabilities: Floats, hit: Mask, bins: int) -> float:
    table = reliability_bins(probabilities, hit, bins)
    gaps = np.abs(table.mean_probability - table.observed)
    return float(np.nansum(gaps * table.count) / len(hit))
