"""How long a zoo network's files take, float beside integer, natively and in the browser, as measured by `benchmarks/wasm.py`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("speed.csv")
"""Written by `python -m benchmarks.page` from the table of measurements."""

TABLET = "resnet18_half"
"""The tablet's default network: of those for pictures of 224 px the quickest in a browser."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One thread, on one machine: medians of ratios to the float file's time, below 1 is faster than float, and median milliseconds.

    Attributes:
        size: side of the input, pixels.
        native: the integer file in ONNX Runtime.
        browser_integer: the integer file in ONNX Runtime Web.
        browser_mixed: the same with its short sums in float kernels (`kernels.with_float_kernels`).
        native_float_ms, native_integer_ms, browser_float_ms, browser_integer_ms, browser_mixed_ms: of one picture.
    """

    size: int
    native: float
    browser_integer: float
    browser_mixed: float
    native_float_ms: float
    native_integer_ms: float
    browser_float_ms: float
    browser_integer_ms: float
    browser_mixed_ms: float

    @property
    def browser(self) -> float:
        """The better of the two."""
        return min(self.browser_integer, self.browser_mixed)

    @property
    def browser_ms(self) -> float:
        """Milliseconds of the better of the two."""
        return self.browser_mixed_ms if self.browser_mixed < self.browser_integer else self.browser_integer_ms

    def __str__(self) -> str:
        kernels = "mixed" if self.browser_mixed < self.browser_integer else "integer"
        slower = ", slower than float" if self.browser > 1 else ""
        native = f"{self.size} px: natively {self.native_float_ms:.1f} -> {self.native_integer_ms:.1f} ms ({self.native:.2f})"
        times = f"{self.browser_float_ms:.1f} -> {self.browser_ms:.1f} ms ({self.browser:.2f}, {kernels} kernels{slower})"
        return f"{native}, in the browser {times}"


def speeds() -> dict[str, Speed]:
    """Architecture -> what was measured of it."""
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = [name for name in Speed.__dataclass_fields__ if name != "size"]
    return {row["architecture"]: Speed(size=int(row["size"]), **{name: float(row[name]) for name in numbers}) for row in rows}
