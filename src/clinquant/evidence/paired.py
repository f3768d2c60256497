"""Two files' predictions of the same cases, laid side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.evidence.metrics import Ints


@dataclass(frozen=True, eq=False)
class Paired:
    """Baseline and candidate row by row, in the order of the case ids, so that no figure depends on the order of a file.

    Attributes:
        baseline, candidate: the same cases in the same order.
        unit_of_case: [n] index of each case's unit in [0, units), by sorted group id.
        units: number of independent units.
        unit: `image` when every unit has one case, else the name given.
    """

    baseline: Predictions
    candidate: Predictions
    unit_of_case: Ints
    units: int
    unit: str

    @property
    def labels(self) -> Ints:
        """[n] reference standard, in [0, k)."""
        return self.baseline.labels

    @property
    def clustered(self) -> bool:
        """True when a unit has several cases."""
        return self.units < len(self.baseline)

    def units_among(self, cases: Ints) -> int:
        """Number of units that the rows `cases` belong to."""
        return len(np.unique(self.unit_of_case[cases]))

    def units_by_class(self) -> tuple[int, ...]:
        """Number of units with a case of each class."""
        return tuple(self.units_among(np.flatnonzero(self.labels == k)) for k in range(len(self.baseline.classes)))


def pair_up(baseline: Predictions, candidate: Predictions, unit_name: str = "patient") -> Paired:
    """Both tables sorted by case id.

    Raises:
        ClinquantError: `compare-classes`, `compare-cases`, `compare-labels`, `compare-groups`, `compare-empty` or `compare-unlabelled`.
    """
    if baseline.classes != candidate.classes:
        raise _mismatch("compare-classes", f"classes {baseline.classes} against {candidate.classes}")
    only = sorted(set(baseline.ids) ^ set(candidate.ids))
    if only:
        raise _mismatch("compare-cases", f"{len(only)} cases stand in one table only, for example {only[0]!r}")
    if not len(baseline):
        raise _mismatch("compare-empty", "there is no case")
    before, after = _sorted(baseline), _sorted(candidate)
    _same("compare-labels", before.ids, before.labels != after.labels, "another label")
    _same("compare-groups", before.ids, np.array(before.groups) != np.array(after.groups), "another group")
    _same("compare-unlabelled", before.ids, before.labels < 0, "no label")
    names, unit_of_case = np.unique(np.array(before.groups), return_inverse=True)
    unit = "image" if len(names) == len(before) else unit_name
    return Paired(before, after, unit_of_case.astype(np.int64), len(names), unit)


def _sorted(predictions: Predictions) -> Predictions:
    order = sorted(range(len(predictions)), key=predictions.ids.__getitem__)
    return predictions.take(np.array(order, dtype=np.int64))


def _same(code: str, ids: tuple[str, ...], bad: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], what: str) -> None:
    if bad.any():
        raise _mismatch(code, f"{int(bad.sum())} cases have {what}, for example {ids[int(np.flatnonzero(bad)[0])]!r}")


def _mismatch(code: str, message: str) -> ClinquantError:
    return ClinquantError(code, f"{message}.", fix="run both files on the same labelled test set with 'clinquant predict'.")
