"""CSV manifests: a row an image, with its path and label, and optionally patient, split and site."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clinquant.core.errors import ClinquantError
from clinquant.core.progress import Say
from clinquant.data.covariates import covariates
from clinquant.data.datasets.folder import FileStore
from clinquant.data.datasets.listing import Item, Listing
from clinquant.data.order import counting
from clinquant.data.role import ROLES, role
from clinquant.data.study import Source
from clinquant.data.table import GROUP_COLUMNS, Table, read_table


@dataclass(frozen=True)
class Manifest:
    """Columns `path` and `label`; optionally a patient (`GROUP_COLUMNS`), `split`, `site`, and covariates (`data.covariates`).

    Paths are relative to the CSV's folder.
    """

    def accepts(self, data: str) -> bool:
        """True for a path that ends in `.csv`."""
        return Path(data).suffix.lower() == ".csv"

    def listing(self, data: str, say: Say | None = None) -> Listing:
        """The rows of the manifest.

        Raises:
            ClinquantError: `csv-broken`, `csv-column`, `csv-duplicate`, `csv-value`, `data-empty`, `multi-label`.
        """
        table = read_table(Path(data))
        paths, labels = table.paths("path"), table.required("label")
        if not paths:
            raise ClinquantError("data-empty", f"{data} has no row.", fix="give one row an image.")
        refuse_duplicates(paths, data)
        classes = tuple(sorted(set(labels), key=counting))
        _refuse_several_labels(classes, data)
        items = _items(table, paths, [classes.index(label) for label in labels])
        return Listing(name=Path(data).stem, kind="csv", path=str(Path(data).resolve()), classes=classes, items=items)

    def store(self, source: Source) -> FileStore:
        """Files named relative to the manifest's folder."""
        return FileStore(Path(source.path).parent)


def _items(table: Table, paths: list[str], labels: list[int]) -> tuple[Item, ...]:
    groups = next((cells for name in GROUP_COLUMNS if (cells := table.optional(name))), [None] * len(paths))
    splits = split_column(table) or [None] * len(paths)
    sites = table.optional("site") or [None] * len(paths)
    rows = zip(paths, labels, groups, splits, sites, covariates(table), strict=True)
    items = (
        Item(id=path, label=label, group=group, split=side, site=site, covariates=more) for path, label, group, side, site, more in rows
    )
    return tuple(sorted(items, key=lambda item: item.id))


def split_column(table: Table) -> Sequence[str | None] | None:
    """The `split` column as train, tune and test; None where there is no such column or it is empty throughout.

    Raises:
        ClinquantError: `csv-value` for another word, or where only some rows are filled in.
    """
    words = table.optional("split")
    if words is None or all(word is None for word in words):
        return None
    for row, word in enumerate(words):
        if word is None or role(word) is None:
            raise ClinquantError(
                "csv-value",
                f"{table.path} row {row + 2}: the split is {word or ''!r}, expected one of {', '.join(ROLES)}.",
                fix="write train, tune (or val) or test in every row, or remove the column.",
            )
    return [role(word) for word in words if word is not None]


def refuse_duplicates(paths: list[str], where: str) -> None:
    """Raises ClinquantError `csv-duplicate` when a path stands twice."""
    twice = sorted(path for path, count in Counter(paths).items() if count > 1)
    if twice:
        raise ClinquantError(
            "csv-duplicate", f"{where} names {twice[0]} twice ({len(twice)} such paths).", fix="leave one row for every image."
        )


def _refuse_several_labels(classes: tuple[str, ...], where: str) -> None:
    """Raises ClinquantError `multi-label` where a label joins others: `mass|nodule` beside `mass` and `nodule`."""
    for name in classes:
        parts = re.split(r"\s*[|;,+]\s*", name)
        if len(parts) > 1 and set(parts) <= set(classes):
            raise ClinquantError(
                "multi-label",
                f"{where}: the label {name!r} joins {len(parts)} classes, and an image has one.",
                fix="leave one label in each row; a combination that is a class of its own needs a name of its own.",
            )
