"""The range whose grid changes the values least, in the mean square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinquant.core.affine import TensorSpec, fake_quantize, qparams_from_range
from clinquant.lab.quantize.observers.histogram import Histogram


@dataclass(frozen=True)
class MSE:
    """The best of `steps` ranges, from all that was seen down to `smallest` of it (Nagel et al. 2021, arXiv 2106.08295, section 3.1)."""

    steps: int = 80
    smallest: float = 0.2

    def range(self, histogram: Histogram, spec: TensorSpec) -> tuple[float, float]:
        """(low, high) of least mean squared error; the widest of equals."""
        values, counts = histogram.within()
        if not len(values):
            return histogram.low, histogram.high
        shares = np.linspace(1.0, self.smallest, self.steps)
        errors = [squared_error(values, counts, histogram.low * share, histogram.high * share, spec) for share in shares]
        best = shares[int(np.argmin(errors))]
        return histogram.low * float(best), histogram.high * float(best)


def squared_error(values: np.ndarray, counts: np.ndarray, low: float, high: float, spec: TensorSpec) -> float:
    """Mean squared change of `values` (with `counts`) on the grid that covers [low, high]."""
    grid = qparams_from_range(low, high, spec)
    change = values - fake_quantize(values.astype(np.float32), grid)
    return float((change**2 * counts).sum() / counts.sum())
