"""Intervals of a difference, and the quantiles they are built with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Interval:
    """Lower and upper end of a difference candidate - baseline, both in [-1, 1]."""

    lower: float
    upper: float

    def union(self, other: Interval) -> Interval:
        """The narrowest interval that holds both."""
        return Interval(min(self.lower, other.lower), max(self.upper, other.upper))

    def projected(self, difference: float, times: float) -> Interval:
        """What to expect with `times` as many units: the reach to either side of `difference` shrinks with the root."""
        return Interval(difference + (self.lower - difference) / times**0.5, difference + (self.upper - difference) / times**0.5)


@dataclass(frozen=True)
class Stratum:
    """Units that could fail without any like them having been seen to.

    Attributes:
        units: independent units, 0 or more; a fraction when planning.
        share: what the metric loses when all of them fail, 0 to 1.
    """

    units: float
    share: float = 1.0


def allow_unseen(
    seen: Interval, difference: float, strata: Sequence[Stratum], confidence: float = 0.95, *, harmed: bool | None = None
) -> Interval:
    """`seen`, reaching at least as far from `difference` as failures that the test set did not happen to hold may.

    The upper end is left alone where harm has been seen (`seen` lies wholly below 0): loss that has happened is no longer a
    matter of what was not seen. Who plans with a projected interval says in `harmed` whether the real one did so.
    """
    down = max(reach_with_unseen(difference - seen.lower, stratum, confidence) for stratum in strata)
    up = max(reach_with_unseen(seen.upper - difference, stratum, confidence) for stratum in strata)
    upper = seen.upper if (seen.upper < 0 if harmed is None else harmed) else difference + up
    return Interval(max(-1.0, difference - down), min(1.0, upper))


def reach_with_unseen(reach: float, stratum: Stratum, confidence: float = 0.95) -> float:
    """How far an interval must reach whose seen part reaches `reach`: the u that solves u^2 = reach^2 + z^2 w^2 p (1 - p) / n, p = u / w.

    Any loss u beyond the difference seen is put down to whole units failing with chance p, of which the seen variance knows nothing; w is
    what the metric loses if all n do. That is Wilson's score interval (1927, JASA 22, 209-212) when the seen failures are whole as
    well, and w z^2 / (n + z^2), Tango's bound without a flip, when nothing was seen to change.
    """
    reach = max(0.0, reach)
    if stratum.units <= 0:
        return max(reach, stratum.share)
    a = normal_quantile(confidence) ** 2 / stratum.units
    b = a * stratum.share
    return max(reach, (b + math.sqrt(b * b + 4.0 * (1.0 + a) * reach * reach)) / (2.0 * (1.0 + a)))


def normal_quantile(confidence: float) -> float:
    """z of a two-sided interval: 1.959964 for 0.95."""
    return -NormalDist().inv_cdf((1.0 - confidence) / 2.0)


@lru_cache(maxsize=256)
def student_quantile(confidence: float, df: int) -> float:
    """t of a two-sided interval with `df` degrees of freedom; infinite for df < 1.

    By bisection on the closed form of the distribution for whole df (Abramowitz & Stegun 26.7.3 and 26.7.4).
    """
    if df < 1:
        return math.inf
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        angle = (low + high) / 2
        low, high = (angle, high) if _central_mass(angle, df) < confidence else (low, angle)
    return math.sqrt(df) * math.tan((low + high) / 2)


def _central_mass(angle: float, df: int) -> float:
    """P(|T| < sqrt(df) tan(angle)) of Student's t."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = df % 2
    steps = np.arange(1 + odd, df - 1, 2, dtype=np.float64)
    terms = np.cumprod(np.concatenate([[1.0], steps / (steps + 1) * cosine**2]))
    if odd:
        return (2 / math.pi) * (angle + (sine * cosine * float(terms.sum()) if df > 1 else 0.0))
    return sine * float(terms.sum())
