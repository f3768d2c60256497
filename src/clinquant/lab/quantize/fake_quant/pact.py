"""Parameterized clipping activation (Choi et al. 2018, arXiv 1805.06085)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clinquant.lab.quantize.fake_quant.affine import codes

SMALLEST = 1e-3
"""Floor of the clipping level."""


class PACT(nn.Module):
    """y = clip(x, 0, a) on the grid of step a / high (eq. 1 and 2), a learnt.

    Gradients (eq. 3): dy/dx = 1 for low a / high <= x < a, else 0; dy/da = 1 for x >= a. For tensors with negative values the clip has
    a lower end as well, low a / high, where dy/da = low / high.

    Args:
        scale: float32 [], the initial step; a = scale high.
        low, high: lowest and highest code less the zero point.

    >>> quantizer = PACT(torch.tensor(1.0), 0, 3)
    >>> quantizer(torch.tensor([-1.0, 0.4, 1.6, 9.0])).tolist()
    [0.0, 0.0, 2.0, 3.0]
    """

    def __init__(self, scale: Tensor, low: int, high: int) -> None:
        super().__init__()
        self.level = nn.Parameter(scale.float() * high)
        self.low, self.high = low, high

    @property
    def scale(self) -> Tensor:
        """The step, float32."""
        return self.level.clamp_min(SMALLEST) / self.high

    def forward(self, x: Tensor) -> Tensor:
        """Float32 values on the grid."""
        with torch.autocast(x.device.type, enabled=False):
            return _PACT.apply(x.float(), self.level.clamp_min(SMALLEST), self.low, self.high)  # type: ignore[no-any-return, no-untyped-call]


class _PACT(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, level: Tensor, low: int, high: int) -> Tensor:
        ctx.save_for_backward(x, level)
        ctx.low, ctx.high = low, high
        step = level / high
        return codes(x, step, low, high) * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, level = ctx.saved_tensors
        gradient, bottom = gradients[0], level * (ctx.low / ctx.high)
        above, below = x >= level, x < bottom
        of_level = (gradient * above).sum() + (gradient * below).sum() * (ctx.low / ctx.high)
        return gradient * ~(above | below), of_level, None, None
