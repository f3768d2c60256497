"""How long a zoo network's integer file takes beside its float file, natively and in the browser, as measured by `benchmarks/wasm.py`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("speed.csv")
"""Written by `python -m benchmarks.page` from the table of measurements."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Medians of ratios to the float file's time, one thread, on one machine; below 1 is faster than float.

    Attributes:
        native: the integer file in ONNX Runtime.
        browser_integer: the integer file in ONNX Runtime Web.
        browser_mixed: the same with its short sums in float kernels (`kernels.with_float_kernels`).
    """

    native: float
    browser_integer: float
    browser_mixed: float

    @property
    def browser(self) -> float:
        """The better of the two."""
        return min(self.browser_integer, self.browser_mixed)

    def __str__(self) -> str:
        kernels = "mixed" if self.browser_mixed < self.browser_integer else "integer"
        slower = ", slower than float" if self.browser > 1 else ""
        return f"{self.native:.2f} of float's time natively, {self.browser:.2f} in the browser ({kernels} kernels{slower})"


def speeds() -> dict[str, Speed]:
    """Architecture -> what was measured of it."""
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = ("native", "browser_integer", "browser_mixed")
    return {row["architecture"]: Speed(**{name: float(row[name]) for name in numbers}) for row in rows}
