"""The paired difference of a proportion (accuracy, sensitivity, specificity, recall) and what may be concluded from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinquant.evidence.bootstrap import Statistic, percentile_interval, proportion_difference
from clinquant.evidence.interval import Interval, Stratum, allow_unseen, reach_with_unseen
from clinquant.evidence.mcnemar import mcnemar_p
from clinquant.evidence.metrics import Floats, Ints, Mask
from clinquant.evidence.paired import Paired
from clinquant.evidence.power import cases_needed
from clinquant.evidence.tango import tango_interval


@dataclass(frozen=True, eq=False)
class Proportion:
    """The share of a claim's cases that each file has right.

    Attributes:
        paired: all cases.
        cases: [m] rows that the claim is about.
        baseline_right, candidate_right: [m].
        confidence: of the two-sided interval.
    """

    paired: Paired
    cases: Ints
    baseline_right: Mask
    candidate_right: Mask
    confidence: float

    @property
    def baseline(self) -> float | None:
        """The baseline's share right; None without cases."""
        return float(self.baseline_right.mean()) if len(self.cases) else None

    @property
    def candidate(self) -> float | None:
        """The candidate's share right; None without cases."""
        return float(self.candidate_right.mean()) if len(self.cases) else None

    @property
    def difference(self) -> float:
        """Candidate minus baseline; asked for only when there are cases."""
        return (self.gained - self.lost) / len(self.cases)

    @property
    def change(self) -> Ints:
        """[m] -1 where the candidate loses a case, 1 where it gains one."""
        return self.candidate_right.astype(np.int64) - self.baseline_right.astype(np.int64)

    @property
    def lost(self) -> int:
        """Cases right before and wrong after."""
        return int((self.change < 0).sum())

    @property
    def gained(self) -> int:
        """Cases wrong before and right after."""
        return int((self.change > 0).sum())

    @property
    def units(self) -> int:
        """Independent units among the cases."""
        return self.paired.units_among(self.cases)

    @property
    def method(self) -> str:
        """What decides."""
        return f"{self.paired.unit} bootstrap or Tango score by design effect, the wider" if self.paired.clustered else "Tango score"

    def statistic(self) -> Statistic | None:
        """For the bootstrap by unit; None where Tango's closed form decides alone."""
        if not self.paired.clustered or not len(self.cases):
            return None
        return proportion_difference(self.change, self.paired.unit_of_case[self.cases], self.paired.units)

    def interval(self, differences: Floats | None, times: float = 1.0) -> Interval:
        """Tango's score interval where every unit is one case, else the wider of two (`docs/methods/evidence.md`).

        The bootstrap by unit, with what units like none seen to fail may still lose; and Tango's interval at the effective number of
        cases m / design effect. Neither collapses where few cases or none flip.

        Args:
            differences: [b] of the bootstrap by unit; None where every unit is one case.
            times: as many units as were seen, with the same shares of flips, for planning.
        """
        if differences is None:
            return self.score(times)
        drawn = percentile_interval(differences, self.units, self.confidence)
        projected = drawn.projected(self.difference, times)
        widened = allow_unseen(projected, self.difference, [Stratum(times * self.units)], self.confidence, harmed=drawn.upper < 0)
        return widened.union(self.score(times / self.design_effect))

    def needed_without_cases(self, margin: float) -> int | None:
        """Units that would decide at best, said where the test set has none."""
        return cases_needed(margin, self.confidence)

    @property
    def design_effect(self) -> float:
        """Of the paired difference (see `design_effect`)."""
        return design_effect(self.change, self.paired.unit_of_case[self.cases])

    def shown(self, differences: Floats | None) -> dict[str, float]:
        """Figures beside the interval (see `Finding.shown`)."""
        flips = {"lost": float(self.lost), "gained": float(self.gained), "mcnemar_p": mcnemar_p(self.lost, self.gained)}
        if differences is None:
            return flips
        drawn = percentile_interval(differences, self.units, self.confidence)
        unseen = reach_with_unseen(0.0, Stratum(self.units), self.confidence)
        ends = {"bootstrap_lower": drawn.lower, "bootstrap_upper": drawn.upper}
        return {**flips, **ends, "unseen": unseen, "design_effect": self.design_effect}

    def score(self, times: float) -> Interval:
        """Tango's interval were there `times` as many cases with the same shares of flips."""
        return tango_interval(times * self.lost, times * self.gained, times * len(self.cases), self.confidence)


def design_effect(change: Ints, unit_of_case: Ints) -> float:
    """Variance of the mean of `change` by unit over its variance were cases independent; at least 1.

    Rao & Scott (1992, Biometrics 48, 577-585) for the ratio estimator. Where no case, or every case, flips the same way it cannot be
    estimated and is the mean number of cases a unit, as if all cases of a unit flipped together.
    """
    _, unit, sizes = np.unique(unit_of_case, return_inverse=True, return_counts=True)
    units, cases = len(sizes), len(change)
    residual = change - change.mean()
    independent = float(np.square(residual).sum())
    if units < 2 or independent == 0.0:
        return cases / units
    clustered = units / (units - 1) * float(np.square(np.bincount(unit, weights=residual)).sum())
    return max(1.0, clustered / independent)
