"""The order in which a person names classes."""

from __future__ import annotations

import re


def counting(label: str) -> tuple[tuple[str, int, str], ...]:
    """A key to sort by in which numbers count: `c2` comes before `c10`.

    >>> sorted(["c10", "c2", "9", "grade 11", "grade 2"], key=counting)
    ['9', 'c2', 'c10', 'grade 2', 'grade 11']
    """
    return tuple((text, int(number or -1), number) for text, number in re.findall(r"(\D*)(\d*)", label) if text or number)
