"""Wilson's score interval of a proportion (Wilson 1927, JASA 22, 209-212)."""

from __future__ import annotations

import math

from clinquant.evidence.interval import Interval, normal_quantile


def wilson(right: float, n: float, confidence: float = 0.95) -> Interval:
    """Interval of a proportion, within [0, 1], two-sided.

    Args:
        right: cases that count.
        n: all cases, above 0; with `right` it may be fractional, as an effective number of cases is.
        confidence: of the interval.
    """
    z2 = normal_quantile(confidence) ** 2
    share = right / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = math.sqrt(z2) / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(max(0.0, centre - reach), min(1.0, centre + reach))
