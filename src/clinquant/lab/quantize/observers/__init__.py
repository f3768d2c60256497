"""Observers: from what was seen of a tensor to the range that its codes shall cover. One file a method, one line here."""

from __future__ import annotations

from typing import Protocol

from clinquant.core.affine import TensorSpec
from clinquant.lab.quantize.observers.entropy import Entropy
from clinquant.lab.quantize.observers.histogram import Histogram
from clinquant.lab.quantize.observers.minmax import MinMax
from clinquant.lab.quantize.observers.mse import MSE
from clinquant.lab.quantize.observers.percentile import Percentile


class Observer(Protocol):
    """A rule for the range."""

    def range(self, histogram: Histogram, spec: TensorSpec) -> tuple[float, float]:
        """(low, high) with low <= 0 <= high."""


OBSERVERS: dict[str, type[Observer]] = {
    "minmax": MinMax,
    "percentile": Percentile,
    "mse": MSE,
    "entropy": Entropy,
}

__all__ = ["MSE", "OBSERVERS", "Entropy", "Histogram", "MinMax", "Observer", "Percentile"]
