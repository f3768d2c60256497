"""Straight-through rounding on the range that was seen (Bengio et al. 2013, arXiv 1308.3432; Jacob et al. 2018, arXiv 1712.05877)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clinquant.core.affine import SMALLEST_SCALE
from clinquant.lab.quantize.fake_quant.affine import broadcast, codes, extent, inside, zero_point
from clinquant.lab.quantize.fake_quant.quantizer import FakeQuantizer

MOMENTUM = 0.01
"""Share of the present batch in the moving range: an exponential average "with the parameter close to 1" (Jacob et al., section 3.1)."""


class MinMax(FakeQuantizer):
    """w_hat = round(w / s) s on the smallest grid that covers w, found anew each time: s = max(max(w) / high, min(w) / low).

    Gradient: 1 everywhere, since everything lies inside; s is a constant to it. Nothing is learnt.

    Args:
        low, high: lowest and highest code, for example -7 and 7.
        axis: the channel axis, or None.

    >>> MinMax(-3, 3)(torch.tensor([-1.5, 0.2, 0.6, 0.8])).tolist()
    [-1.5, 0.0, 0.5, 1.0]
    """

    def scale_of(self, x: Tensor) -> Tensor:
        """The smallest step that covers `x`."""
        lowest, highest = extent(x.detach().float(), self.axis)
        covering = highest / self.high
        return (torch.maximum(covering, lowest / self.low) if self.low else covering).clamp_min(float(SMALLEST_SCALE))

    def _on_grid(self, x: Tensor) -> Tensor:
        step = broadcast(self.scale_of(x), x, self.axis)
        return through(x, codes(x.detach(), step, self.low, self.high) * step)


class MovingMinMax(FakeQuantizer):
    """x_hat = (round(x / s) within [-z, n - z]) s on the grid that covers a moving average of the range seen in training.

    s = (highest - lowest) / n and z = round(-lowest / s), the range widened to take in zero. Gradient: 1 inside the grid, 0 outside.
    `lowest` and `highest` are buffers, moved by `MOMENTUM` at every training step; nothing is learnt.

    Args:
        scale: float32 [] or [channels], the initial step; positive.
        low, high: lowest and highest code less the initial zero point; n = high - low.
        axis: the channel axis, or None.

    >>> quantizer = MovingMinMax(torch.tensor(1.0), 0, 3).eval()
    >>> quantizer(torch.tensor([-1.0, 0.4, 1.6, 9.0])).tolist()
    [0.0, 0.0, 2.0, 3.0]
    """

    lowest: Tensor
    highest: Tensor

    def __init__(self, scale: Tensor, low: int, high: int, axis: int | None = None) -> None:
        super().__init__(low, high, axis)
        self.register_buffer("lowest", scale.detach().float() * low)
        self.register_buffer("highest", scale.detach().float() * high)

    @property
    def scale(self) -> Tensor:
        """The step, float32."""
        return ((self.highest - self.lowest) / (self.high - self.low)).clamp_min(float(SMALLEST_SCALE))

    @property
    def zero(self) -> Tensor:
        """The zero point of the range."""
        return zero_point(self.lowest, self.scale, self.high - self.low)

    def scale_of(self, x: Tensor) -> Tensor:
        """The step of the range so far."""
        return self.scale

    def _on_grid(self, x: Tensor) -> Tensor:
        if self.training:
            self.watch(x.detach())
        step, low = broadcast(self.scale, x, self.axis), -broadcast(self.zero, x, self.axis)
        high = low + (self.high - self.low)
        return through(x, codes(x.detach(), step, low, high) * step, inside(x.detach(), step, low, high))

    def watch(self, x: Tensor) -> None:
        """Moves the range towards that of `x`."""
        lowest, highest = extent(x, self.axis)
        self.lowest.lerp_(lowest, MOMENTUM)
        self.highest.lerp_(highest, MOMENTUM)


def through(x: Tensor, values: Tensor, within: Tensor | None = None) -> Tensor:
    """`values`, with the gradient as if they were `x`: everywhere, or where `within` is 1."""
    return _Through.apply(x, values, within)  # type: ignore[no-any-return, no-untyped-call]


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, within: Tensor | None) -> Tensor:
        ctx.save_for_backward(within)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (within,) = ctx.saved_tensors
        return gradients[0] if within is None else gradients[0] * within, None, None
