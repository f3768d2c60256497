"""Copies in a data set: files with equal pixels, the same picture again, and the same picture edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinquant.data.fingerprints import Fingerprints
from clinquant.data.likeness import SLIGHT, SMALL, Index, Likeness
from clinquant.data.study import Study

Groups = tuple[tuple[str, ...], ...]
"""Groups of case ids, at least two each, sorted."""


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Which cases show the same picture.

    Attributes:
        exact: equal decoded pixels.
        near: the same picture re-encoded, resized or slightly brightened; of cases with equal pixels only the first is listed.
        edited: the same picture with its brightness, contrast or sharpness changed for more than that; members as in `near`, of which
            several groups may come together here.
    """

    exact: Groups
    near: Groups
    edited: Groups


def find_copies(study: Study, prints: Fingerprints) -> Copies:
    """All copies within a study, from its fingerprints. Mirrored pictures are not copies."""
    ids = [case.id for case in study.cases]
    exact = groups_by([row.tobytes() for row in prints.digests])
    later = {member for group in exact for member in group[1:]}
    first = np.array([k for k in range(len(ids)) if k not in later], np.intp)
    small = np.array([min(study.cases[k].width, study.cases[k].height) < SMALL for k in first], np.bool_)
    likeness = Likeness.of(prints.thumbnails[first], small)
    i, j = likeness.pairs()
    slight = likeness.difference(i, j) <= SLIGHT
    near = linked_groups(i[slight], j[slight], lambda a, b: likeness.akin(a, b) & (likeness.difference(a, b) <= 2 * SLIGHT))
    alike = linked_groups(i, j, likeness.akin)
    edited = [group for group in alike if tuple(group) not in set(map(tuple, near))]
    return Copies(exact=_named(exact, ids), near=_named(near, ids, first), edited=_named(edited, ids, first))


def groups_by(keys: Sequence[Hashable]) -> list[list[int]]:
    """Positions that share a key, at least two of them, in order of the first."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        members[key].append(position)
    return [group for group in members.values() if len(group) > 1]


def linked_groups(i: Index, j: Index, akin: Callable[[Index, Index], NDArray[np.bool_]]) -> list[list[int]]:
    """Groups of positions linked by the pairs (i, j), each kept together by one representative.

    A chain of pairs is followed only to pictures that are `akin` to the representative, the member with the most links; those that
    are not form groups of their own. So a slow drift through a whole data set never becomes one group.
    """
    links: dict[int, set[int]] = defaultdict(set)
    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        links[a].add(b)
        links[b].add(a)
    groups: list[list[int]] = []
    waiting = [sorted(component) for component in _components(links)]
    while waiting:
        component = waiting.pop()
        middle = max(component, key=lambda k: (len(links[k] & set(component)), -k))
        stays = akin(np.full(len(component), middle, np.intp), np.array(component, np.intp))
        kept = {member for member, stay in zip(component, stays, strict=True) if stay or member == middle or member in links[middle]}
        groups.append(sorted(kept))
        rest = set(component) - kept
        waiting += [sorted(part) for part in _components({k: links[k] & rest for k in rest}) if len(part) > 1]
    return sorted(groups)


def _components(links: dict[int, set[int]]) -> Iterable[set[int]]:
    seen: set[int] = set()
    for start in sorted(links):
        if start in seen:
            continue
        component, edge = {start}, [start]
        while edge:
            fresh = links[edge.pop()] - component
            component |= fresh
            edge += fresh
        seen |= component
        yield component


def _named(groups: list[list[int]], ids: list[str], first: Index | None = None) -> Groups:
    return tuple(tuple(ids[k if first is None else first[k]] for k in group) for group in groups)
