"""How far probabilities can be believed: calibration error, proper scores, and the temperature that mends them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.predictions import Predictions, softmax
from clinquant.evidence.evidence import Reliability
from clinquant.evidence.metrics import Floats, Ints, Mask

BINS = 15
"""Of equal width on [0, 1], as in Guo et al. 2017 (1706.04599), so that figures compare with published ones."""

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature."""


def reliability(predictions: Predictions, temperature: float = 1.0) -> Reliability:
    """Figures of a test set whose scores have `temperature` folded in; `ece_before` is that of the scores times the temperature."""
    labels, probabilities = predictions.labels, predictions.probabilities
    return Reliability(
        temperature=temperature,
        ece_before=ece(softmax(predictions.scores.astype(np.float64) * temperature), labels),
        ece=ece(probabilities, labels),
        brier=brier(probabilities, labels),
        nll=nll(predictions.scores, labels),
    )


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
    """Mean over classes of the calibration error of p_k (Kull et al. 2019, 1910.12656)."""
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
