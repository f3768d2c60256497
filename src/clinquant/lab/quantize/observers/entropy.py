"""The range whose quantized histogram diverges least from the one seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinquant.core.affine import TensorSpec
from clinquant.lab.quantize.observers.histogram import BINS, Histogram


@dataclass(frozen=True)
class Entropy:
    """Least Kullback-Leibler divergence over `steps` thresholds on |x| (Migacz 2017, TensorRT's calibration; Wu et al. 2004.09602).

    For every threshold t the counts beyond t fall into the last bin of P; Q is P's bins merged into as many levels as the grid
    has, spread evenly again over the bins of each level that held something. KL(P || Q) is least at the answer.
    """

    steps: int = 128

    def range(self, histogram: Histogram, spec: TensorSpec) -> tuple[float, float]:
        """(low, high), the threshold on either side but never beyond what was seen."""
        half = BINS // 2
        counts: NDArray[np.float64] = (histogram.counts[half:] + histogram.counts[:half][::-1]).astype(np.float64)
        if not counts.any():
            return histogram.low, histogram.high
        levels = 2 ** (spec.bits - (1 if histogram.low < 0 else 0))
        counts[0] = counts[1]  # the spike of exact zeros after a ReLU is exact on any grid and says nothing about the range
        ends = np.unique(np.linspace(min(levels, half), half, self.steps).astype(int))
        best = ends[int(np.argmin([divergence(counts, int(end), levels) for end in ends]))]
        threshold = float(best) / half * histogram.reach
        return max(histogram.low, -threshold), min(histogram.high, threshold)


def divergence(counts: NDArray[np.float64], end: int, levels: int) -> float:
    """KL(P || Q) in nats for the threshold at bin `end`."""
    p = counts[:end].copy()
    held = p > 0
    level = (np.arange(end) * levels // end).astype(int)
    mass = np.bincount(level, weights=p, minlength=levels)
    filled = np.bincount(level, weights=held, minlength=levels)
    q = np.where(held, (mass / np.maximum(filled, 1))[level], 0.0)
    p[end - 1] += counts[end:].sum()
    if not p.sum() or not q.sum():
        return float("inf")
    p, q = p / p.sum(), np.maximum(q / q.sum(), 1e-12)
    nonzero = p > 0
    return float((p[nonzero] * np.log(p[nonzero] / q[nonzero])).sum())
