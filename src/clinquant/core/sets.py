"""Prediction sets: the classes that a case may have, so that the true one is among them as often as was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class PredictionSets:
    """A conformal rule as a card carries it.

    Attributes:
        rule: `lac` (one bound for all classes), `classwise` (a bound a class) or `aps` (of cumulated probability).
        coverage: share of cases whose true class shall be in the set.
        at_least: [k] class k is in the set where its probability is this or more; the likeliest class always is. For `aps` one number,
            the greatest cumulated probability.
        cases: that the bounds were chosen on.
    """

    rule: str
    coverage: float
    at_least: tuple[float, ...]
    cases: int

    def members(self, probabilities: NDArray[Any]) -> NDArray[np.bool_]:
        """[n, k] which classes are in the set of each case, of probabilities [n, k]; not for `aps`, which draws lots."""
        inside = probabilities >= np.array(self.at_least)
        inside[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
        return np.asarray(inside)
