"""Confusion tables: cases by true class and decision, each cell shaded by its share of the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clinquant.evidence.evidence import FILES
from clinquant.report.wording import percent, whole

SHADES = 8


@dataclass(frozen=True)
class Cell:
    """A count, its share of the true class, a shade from 0 to 8, and whether the decision was right."""

    count: str
    share: str
    shade: int
    right: bool


@dataclass(frozen=True)
class Confusion:
    """One file's table; `rows` holds the class name (untrusted), the cells and the row's total."""

    file: str
    rows: tuple[tuple[str, tuple[Cell, ...], str], ...]
    keyed: bool
    """True when columns carry numbers instead of names, for lack of room."""
    dense: bool
    """True when cells have no room for shares."""


def confusions(tables: Mapping[str, Sequence[Sequence[int]]], classes: Sequence[str]) -> tuple[Confusion, ...]:
    """The tables of the two files, float first."""
    keyed = len(classes) > 3 or max(map(len, classes)) > 14
    return tuple(_confusion(file, tables[file], classes, keyed, len(classes) > 6) for file in FILES if file in tables)


def _confusion(file: str, table: Sequence[Sequence[int]], classes: Sequence[str], keyed: bool, dense: bool) -> Confusion:
    rows = []
    for true, (name, counts) in enumerate(zip(classes, table, strict=True)):
        total = sum(counts)
        cells = tuple(_cell(count, total, true == decided) for decided, count in enumerate(counts))
        rows.append((name, cells, whole(total)))
    return Confusion(file, tuple(rows), keyed, dense)


def _cell(count: int, total: int, right: bool) -> Cell:
    share = count / total if total else 0.0
    shade = 0 if count == 0 else max(1, round(SHADES * share))
    return Cell(whole(count), percent(share) if total else "–", shade, right)
