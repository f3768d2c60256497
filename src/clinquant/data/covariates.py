"""Covariates: the further columns of a CSV that divide its patients into a few groups, for evidence by subgroup."""

from __future__ import annotations

import math

import numpy as np

from clinquant.data.table import GROUP_COLUMNS, PATH_COLUMNS, Table

NOT_COVARIATES = (*PATH_COLUMNS, *GROUP_COLUMNS, "label", "split", "site", "id")
"""Columns with a meaning of their own, or that number images or patients; so do all that end in `_id`."""

MOST_VALUES = 12
"""A column of words with more values (a name, a remark) divides nothing; one of numbers is cut at its quartiles."""


def covariates(table: Table, besides: str | None = None) -> list[dict[str, str]]:
    """For each row, column -> value of every covariate that is filled in there; the column `besides` is none."""
    found = {name: divided for name, cells in table.columns.items() if _may_divide(name, besides) and (divided := _divided(cells))}
    rows = len(next(iter(table.columns.values())))
    return [{name: value for name, cells in found.items() if (value := cells[row]) is not None} for row in range(rows)]


def _may_divide(name: str, besides: str | None) -> bool:
    return name not in NOT_COVARIATES and not name.endswith("_id") and name != (besides or "").lower()


def _divided(cells: list[str | None]) -> list[str | None] | None:
    values = {cell for cell in cells if cell is not None}
    if 2 <= len(values) <= MOST_VALUES:
        return cells
    numbers = [_number(cell) for cell in cells]
    known = [number for number in numbers if number is not None]
    if len(values) < 2 or len(known) < len([cell for cell in cells if cell is not None]):
        return None
    cuts = sorted(set(np.quantile(known, [0.25, 0.5, 0.75]).tolist()))
    return [None if number is None else _quarter(number, cuts) for number in numbers]


def _number(cell: str | None) -> float | None:
    try:
        number = math.nan if cell is None else float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _quarter(number: float, cuts: list[float]) -> str:
    """Between which two cuts a number lies; a cut itself belongs above."""
    below = [cut for cut in cuts if cut <= number]
    if not below:
        return f"under {cuts[0]:g}"
    above = [cut for cut in cuts if cut > number]
    return f"{below[-1]:g} to under {above[0]:g}" if above else f"{below[-1]:g} and more"
