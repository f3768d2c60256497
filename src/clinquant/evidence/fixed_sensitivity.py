"""Specificity at a fixed sensitivity: what each file pays for finding as many of the diseased, whatever its threshold."""

from __future__ import annotations

import numpy as np

from clinquant.evidence.bootstrap import bootstrap, percentile_interval, specificity_at
from clinquant.evidence.evidence import SpecificityAt
from clinquant.evidence.metrics import log_odds
from clinquant.evidence.paired import Paired

LEVELS = (0.9, 0.95)
"""Sensitivities at which files are compared."""


def fixed_sensitivity(
    paired: Paired, positive: int | None, *, bootstraps: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[SpecificityAt, ...]:
    """One row a level; none without a positive class or without a case of either kind.

    The threshold is moved on the test set itself, of each file and on every draw, so the figures say how well the files rank, not how a
    frozen threshold transfers. The interval is the paired bootstrap's by unit.
    """
    if positive is None or not 0 < int((paired.labels == positive).sum()) < len(paired.labels):
        return ()
    sick = paired.labels == positive
    odds = [log_odds(file.scores)[:, positive] for file in (paired.baseline, paired.candidate)]
    statistics = [specificity_at(each, sick, paired.unit_of_case, level) for level in LEVELS for each in odds]
    whole = np.ones((1, paired.units), dtype=np.int32)
    seen = [float(statistic(whole)[0]) for statistic in statistics]
    drawn = bootstrap(statistics, paired.units, cells=len(sick), bootstraps=bootstraps, seed=seed)
    fewest = min(paired.units_by_class())
    rows = []
    for place, level in enumerate(LEVELS):
        before, after = 2 * place, 2 * place + 1
        interval = percentile_interval(drawn[after] - drawn[before], fewest, confidence)
        rows.append(
            SpecificityAt(sensitivity=level, baseline=seen[before], candidate=seen[after], lower=interval.lower, upper=interval.upper)
        )
    return tuple(rows)
