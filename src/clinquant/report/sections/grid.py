"""A plain table of the page: a caption, columns, rows of cells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table whose first cell of a row is its heading; cells are untrusted text.

    Attributes:
        texts: columns of words, which stand at the left; all others but the first hold numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: tuple[int, ...] = ()
