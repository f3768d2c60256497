"""Which images belong together: a CSV that names the patient (or slide, or any group) of every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clinquant.core.errors import ClinquantError
from clinquant.data.datasets.listing import Item, Listing
from clinquant.data.datasets.manifest import refuse_duplicates, split_column
from clinquant.data.table import GROUP_COLUMNS, Table, read_table


def with_groups(items: Sequence[Item], csv: Path, column: str | None = None) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """The items with their groups (and, where the CSV has a `split` column, its split), and sentences on what was done.

    A path of the CSV is matched to an item's id exactly, else by leaving out leading folders of either as long as one item fits.

    Args:
        items: as a reader lists them.
        csv: columns `path` and the group; optionally `split`; other columns are not read.
        column: the group's column; by default the first of `GROUP_COLUMNS`.

    Raises:
        ClinquantError: `csv-broken`, `csv-column`, `csv-value`, `csv-duplicate`, `groups-missing` when an image is not in the CSV.
    """
    table = read_table(csv)
    column = column or _group_column(table)
    paths, groups = table.paths("path"), table.required(column)
    refuse_duplicates(paths, str(csv))
    splits = split_column(table)
    rows = matched([item.id for item in items], paths)
    _refuse_missing(items, rows, csv)
    grouped = tuple(
        replace(item, group=groups[row], split=splits[row] if splits is not None else item.split)
        for item in items
        if (row := rows[item.id]) is not None
    )
    return grouped, _notes(csv, column, grouped, splits is not None, len(paths) - len(items))


FOLDERS = "folders"
"""In place of a CSV: the folders name the groups."""


def with_folder_groups(listing: Listing) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """The items of a folder, grouped by the name of the sub-folder of their class folder, and a sentence on it.

    A name that stands below several classes is one group. An image that lies in the class folder itself has none.

    Raises:
        ClinquantError: `groups-missing` where no class folder has a sub-folder.
    """
    grouped = tuple(replace(item, group=_below_class(item)) for item in listing.items)
    groups = {item.group for item in grouped if item.group is not None}
    if listing.kind != "folder" or not groups:
        raise ClinquantError(
            "groups-missing",
            f"{listing.path} has no class folder with sub-folders that could be patients.",
            fix="store images as CLASS/PATIENT/image, or give --groups a CSV with path and patient.",
        )
    without = sum(item.group is None for item in grouped)
    left = f" {without} images lie in no sub-folder and stand alone." if without else ""
    return grouped, (f"The sub-folders of the classes group the images: {len(groups)} groups.{left}",)


def grouping_notes(listing: Listing) -> tuple[str, ...]:
    """Which images the data themselves group by patient; or that sub-folders might."""
    groups = {item.group for item in listing.items if item.group is not None}
    if groups:
        without = sum(item.group is None for item in listing.items)
        left = f" {without} images name none." if without else ""
        return (f"The images are of {len(groups)} patients (or groups), each of which stays on one side.{left}",)
    folders = {item.id.rpartition("/")[0] for item in listing.items if _below_class(item) is not None}
    if listing.kind != "folder" or not folders:
        return ()
    return (f"The classes have {len(folders)} sub-folders: where each is a patient (or slide), say --groups folders.",)


def _below_class(item: Item) -> str | None:
    """`CLASS/GROUP/.../image`, or the same below a folder of the split."""
    folders = item.id.split("/")[:-1]
    depth = 1 if item.split is None else 2
    return folders[depth] if len(folders) > depth else None


def _group_column(table: Table) -> str:
    found = next((name for name in GROUP_COLUMNS if table.optional(name) is not None), None)
    if found is None:
        raise ClinquantError(
            "csv-column",
            f"{table.path} has no column named group or patient; its columns are {', '.join(table.columns)}.",
            fix="name the column with --group-column.",
        )
    return found


def matched(ids: list[str], paths: list[str]) -> dict[str, int | None]:
    """Row of every id; None where there is none."""
    exact = {path: row for row, path in enumerate(paths)}
    shortened = _unique_tails(paths)
    return {case: exact.get(case, _by_tail(case, shortened)) for case in ids}


def _unique_tails(paths: list[str]) -> dict[str, int]:
    """Every ending of a path (whole folders only) -> its row; -1 where several rows share it."""
    tails: dict[str, int] = {}
    for row, path in enumerate(paths):
        parts = path.split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            tails[tail] = -1 if tail in tails else row
    return tails


def _by_tail(case: str, tails: dict[str, int]) -> int | None:
    """The only row whose path ends in the longest possible part of `case`, which must keep its last folder where it has one."""
    parts = case.split("/")
    for start in range(max(len(parts) - 1, 1)):
        row = tails.get("/".join(parts[start:]))
        if row is not None:
            return row if row >= 0 else None
    return None


def _refuse_missing(items: Sequence[Item], rows: dict[str, int | None], csv: Path) -> None:
    missing = [item.id for item in items if rows[item.id] is None]
    if missing:
        raise ClinquantError(
            "groups-missing",
            f"{csv} does not name {missing[0]} ({len(missing)} of {len(items)} images are missing from it).",
            fix="give every image a row; its path is relative to the data folder.",
        )


def _notes(csv: Path, column: str, items: tuple[Item, ...], splits: bool, unused: int) -> tuple[str, ...]:
    notes = [f"The column {column!r} of {csv.name} groups the images: {len({item.group for item in items})} groups."]
    if splits:
        notes.append(f"The split is the one given in {csv.name}.")
    if unused > 0:
        notes.append(f"{unused} rows of {csv.name} name no image of this data set.")
    return tuple(notes)
