"""McNemar's exact test of discordant pairs."""

from __future__ import annotations

import math


def mcnemar_p(lost: int, gained: int) -> float:
    """Two-sided exact p: twice the smaller tail of Binomial(lost + gained, 1/2), at most 1.

    McNemar Q (1947). Psychometrika 12, 153-157; the binomial form. Assumes independent cases.
    """
    m, low = lost + gained, min(lost, gained)
    logs = [math.lgamma(m + 1) - math.lgamma(k + 1) - math.lgamma(m - k + 1) - m * math.log(2) for k in range(low + 1)]
    return min(1.0, 2.0 * math.fsum(math.exp(value) for value in logs))
