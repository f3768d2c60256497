"""The paired bootstrap by independent unit: whole patients are drawn, never single images of one.

Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13; both files are measured on the same draws, so what they
share cancels. A draw is a vector of counts (how often each unit was drawn), so no case is ever copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.evidence.interval import Interval, student_quantile
from clinquant.evidence.metrics import Floats, Ints, Mask

Counts = NDArray[np.int32]
Statistic = Callable[[Counts], Floats]
"""Draws [b, units] to one difference a draw, [b]; NaN where a draw holds no case that the metric needs."""

CHUNK_CELLS = 1 << 18
"""Draws are made in chunks of about this many counts, which a processor's cache holds."""


def bootstrap(statistics: Sequence[Statistic], units: int, *, cells: int, bootstraps: int = 2000, seed: int = 0) -> Floats:
    """Differences of every statistic on the same draws of units, shape [len(statistics), bootstraps].

    Args:
        statistics: what to compute on a chunk of draws.
        units: number of independent units, drawn with replacement.
        cells: cases (or units, if more) a draw holds; only sets the size of chunks, never the result.
        bootstraps: number of draws.
        seed: of numpy's default generator.
    """
    chunks = [[statistic(counts) for statistic in statistics] for counts in draws(units, bootstraps, seed, max(1, CHUNK_CELLS // cells))]
    return np.concatenate([np.stack(chunk) for chunk in chunks], axis=1)


def draws(units: int, bootstraps: int, seed: int, rows: int) -> Iterator[Counts]:
    """Counts of each unit in `bootstraps` draws of `units` units, in chunks of `rows` draws; the stream ignores `rows`."""
    generator = np.random.default_rng(seed)
    for start in range(0, bootstraps, rows):
        height = min(rows, bootstraps - start)
        picked = generator.integers(0, units, size=(height, units))
        picked += np.arange(height)[:, None] * units
        yield np.bincount(picked.ravel(), minlength=height * units).reshape(height, units).astype(np.int32)


def percentile_interval(differences: Floats, units: int, confidence: float = 0.95) -> Interval:
    """Percentile interval of bootstrap differences, expanded for few units.

    The percentiles are those of -sqrt(n / (n - 1)) t_{n-1} under the normal instead of the nominal ones (Hesterberg 2015, The American
    Statistician 69, 371-386): plain percentiles are too narrow when n is small.

    Args:
        differences: [b]; NaN and infinite ones are left out.
        units: n, of the class that has the fewest.
        confidence: two-sided.

    With fewer than two units, or no usable draw, nothing is known: [-1, 1].
    """
    usable = differences[np.isfinite(differences)]
    if units < 2 or not len(usable):
        return Interval(-1.0, 1.0)
    level = NormalDist().cdf(-math.sqrt(units / (units - 1)) * student_quantile(confidence, units - 1))
    lower, upper = np.quantile(usable, [level, 1.0 - level])
    return Interval(float(lower), float(upper))


def proportion_difference(change: Ints, unit_of_case: Ints, units: int) -> Statistic:
    """Difference of two proportions on a draw: sum of `change` over number of cases.

    Args:
        change: [m] candidate right minus baseline right, in {-1, 0, 1}, of the cases the proportion is about.
        unit_of_case: [m] their units.
        units: number of all units.
    """
    sums = np.bincount(unit_of_case, weights=change, minlength=units)
    sizes = np.bincount(unit_of_case, minlength=units).astype(np.float64)

    def statistic(counts: Counts) -> Floats:
        weights = counts.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ sums) / (weights @ sizes))

    return statistic


def macro_auc_difference(baseline: Floats, candidate: Floats, labels: Ints, unit_of_case: Ints) -> Statistic:
    """Difference of macro one-versus-rest AUC on a draw; both `log_odds` have shape [n, k].

    Classes without a case or counter-case in the test set are left out, as in `metrics.macro_auc`.
    """
    pairs = [
        (_weighted_auc(baseline[:, k], labels == k, unit_of_case), _weighted_auc(candidate[:, k], labels == k, unit_of_case))
        for k in _terms(labels, baseline.shape[1])
    ]

    def statistic(counts: Counts) -> Floats:
        return np.asarray(np.mean([after(counts) - before(counts) for before, after in pairs], axis=0))

    return statistic


def _terms(labels: Ints, classes: int) -> list[int]:
    """Classes to average over; with two the second says it all, as both terms are the same number."""
    return [1] if classes == 2 else [k for k in range(classes) if 0 < int((labels == k).sum()) < len(labels)]


def _weighted_auc(values: Floats, positive: Mask, unit_of_case: Ints) -> Statistic:
    """AUC of cases weighted by their unit's count, exact in integers: sum over positives of the weight of lesser negatives.

    Weights are summed in 32 bits (a draw weighs about as much as there are cases), their products in 64.
    """
    of_positive, of_negative = _sorted(values, positive), _sorted(values, ~positive)
    negatives = values[of_negative]
    below = np.searchsorted(negatives, values[of_positive], side="left")
    upto = np.searchsorted(negatives, values[of_positive], side="right")
    positive_units, negative_units = unit_of_case[of_positive], unit_of_case[of_negative]

    def statistic(counts: Counts) -> Floats:
        weights = np.take(counts, positive_units, axis=1)
        cumulative = np.zeros((len(counts), len(negatives) + 1), dtype=np.int32)
        np.cumsum(np.take(counts, negative_units, axis=1), axis=1, dtype=np.int32, out=cumulative[:, 1:])
        wins = np.take(cumulative, below, axis=1)
        wins += np.take(cumulative, upto, axis=1)
        pairs = weights.sum(axis=1, dtype=np.int64) * cumulative[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.einsum("bi,bi->b", weights, wins, dtype=np.int64) / 2.0 / pairs)

    return statistic


def specificity_at(values: Floats, positive: Mask, unit_of_case: Ints, sensitivity: float) -> Statistic:
    """Specificity on a draw at the highest threshold that still has the sensitivity there; `values` [n] rise with P(positive)."""
    of_positive, of_negative = _sorted(values, positive)[::-1], _sorted(values, ~positive)
    below = np.searchsorted(values[of_negative], values[of_positive], side="left")
    positive_units, negative_units = unit_of_case[of_positive], unit_of_case[of_negative]

    def statistic(counts: Counts) -> Floats:
        found = np.cumsum(np.take(counts, positive_units, axis=1), axis=1, dtype=np.int64)
        cut = np.argmax(found >= np.ceil(sensitivity * found[:, -1:] - 1e-9), axis=1)
        spared = np.zeros((len(counts), len(of_negative) + 1), dtype=np.int64)
        np.cumsum(np.take(counts, negative_units, axis=1), axis=1, out=spared[:, 1:])
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = spared[np.arange(len(counts)), below[cut]] / spared[:, -1]
        return np.asarray(np.where(found[:, -1] > 0, shares, np.nan))

    return statistic


def _sorted(values: Floats, mask: Mask) -> NDArray[Any]:
    rows = np.flatnonzero(mask)
    return rows[np.argsort(values[rows], kind="stable")]
