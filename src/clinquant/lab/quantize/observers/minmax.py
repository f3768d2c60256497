"""The whole range seen: no value of the calibration images is clipped."""

from __future__ import annotations

from dataclasses import dataclass

from clinquant.core.affine import TensorSpec
from clinquant.lab.quantize.observers.histogram import Histogram


@dataclass(frozen=True)
class MinMax:
    """From the smallest to the largest value (Jacob et al. 2018, arXiv 1712.05877, section 3)."""

    def range(self, histogram: Histogram, spec: TensorSpec) -> tuple[float, float]:
        """(low, high) of everything seen, zero included."""
        return histogram.low, histogram.high
