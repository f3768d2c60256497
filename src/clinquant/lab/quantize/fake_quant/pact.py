"""Parameterized clipping activation (Choi et al. 2018, arXiv 1805.06085)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clinquant.lab.quantize.fake_quant.affine import broadcast, codes, total
from clinquant.lab.quantize.fake_quant.quantizer import FakeQuantizer

SMALLEST = 1e-3
"""Floor of the clipping level."""

DECAY = 1e-4
"""L2 on the level: that of the weights (section 3), in LSQ's value, since AdamW's decoupled decay is no L2."""


class PACT(FakeQuantizer):
    """y = clip(x, 0, a) on the grid of step a / high (eq. 1 and 2), a learnt.

    Gradients (eq. 3): dy/dx = 1 for low a / high <= x < a, else 0; dy/da = 1 for x >= a. For tensors with negative values the clip has
    a lower end as well, low a / high, where dy/da = low / high. The loss is raised by `DECAY` a^2 / 2, which draws a level that clips
    nothing inwards: the gradient of the values alone never does.

    Args:
        scale: float32 [] or [channels], the initial step; a = scale high.
        low, high: lowest and highest code less the zero point.
        axis: the channel axis, or None; the paper has one level a layer.

    >>> quantizer = PACT(torch.tensor(1.0), 0, 3)
    >>> quantizer(torch.tensor([-1.0, 0.4, 1.6, 9.0])).tolist()
    [0.0, 0.0, 2.0, 3.0]
    """

    def __init__(self, scale: Tensor, low: int, high: int, axis: int | None = None) -> None:
        super().__init__(low, high, axis)
        self.level = nn.Parameter(scale.float() * high)

    @property
    def scale(self) -> Tensor:
        """The step, float32."""
        return self.level.clamp_min(SMALLEST) / self.high

    def scale_of(self, x: Tensor) -> Tensor:
        """The learnt step."""
        return self.scale

    def _on_grid(self, x: Tensor) -> Tensor:
        return _PACT.apply(x, self.level.clamp_min(SMALLEST), self.low, self.high, self.axis)  # type: ignore[no-any-return, no-untyped-call]

    def penalty(self) -> Tensor:
        """L2 of the level."""
        return DECAY / 2 * self.level.square().sum()


class _PACT(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, level: Tensor, low: int, high: int, axis: int | None) -> Tensor:
        ctx.save_for_backward(x, level)
        ctx.low, ctx.high, ctx.axis = low, high, axis
        step = broadcast(level / high, x, axis)
        return codes(x, step, low, high) * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, level = ctx.saved_tensors
        gradient, top, share = gradients[0], broadcast(level, x, ctx.axis), ctx.low / ctx.high
        above, below = x >= top, x < top * share
        of_level = total(gradient * above, ctx.axis) + total(gradient * below, ctx.axis) * share
        return gradient * ~(above | below), of_level, None, None, None
