"""Tango's score interval for the difference of two proportions measured on the same cases.

Tango T (1998). Equivalence test and confidence interval for the difference in proportions for the paired-sample design.
Statistics in Medicine 17, 891-908.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from clinquant.evidence.interval import Interval, normal_quantile


def tango_interval(lost: float, gained: float, n: float, confidence: float = 0.95) -> Interval:
    """Interval of candidate - baseline, all differences whose score statistic is within the normal quantile.

    Args:
        lost: cases (Tango's b) that the baseline has right and the candidate wrong.
        gained: cases (c), the reverse.
        n: all cases; with `lost` and `gained` it may be fractional, as an effective sample size is.
        confidence: two-sided.

    Without any case the interval is [-1, 1]. It is exact to 1e-12 of the root and needs no start value.
    """
    if n <= 0:
        return Interval(-1.0, 1.0)
    z = normal_quantile(confidence)
    loss = (lost - gained) / n

    def excess(delta: float) -> float:
        """Positive where `delta` (a loss) is outside: the score test's inequality squared, so that nothing is divided."""
        return (lost - gained - n * delta) ** 2 - z**2 * _null_variance(lost, gained, n, delta)

    return Interval(-_edge(excess, loss, 1.0), -_edge(excess, loss, -1.0))


def tango_statistic(lost: float, gained: float, n: float, delta: float) -> float:
    """Tango's z of the hypothesis that the loss baseline - candidate is `delta`; -inf or inf where it is impossible."""
    numerator = lost - gained - n * delta
    variance = _null_variance(lost, gained, n, delta)
    if variance <= 0:
        return 0.0 if numerator == 0 else math.copysign(math.inf, numerator)
    return numerator / math.sqrt(variance)


def _null_variance(lost: float, gained: float, n: float, delta: float) -> float:
    """n (2 q + delta (1 - delta)), with q the likelihood's best P(gained) when P(lost) = q + delta."""
    a = 2.0 * n
    b = -lost - gained + (2.0 * n - lost + gained) * delta
    c = -gained * delta * (1.0 - delta)
    q = (math.sqrt(max(0.0, b * b - 4.0 * a * c)) - b) / (2.0 * a)
    return n * (2.0 * q + delta * (1.0 - delta))


def _edge(excess: Callable[[float], float], inside: float, outside: float) -> float:
    """Where `excess` turns positive between a point of the interval and the end of the parameter's range, by bisection."""
    if excess(outside) <= 0:
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if excess(middle) > 0 else (middle, outside)
    return (inside + outside) / 2
