"""A table of results that can be cut off at any time: a CSV whose rows say what is done."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clinquant import __version__
from clinquant.core.artifact import write_text
from clinquant.edge.machine import machine


class Table:
    """The rows of a CSV file, written anew, atomically, after every one.

    Args:
        path: of the file. Lines before its header that begin with # say how its rows were made, and are kept.
        key: the columns that name a row.
        command: what makes rows now; the file's first lines name every command that ever added one.
    """

    def __init__(self, path: Path, key: tuple[str, ...], command: str) -> None:
        self.path, self.key, self.command = path, key, command
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.notes = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
        self.rows: list[dict[str, Any]] = list(csv.DictReader(line for line in lines if not line.startswith("#")))

    def __contains__(self, row: Mapping[str, Any]) -> bool:
        return any(self._same(known, row) for known in self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row, in place of one of the same key, and writes the file."""
        about = {"machine": f"{machine()}", "python": platform.python_version(), "clinquant": __version__}
        self.rows = [known for known in self.rows if not self._same(known, row)] + [dict(row) | about]
        if self.command not in self.notes:
            self.notes.append(self.command)
        text = io.StringIO()
        text.writelines(f"# {note}\n" for note in self.notes)
        writer = csv.DictWriter(text, list(dict.fromkeys(name for known in self.rows for name in known)), lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())

    def _same(self, known: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
        return all(str(known[name]) == str(row[name]) for name in self.key)
