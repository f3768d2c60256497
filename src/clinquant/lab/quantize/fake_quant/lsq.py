"""Learned step size quantization (Esser et al. 2020, arXiv 1902.08153)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clinquant.lab.quantize.fake_quant.affine import broadcast, codes, inside, total
from clinquant.lab.quantize.fake_quant.quantizer import FakeQuantizer


class LSQ(FakeQuantizer):
    """v_hat = round(clip(v / s, low, high)) s with a learnt step s, one or one a channel (eq. 1 and 2).

    Gradients (eq. 3): for v inside, dv_hat/dv = 1 and dv_hat/ds = round(v/s) - v/s; outside, 0 and low or high. That of s is scaled by
    1 / sqrt(N high), N values a step (section 2.2), without which s diverges. The logarithm of s is learnt, so that s stays positive.

    Args:
        scale: float32 [] or [channels], the initial step; positive.
        low, high: lowest and highest code less the zero point, for example 0 and 15, or -7 and 7.
        axis: the channel axis, or None.
        odd: round to the odd codes low, low + 2 ... high (for weights: four levels at 2 bits where a symmetric grid with zero has three).

    >>> quantizer = LSQ(torch.tensor(1.0), 0, 3)
    >>> quantizer(torch.tensor([-1.0, 0.4, 1.6, 9.0])).tolist()
    [0.0, 0.0, 2.0, 3.0]
    """

    def __init__(self, scale: Tensor, low: int, high: int, axis: int | None = None, *, odd: bool = False) -> None:
        super().__init__(low, high, axis)
        self.log_scale = nn.Parameter(scale.float().log())
        self.odd = odd

    @property
    def scale(self) -> Tensor:
        """The step, float32."""
        return self.log_scale.exp()

    def scale_of(self, x: Tensor) -> Tensor:
        """The learnt step."""
        return self.scale

    def _on_grid(self, x: Tensor) -> Tensor:
        return _LSQ.apply(x, self.scale, self.low, self.high, self.axis, self.odd)  # type: ignore[no-any-return, no-untyped-call]


class _LSQ(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int, axis: int | None, odd: bool) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.low, ctx.high, ctx.axis, ctx.odd = low, high, axis, odd
        step = broadcast(scale, x, axis)
        return codes(x, step, low, high, odd=odd) * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        gradient, step = gradients[0], broadcast(scale, x, ctx.axis)
        within, rounded = inside(x, step, ctx.low, ctx.high), codes(x, step, ctx.low, ctx.high, odd=ctx.odd)
        of_step = gradient * (rounded - within * (x / step))
        balance = (x.numel() / scale.numel() * ctx.high) ** -0.5
        return gradient * within, total(of_step, ctx.axis) * balance, None, None, None, None
