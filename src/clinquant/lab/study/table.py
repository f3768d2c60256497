"""The table of a study: a CSV that can be cut off at any time, for its rows say what is done."""

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
from clinquant.lab.study.ways import Key

KEY = ("set", "arch", "seed", "way", "bits")


class Table:
    """The rows of a CSV file, written anew, atomically, after every one.

    Args:
        path: of the file; comment lines begin with #.
        command: how it was made, its first line.
    """

    def __init__(self, path: Path, command: str) -> None:
        self.path, self.command = path, command
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))

    def __contains__(self, key: Key) -> bool:
        return any(all(str(row[name]) == str(getattr(key, name)) for name in KEY) for row in self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row and writes the file."""
        about = {"machine": f"{machine()}", "python": platform.python_version(), "clinquant": __version__}
        self.rows.append(dict(row) | about)
        columns = list(dict.fromkeys(name for known in self.rows for name in known))
        text = io.StringIO()
        text.write(f"# {self.command}\n")
        writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())
