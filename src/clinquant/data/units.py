"""Independent units: cases that share a patient, or show the same picture, stand or fall together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from clinquant.data.copies import Copies, Groups
from clinquant.data.study import Study


def units_of(study: Study, copies: Copies) -> dict[str, str]:
    """Case id -> id of its unit: the finest grouping in which no patient and no group of copies is divided.

    A unit is named by its patient (or given group) if it has exactly one, else by its first case.
    """
    groups = {case.id: case.group for case in study.cases}
    units: dict[str, str] = {}
    for members in united((case.id for case in study.cases), (*patients(study), *copies.exact, *copies.near, *copies.edited)):
        names = {groups[case] for case in members}
        name = next(iter(names)) if len(names) == 1 else None
        unit = members[0] if name is None or name in groups else name
        units.update(dict.fromkeys(members, unit))
    return units


def copy_units(study: Study, copies: Copies) -> Groups:
    """Groups of at least two cases that show the same picture by any of the three kinds of copies."""
    found = united((case.id for case in study.cases), (*copies.exact, *copies.near, *copies.edited))
    return tuple(members for members in found if len(members) > 1)


def patients(study: Study) -> Groups:
    """The cases of each given group (patient), of those that have at least two."""
    members: dict[str, list[str]] = defaultdict(list)
    for case in study.cases:
        if case.group is not None:
            members[case.group].append(case.id)
    return tuple(tuple(cases) for cases in members.values() if len(cases) > 1)


def united(ids: Iterable[str], groups: Iterable[Sequence[str]]) -> Groups:
    """The ids, joined wherever they share a group (disjoint sets by path halving; Tarjan & van Leeuwen 1984)."""
    parent = {case: case for case in ids}

    def root(case: str) -> str:
        while parent[case] != case:
            parent[case] = parent[parent[case]]
            case = parent[case]
        return case

    for first, *others in groups:
        for other in others:
            a, b = sorted((root(first), root(other)))
            parent[b] = a
    members: dict[str, list[str]] = defaultdict(list)
    for case in parent:
        members[root(case)].append(case)
    return tuple(tuple(sorted(cases)) for cases in members.values())
