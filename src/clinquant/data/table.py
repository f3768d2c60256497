"""A small CSV table: named columns, every value a string, one row an image."""

from __future__ import annotations

import csv
import io
import posixpath
from dataclasses import dataclass
from pathlib import Path

from clinquant.core.errors import ClinquantError

GROUP_COLUMNS = (
    "group",
    "patient",
    "patient_id",
    "patient id",
    "patientid",
    "subject",
    "subject_id",
    "subject id",
    "subjectid",
    "slide",
    "image",
)
"""Names of columns, in lower case, that are taken for the group, the first that is there."""

PATH_COLUMNS = ("path", "file", "filename", "file_name")
"""Names of columns that are taken for the picture's path."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns by lower-case name; an empty cell is None."""

    path: Path
    columns: dict[str, list[str | None]]

    def required(self, name: str) -> list[str]:
        """A column that must be there, with every cell filled. Raises ClinquantError `csv-column`, `csv-value`."""
        values = self.optional(name)
        if values is None:
            raise ClinquantError(
                "csv-column",
                f"{self.path} has no column {name!r}; its columns are {', '.join(self.columns)}.",
                fix=f"name a column {name!r} in the first line.",
            )
        for row, value in enumerate(values):
            if value is None:
                raise ClinquantError("csv-value", f"{self.path} row {row + 2}: {name!r} is empty.", fix="fill it in, or remove the row.")
        return [value for value in values if value is not None]

    def optional(self, name: str) -> list[str | None] | None:
        """A column, or None where there is none of that name."""
        return self.columns.get(name.lower())

    def paths(self, name: str) -> list[str]:
        """A required column of paths, with forward slashes and without `./`."""
        return [posixpath.normpath(value.replace("\\", "/")) for value in self.required(name)]


def read_table(path: Path) -> Table:
    """The table at `path`: UTF-8 (a byte-order mark is taken off), separated by comma, semicolon or tab.

    Raises:
        ClinquantError: `csv-broken`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ClinquantError("csv-broken", f"{path} does not exist.", fix="correct the path of the CSV file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ClinquantError("csv-broken", f"{path} cannot be read ({error}).", fix="give a CSV file in UTF-8.") from error
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ClinquantError("csv-broken", f"{path} cannot be read ({error}).", fix="give a CSV file, as text.") from error
    if not rows:
        raise ClinquantError("csv-broken", f"{path} is empty.", fix="give a first line of column names, then one line an image.")
    names = [name.strip().lower() for name in rows[0]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise ClinquantError(
                "csv-broken",
                f"{path} row {number} has {len(row)} cells, the first line {len(names)}.",
                fix="give every row the same columns.",
            )
    return Table(path=path, columns={name: [row[k].strip() or None for row in rows[1:]] for k, name in enumerate(names)})
