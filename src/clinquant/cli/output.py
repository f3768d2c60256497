"""What a command prints: text for people, or one versioned JSON object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clinquant.core.artifact import dump_json


def show(value: Any, text: str, *, kind: str, as_json: bool) -> None:
    """Prints `text`, or with `as_json` the artifact `clinquant/<kind>` made of `value` (a mapping or a dataclass)."""
    print(dump_json(value, kind=kind) if as_json else text, end="" if as_json else "\n")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
