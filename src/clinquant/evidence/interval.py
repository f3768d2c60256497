"""Intervals of a difference, and the quantiles they are built with."""

from __future__ import annotations

import math
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


def allow_unseen(seen: Interval, difference: float, unseen: float) -> Interval:
    """`seen`, at least `unseen` wide to either side of `difference`: what cases like none in the test set could still change.

    The upper end is left alone where harm has been seen (`seen` lies wholly below 0): loss that has happened is no longer a
    matter of what was not seen.
    """
    upper = seen.upper if seen.upper < 0 else max(seen.upper, difference + unseen)
    return Interval(max(-1.0, min(seen.lower, difference - unseen)), min(1.0, upper))


def tail(confidence: float) -> float:
    """One-sided error of a two-sided interval: 0.025 for 95%."""
    return (1.0 - confidence) / 2.0


def normal_quantile(confidence: float) -> float:
    """z of a two-sided interval: 1.959964 for 0.95."""
    return -NormalDist().inv_cdf(tail(confidence))


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
