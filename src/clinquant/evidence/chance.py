"""Whether a file is shown to be better than chance: not to be worse than one that knows nothing would mean nothing."""

from __future__ import annotations

import math

import numpy as np

from clinquant.core.predictions import Predictions
from clinquant.evidence.metrics import macro_auc

REACH = 1.96
"""Standard deviations that chance alone goes beyond in 2.5% of test sets."""


def chance_reaches(predictions: Predictions) -> float | None:
    """The macro AUC that scores which know nothing reach in 2.5% of test sets like this one; None where no class has a counter-case.

    1/2 + 1.96 times the mean over classes of the standard deviation of an AUC under no difference, √((m + n + 1) / 12 m n), with m and n
    the independent units of the class and of the others (Mann & Whitney 1947, Ann Math Stat 18:50). The mean of the deviations is at
    least the deviation of the mean, whatever the classes share.
    """
    groups, units = np.array(predictions.groups), []
    for index in range(len(predictions.classes)):
        inside = predictions.labels == index
        m, n = (len(np.unique(groups[rows])) for rows in (inside, ~inside))
        if m and n:
            units.append(math.sqrt((m + n + 1) / (12 * m * n)))
    return 0.5 + REACH * float(np.mean(units)) if units else None


def no_better_than_chance(predictions: Predictions, baseline: str = "float", candidate: str = "integer") -> str:
    """A sentence where the baseline's AUC is one that chance would reach; empty where it is better, or cannot be measured."""
    reached, found = chance_reaches(predictions), macro_auc(predictions.scores, predictions.labels)
    if reached is None or found is None or found > reached:
        return ""
    return (
        f"The {baseline} file is not shown to be better than chance on this test set (AUC {found:.3f}; scores that know nothing reach "
        f"{min(reached, 1.0):.3f} in 2.5% of such sets): that the {candidate} file is no worse would mean little."
    )
