"""The range without its rarest values on either side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinquant.core.affine import TensorSpec
from clinquant.core.errors import ClinquantError
from clinquant.lab.quantize.observers.histogram import Histogram


@dataclass(frozen=True)
class Percentile:
    """Between the (100 - p)th and the pth percentile (Wu et al. 2020, arXiv 2004.09602, section 4); p above 50, at most 100.

    99.99 is the value that kept accuracy there on most networks.
    """

    percent: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.percent <= 100:
            raise ClinquantError("percentile-invalid", f"percentile {self.percent}.", fix="give one above 50 and at most 100.")

    def range(self, histogram: Histogram, spec: TensorSpec) -> tuple[float, float]:
        """(low, high); bins are as fine as the histogram's."""
        values, counts = histogram.within()
        if not len(values):
            return histogram.low, histogram.high
        share = np.cumsum(counts) / counts.sum()
        low = values[np.searchsorted(share, 1 - self.percent / 100)]
        high = values[np.searchsorted(share, self.percent / 100)]
        return max(histogram.low, min(float(low), 0.0)), min(histogram.high, max(float(high), 0.0))
