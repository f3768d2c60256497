"""Learned step size quantization (Esser et al. 2020, arXiv 1902.08153)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clinquant.lab.quantize.fake_quant.affine import broadcast, codes, inside, total


class LSQ(nn.Module):
    """v_hat = round(clip(v / s, low, high)) s with a learnt step s, one or one a channel (eq. 1 and 2).

    Gradients (eq. 3): for v inside, dv_hat/dv = 1 and dv_hat/ds = round(v/s) - v/s; outside, 0 and low or high. That of s is scaled by
    1 / sqrt(N high), N values a step (section 2.2), without which s diverges.

    Args:
        scale: float32 [] or [channels], the initial step; positive.
        low, high: lowest and highest code less the zero point, for example 0 and 15, or -7 and 7.
        axis: the channel axis, or None.

    >>> quantizer = LSQ(torch.tensor(1.0), 0, 3)
    >>> quantizer(torch.tensor([-1.0, 0.4, 1.6, 9.0])).tolist()
    [0.0, 0.0, 2.0, 3.0]
    """

    def __init__(self, scale: Tensor, low: int, high: int, axis: int | None = None) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(scale.float().log())
        self.low, self.high, self.axis = low, high, axis

    @property
    def scale(self) -> Tensor:
        """The step, float32; kept positive by learning its logarithm."""
        return self.log_scale.exp()

    def forward(self, x: Tensor) -> Tensor:
        """Float32 values on the grid."""
        with torch.autocast(x.device.type, enabled=False):
            return _LSQ.apply(x.float(), self.scale, self.low, self.high, self.axis)  # type: ignore[no-any-return, no-untyped-call]


class _LSQ(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int, axis: int | None) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.low, ctx.high, ctx.axis = low, high, axis
        step = broadcast(scale, x, axis)
        return codes(x, step, low, high) * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        gradient, step = gradients[0], broadcast(scale, x, ctx.axis)
        within, rounded = inside(x, step, ctx.low, ctx.high), codes(x, step, ctx.low, ctx.high)
        of_step = gradient * (rounded - within * (x / step))
        balance = (x.numel() / scale.numel() * ctx.high) ** -0.5
        return gradient * within, total(of_step, ctx.axis) * balance, None, None, None
