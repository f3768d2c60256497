"""Leaks: patients and copies that stand on both sides of the split that a data set came with."""

from __future__ import annotations

from clinquant.data.copies import Copies, Groups
from clinquant.data.study import Study
from clinquant.data.units import copy_units, patients


def find_leaks(study: Study, copies: Copies) -> Groups:
    """Groups of case ids (first of patients, then of copies) that cross the given split; none where no split was given."""
    side = {case.id: case.split for case in study.cases}
    crossing = (tuple(group) for group in (*patients(study), *copy_units(study, copies)) if len({side[case] for case in group}) > 1)
    return tuple(dict.fromkeys(crossing))


def leaked_test_cases(study: Study, leaks: Groups) -> tuple[int, int]:
    """How many cases of the given test set have a relative outside it, and how many cases it has."""
    test = {case.id for case in study.cases if case.split == "test"}
    outside = [group for group in leaks if not test.issuperset(group)]
    return len(test.intersection(case for group in outside for case in group)), len(test)
