"""The order in which a person names classes."""

from __future__ import annotations

import math
import re
from itertools import zip_longest

NUMBER = re.compile(r"((?:(?<!\S)-)?\d+(?:\.\d+)?)")
"""A minus belongs to a number that begins a word; after a letter it is a hyphen."""


def counting(label: str) -> tuple[tuple[str, float, str], ...]:
    """A key to sort by in which numbers count: `c2` comes before `c10`.

    >>> sorted(["c10", "c2", "9", "grade 11", "grade 2"], key=counting)
    ['9', 'c2', 'c10', 'grade 2', 'grade 11']
    >>> sorted(["1", "0.5", "-1", "0.25"], key=counting)
    ['-1', '0.25', '0.5', '1']
    """
    parts = NUMBER.split(label)
    return tuple((text, float(number or -math.inf), number) for text, number in zip_longest(parts[::2], parts[1::2], fillvalue=""))
