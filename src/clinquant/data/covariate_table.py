"""What is known of the patients, from a CSV beside a data set that has no room for it: joined by file name, or by patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from clinquant.core.errors import ClinquantError
from clinquant.data.covariates import covariates
from clinquant.data.datasets.listing import Item
from clinquant.data.groups import matched
from clinquant.data.table import GROUP_COLUMNS, PATH_COLUMNS, Table, read_table

Row = tuple[str | None, dict[str, str]]
"""Site and covariates."""


def with_covariates(items: Sequence[Item], csv: Path, group_column: str | None = None) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """The items with `site` and covariates of the CSV's further columns, and sentences on what was joined.

    A path is matched as `with_groups` does; a bare file name, with or without its suffix, where only one image bears it. A table without
    a column of `PATH_COLUMNS` is joined to the items' groups. An image without a row is in no subgroup.

    Args:
        items: as a reader lists them, with their groups.
        csv: one row an image or a patient.
        group_column: the patient's column; by default the first of `GROUP_COLUMNS`.

    Raises:
        ClinquantError: `csv-broken`, `csv-column`, `csv-value` where two rows of one image or patient differ, `covariates-missing` where
            no row fits an image, or the table has no column that could form a subgroup.
    """
    table = read_table(csv)
    known = covariates(table, group_column)
    rows = list(zip(table.optional("site") or [None] * len(known), known, strict=True))
    names = sorted({name for _, more in rows for name in more} | ({"site"} if any(site for site, _ in rows) else set()))
    if not names:
        raise ClinquantError(
            "covariates-missing",
            f"{csv} has no column with 2 to 12 values, nor one of numbers, besides {', '.join(table.columns)}.",
            fix="give a column such as sex, age, site or scanner.",
        )
    column = next((name for name in PATH_COLUMNS if table.optional(name) is not None), None)
    found = _by_path(items, table, column, rows) if column else _by_patient(items, table, group_column, rows)
    if not found:
        raise ClinquantError(
            "covariates-missing",
            f"no row of {csv} fits an image: the first image is {items[0].id}" + (f" of {items[0].group}." if items[0].group else "."),
            fix="give a column path (relative to the data folder) or patient (as in --groups or the manifest).",
        )
    joined = tuple(_joined(item, found[item.id]) if item.id in found else item for item in items)
    without = len(items) - len(found)
    notes = [f"{csv.name} tells {', '.join(names)} of {len(found)} images, joined by {column or 'patient'}."]
    if without:
        notes.append(f"{without} images have no row in {csv.name} and are in no subgroup of it.")
    return joined, tuple(notes)


def _joined(item: Item, row: Row) -> Item:
    site, more = row
    return replace(item, site=site or item.site, covariates=item.covariates | more)


def _by_path(items: Sequence[Item], table: Table, column: str, rows: list[Row]) -> dict[str, Row]:
    paths = table.paths(column)
    of_path = _agreeing(table, paths, rows)
    places = matched([item.id for item in items], list(of_path))
    found = {case: of_path[list(of_path)[place]] for case, place in places.items() if place is not None}
    bare = Counter(name for item in items for name in _names(item.id))
    named = {name: item.id for item in items for name in _names(item.id) if bare[name] == 1}
    return {named[path]: row for path, row in of_path.items() if path in named} | found


def _names(case: str) -> set[str]:
    path = PurePosixPath(case)
    return {path.name, path.stem}


def _by_patient(items: Sequence[Item], table: Table, named: str | None, rows: list[Row]) -> dict[str, Row]:
    column = next((name for name in (named, *GROUP_COLUMNS) if name and table.optional(name) is not None), None)
    if column is None:
        raise ClinquantError(
            "csv-column",
            f"{table.path} has neither path nor patient; its columns are {', '.join(table.columns)}.",
            fix="name a column path (of the image) or patient (as in --groups or the manifest).",
        )
    of_patient = _agreeing(table, table.required(column), rows)
    return {item.id: of_patient[item.group] for item in items if item.group in of_patient}


def _agreeing(table: Table, keys: list[str], rows: list[Row]) -> dict[str, Row]:
    """Key -> its row; a key may stand in several rows that say the same."""
    found: dict[str, Row] = {}
    for key, row in zip(keys, rows, strict=True):
        if found.setdefault(key, row) != row:
            raise ClinquantError(
                "csv-value", f"{table.path} says different things of {key}: {found[key]} and {row}.", fix="leave one row of it."
            )
    return found
