"""The data as it was split: images by class and side, and what was left out and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.report.wording import whole

SIDES = (("train", "Training"), ("tune", "Tuning"), ("test", "Test"))

LISTED = 20
"""Most reasons and most broken files named; the others are counted."""

KINDS = (
    ("exact copy of ", "exact copy of a picture that is kept"),
    ("same patient or picture as ", "same patient or picture as a case on the side that keeps it"),
)
"""How a reason for leaving a case out begins, and the kind that it is counted under."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Counts as text, one row a class (untrusted name) with train, tune, test, left out; then their sums."""

    name: str
    licence: str
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    sums: tuple[str, ...]
    units: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...]
    dropped_left_out: str
    broken: tuple[tuple[str, str], ...]
    broken_left_out: int
    sizes: str


def dataset(study: Study, split: Split) -> Dataset:
    """What a reader needs to judge who was tested."""
    side = {case: name for name, _ in SIDES for case in getattr(split, name)}
    counts = Counter((case.label, side.get(case.id, "dropped")) for case in study.cases)
    columns = [*(name for name, _ in SIDES), "dropped"]
    table = [[counts[label, column] for column in columns] for label in range(len(study.classes))]
    reasons = Counter(map(kind_of_reason, split.dropped.values())).most_common()
    return Dataset(
        name=study.name,
        licence=study.licence,
        rows=tuple((name, tuple(map(whole, row))) for name, row in zip(study.classes, table, strict=True)),
        sums=tuple(whole(sum(column)) for column in zip(*table, strict=True)),
        units=tuple(whole(len({split.units.get(case, case) for case in getattr(split, name)})) for name, _ in SIDES),
        dropped=tuple((reason, whole(number)) for reason, number in reasons[:LISTED]),
        dropped_left_out=whole(sum(number for _, number in reasons[LISTED:])),
        broken=tuple(sorted(study.broken.items()))[:LISTED],
        broken_left_out=max(0, len(study.broken) - LISTED),
        sizes=_sizes(study),
    )


def kind_of_reason(reason: str) -> str:
    """Why a case was left out, without the cases it names, so that equal reasons can be counted.

    >>> kind_of_reason("exact copy of a/1.png, which is in test")
    'exact copy of a picture that is kept'
    """
    for start, kind in KINDS:
        if reason.startswith(start):
            return kind
    return reason.partition(":")[0]


def _sizes(study: Study) -> str:
    """Smallest to largest picture in pixels, and how they are stored."""
    if not study.cases:
        return ""
    low = min(study.cases, key=lambda case: case.width * case.height)
    high = max(study.cases, key=lambda case: case.width * case.height)
    modes = Counter(case.mode for case in study.cases)
    size = f"{low.width} × {low.height}"
    if (low.width, low.height) != (high.width, high.height):
        size += f" to {high.width} × {high.height}"
    stored = ", ".join(f"{mode} {whole(number)}" for mode, number in sorted(modes.items(), key=lambda item: (-item[1], item[0])))
    return f"{size} pixels; stored as {stored}"
