"""What is remembered of one tensor's values: fixed memory, however many calibration images pass."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError

BINS = 4096
"""Over [-reach, reach]; 16 a code at 8 bits. Even, so that zero is a bin's edge."""

SAMPLES = 2**16
"""Values of one batch that enter the bins, and half as many more at most; the minimum and maximum see every value."""

RUN = 16
"""Neighbours that are sampled together: a cache line."""


class Histogram:
    """Counts over [-reach, reach]; `reach` doubles when a value falls outside, by merging bins in pairs, so nothing is lost."""

    def __init__(self) -> None:
        self.low, self.high, self.reach = 0.0, 0.0, 0.0
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)

    def update(self, x: torch.Tensor) -> None:
        """Takes in a batch of any shape.

        Raises:
            ClinquantError: `activation-nan` when a value is not finite.
        """
        low, high = (float(end) for end in torch.aminmax(x.permute(0, 2, 3, 1) if channels_last(x) else x))
        if not np.isfinite(low + high):
            raise ClinquantError("activation-nan", "a value is not finite.", fix="look for exploding weights in this layer.")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._reach(max(-low, high))
        if self.reach:
            places = (sampled(x) * (BINS / (2 * self.reach))).add_(BINS / 2).to(torch.int32)
            found = torch.bincount(places, minlength=BINS + 1).numpy()
            self.counts += found[:BINS]
            self.counts[-1] += found[BINS:].sum()

    def _reach(self, largest: float) -> None:
        if largest == 0.0:
            return
        if self.reach == 0.0:
            self.reach = largest
        while largest > self.reach:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(pairs, BINS // 4)
            self.reach *= 2

    @property
    def centers(self) -> NDArray[np.float64]:
        """[BINS] value at the middle of each bin."""
        return np.asarray((np.arange(BINS) + 0.5) * (2 * self.reach / BINS) - self.reach, dtype=np.float64)

    def within(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Centers and counts of the bins that hold something."""
        held = self.counts > 0
        return self.centers[held], self.counts[held]


def sampled(x: torch.Tensor) -> torch.Tensor:
    """About `SAMPLES` values of `x`, evenly spread: all of a small tensor, else the first `RUN` of every stretch of equal length.

    The number of runs in a stretch is odd, so that samples do not keep to the same columns.
    """
    stretch = RUN * (max(1, x.numel() // SAMPLES) | 1)
    if channels_last(x) and stretch > RUN:
        return x.permute(0, 2, 3, 1).take(sampled_places(tuple(x.shape), stretch))
    values = x.flatten()
    if stretch == RUN:
        return values
    return values[: values.numel() // stretch * stretch].view(-1, stretch)[:, :RUN].flatten()


def channels_last(x: torch.Tensor) -> bool:
    """Whether memory holds an image's channels side by side: in any other order reading all of it takes many times as long."""
    return x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=64)
def sampled_places(shape: tuple[int, ...], stretch: int) -> torch.Tensor:
    """Where the values that `sampled` takes of a tensor of `shape` lie in memory with channels last."""
    taken = torch.arange(math.prod(shape) // stretch)[:, None] * stretch + torch.arange(RUN)
    image, channel, row, column = torch.unravel_index(taken.flatten(), shape)
    _, channels, height, width = shape
    return ((image * height + row) * width + column) * channels + channel
