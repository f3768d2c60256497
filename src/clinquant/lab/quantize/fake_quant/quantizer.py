"""What every fake quantizer is."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn


class FakeQuantizer(nn.Module):
    """Puts values on a grid, with a gradient for them and for what it learns.

    Attributes:
        low, high: lowest and highest code less the zero point (that it began with, where `zero` moves).
        axis: the channel axis with a scale each, or None.
        odd: codes are odd, two apart, and have no zero.
    """

    odd = False

    def __init__(self, low: int, high: int, axis: int | None = None) -> None:
        super().__init__()
        self.low, self.high, self.axis = low, high, axis

    def forward(self, x: Tensor) -> Tensor:
        """Float32 values on the grid."""
        with torch.autocast(x.device.type, enabled=False):
            return self._on_grid(x.float())

    @abstractmethod
    def _on_grid(self, x: Tensor) -> Tensor:
        """`forward` in float32."""

    @abstractmethod
    def scale_of(self, x: Tensor) -> Tensor:
        """The step, float32 [] or [channels], that `forward(x)` uses: one code unit."""

    @property
    def zero(self) -> Tensor | int:
        """How many codes lie below that of zero: a whole number, or a float tensor of such, shaped as the scale, where it may move."""
        return -self.low

    def unrounded(self, x: Tensor) -> Tensor:
        """The float32 values that `forward` rounds and clips, on its scale."""
        return x

    def penalty(self) -> Tensor | None:
        """What the loss is raised by, if anything."""
        return None
