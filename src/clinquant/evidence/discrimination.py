"""The paired difference of macro AUC, and what may be concluded from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinquant.evidence.bootstrap import Statistic, macro_auc_difference, percentile_interval
from clinquant.evidence.delong import delong
from clinquant.evidence.interval import Interval, Stratum, allow_unseen, reach_with_unseen
from clinquant.evidence.metrics import Floats, log_odds, macro_auc
from clinquant.evidence.paired import Paired
from clinquant.evidence.power import macro_strata


@dataclass(frozen=True, eq=False)
class Discrimination:
    """Macro one-versus-rest AUC of both files; with two classes the AUC of P(positive).

    Attributes:
        paired: the cases.
        baseline, candidate: macro AUC, or None when the test set holds a single class.
        confidence: of the two-sided interval.
    """

    paired: Paired
    baseline: float | None
    candidate: float | None
    confidence: float

    @property
    def difference(self) -> float:
        """Candidate minus baseline; asked for only when both are there."""
        assert self.baseline is not None and self.candidate is not None
        return self.candidate - self.baseline

    @property
    def units(self) -> int:
        """Independent units of the test set."""
        return self.paired.units

    @property
    def method(self) -> str:
        """What decides."""
        return f"{self.paired.unit} bootstrap, widened for unseen loss"

    def statistic(self) -> Statistic | None:
        """For the bootstrap by unit; None where there is no AUC."""
        if self.baseline is None:
            return None
        table = self.paired
        return macro_auc_difference(log_odds(table.baseline.scores), log_odds(table.candidate.scores), table.labels, table.unit_of_case)

    def interval(self, differences: Floats | None, times: float = 1.0) -> Interval:
        """Bootstrap interval by unit, with what units like none seen to fail may still lose.

        Args:
            differences: [b] of the bootstrap by unit.
            times: as many units as were seen, in the same mix of classes, for planning.
        """
        drawn = self._drawn(differences)
        projected = drawn.projected(self.difference, times)
        return allow_unseen(projected, self.difference, self._strata(times), self.confidence, harmed=drawn.upper < 0)

    def needed_without_cases(self, margin: float) -> int | None:
        """None: no number of units gives an AUC where a class is missing."""
        return None

    def shown(self, differences: Floats | None) -> dict[str, float]:
        """Figures beside the interval (see `Finding.shown`)."""
        table, drawn = self.paired, self._drawn(differences)
        unseen, units = max((reach_with_unseen(0.0, stratum, self.confidence), stratum.units) for stratum in self._strata())
        figures = {"bootstrap_lower": drawn.lower, "bootstrap_upper": drawn.upper, "unseen": unseen, "smallest_class_units": units}
        exact = delong(table.baseline.scores, table.candidate.scores, table.labels, table.unit_of_case, self.confidence)
        if exact is not None:
            figures |= {"delong_lower": exact.interval.lower, "delong_upper": exact.interval.upper}
        return figures

    def _drawn(self, differences: Floats | None) -> Interval:
        assert differences is not None
        present = [units for units in self.paired.units_by_class() if units]
        return percentile_interval(differences, min(present), self.confidence)

    def _strata(self, times: float = 1.0) -> tuple[Stratum, ...]:
        """The classes as units that may fail unseen, `times` as many as there are."""
        units = [times * n for n in self.paired.units_by_class()]
        return macro_strata(units, np.bincount(self.paired.labels, minlength=len(units)).astype(np.float64).tolist())


def discrimination(paired: Paired, confidence: float) -> Discrimination:
    """Both files' macro AUC on the paired cases."""
    before, after = (macro_auc(file.scores, paired.labels) for file in (paired.baseline, paired.candidate))
    return Discrimination(paired, before, after, confidence)
