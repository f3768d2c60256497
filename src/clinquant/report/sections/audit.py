"""What the audit found before any training: copies, conflicts and leaks with their pictures, and what the test set can decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinquant.data.audit import Audit
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.report.thumbnails import thumbnail
from clinquant.report.wording import metric_name, rate, whole

GROUPS = 6
"""Most groups of a kind shown with pictures."""

MEMBERS = 3
"""Most pictures of a group shown."""

KINDS = (
    ("conflicts", "Copies with different labels", "The same picture stands under two labels, so at least one of them is wrong."),
    ("leaks", "Patients or copies across the given split", "A model could have learnt its own test cases by heart."),
    ("exact", "Exact copies", "Equal pixels, whatever the file."),
    ("near", "Near-copies", "The same picture stored again, at another size or slightly brightened; verified on its pixels."),
    ("edited", "Edited copies", "The same picture with its brightness, contrast or sharpness changed."),
)


@dataclass(frozen=True)
class Member:
    """One picture of a group: id and class (untrusted), where it went, and a data URI."""

    id: str
    class_name: str
    side: str
    picture: str


@dataclass(frozen=True)
class CopyGroup:
    """Pictures that belong together, and how many more there are."""

    members: tuple[Member, ...]
    left_out: int


@dataclass(frozen=True)
class Finds:
    """All groups of one kind: how many groups and pictures, and the first of them with pictures."""

    title: str
    meaning: str
    groups: str
    pictures: str
    shown: tuple[CopyGroup, ...]
    left_out: int


@dataclass(frozen=True, kw_only=True)
class PowerRow:
    """Whether one claim could be decided at all; `class_name` and `limited_by` are untrusted text."""

    metric: str
    class_name: str | None
    limited_by: str | None
    units: str
    needed: str
    smallest_margin: str
    decidable: str


def power_rows(audit: Audit) -> tuple[PowerRow, ...]:
    """What the test set could decide in the best case, as the audit computed it before any training."""
    return tuple(
        PowerRow(
            metric=metric_name(claim.metric),
            class_name=claim.class_name,
            limited_by=claim.limited_by if claim.limited_by != claim.class_name else None,
            units=whole(claim.units),
            needed="–" if claim.needed is None else whole(claim.needed),
            smallest_margin=rate(claim.smallest_margin),
            decidable="can be decided" if claim.decidable else "cannot be decided",
        )
        for claim in audit.power
    )


def finds(audit: Audit, study: Study, split: Split, images: Callable[[str], NDArray[np.uint8]]) -> tuple[Finds, ...]:
    """Every kind of trouble, the gravest first; a kind without a find has no pictures but is still named."""
    where = _Where(study, split)
    return tuple(_finds(title, meaning, getattr(audit, kind), where, images) for kind, title, meaning in KINDS)


class _Where:
    """Class and side of a case by its id."""

    def __init__(self, study: Study, split: Split) -> None:
        self.class_of = {case.id: study.classes[case.label] if case.label >= 0 else "not labelled" for case in study.cases}
        self.side_of = {case: word for word, ids in _sides(split) for case in ids}


def _sides(split: Split) -> list[tuple[str, Sequence[str]]]:
    return [("training", split.train), ("tuning", split.tune), ("test", split.test), ("left out", tuple(split.dropped))]


def _finds(title: str, meaning: str, groups: Sequence[Sequence[str]], where: _Where, images: Callable[[str], NDArray[np.uint8]]) -> Finds:
    shown = tuple(_group(group, where, images) for group in groups[:GROUPS])
    pictures = len({case for group in groups for case in group})
    return Finds(title, meaning, whole(len(groups)), whole(pictures), shown, len(groups) - len(shown))


def _group(group: Sequence[str], where: _Where, images: Callable[[str], NDArray[np.uint8]]) -> CopyGroup:
    members = tuple(
        Member(case, where.class_of.get(case, "not in the study"), where.side_of.get(case, "left out"), thumbnail(images(case), side=128))
        for case in group[:MEMBERS]
    )
    return CopyGroup(members, len(group) - len(members))
