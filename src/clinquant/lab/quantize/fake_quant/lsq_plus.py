"""LSQ+ (Bhalgat et al. 2020, arXiv 2004.09576): a learnt offset for activations, and the start of the weights' steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clinquant.core.affine import SMALLEST_SCALE
from clinquant.lab.quantize.fake_quant.affine import broadcast, codes, inside, total, zero_point
from clinquant.lab.quantize.fake_quant.lsq import LSQ
from clinquant.lab.quantize.fake_quant.quantizer import FakeQuantizer


class LSQPlus(FakeQuantizer):
    """x_hat = round(clip((x - beta) / s, 0, n)) s + beta (eq. 1 to 3) with a learnt step s and offset beta, the value of the lowest code.

    Gradients (eq. 4 and 5): inside, dx_hat/ds = round(v) - v with v = (x - beta) / s, and dx_hat/dbeta = 0; outside, dx_hat/ds = 0 or n and
    dx_hat/dbeta = 1. Both are scaled as LSQ's. Differs: zero must be a code (padding is zero), so beta acts as -z s with the whole zero
    point z = clip(round(-beta / s), 0, n), straight through: what is trained is what is exported. s is learnt as a logarithm, beta
    in units of the initial step.

    Args:
        scale: float32 [] or [channels], the initial step; positive.
        low, high: lowest and highest code less the initial zero point; n = high - low.
        axis: the channel axis, or None.

    >>> quantizer = LSQPlus(torch.tensor(0.5), -1, 2)
    >>> quantizer(torch.tensor([-9.0, 0.2, 0.6, 9.0])).tolist()
    [-0.5, 0.0, 0.5, 1.0]
    """

    def __init__(self, scale: Tensor, low: int, high: int, axis: int | None = None) -> None:
        super().__init__(low, high, axis)
        self.log_scale = nn.Parameter(scale.float().log())
        self.offset = nn.Parameter(torch.full_like(self.log_scale.data, float(low)))
        self.register_buffer("unit", scale.detach().float().clone())

    @property
    def scale(self) -> Tensor:
        """The step, float32."""
        return self.log_scale.exp()

    @property
    def beta(self) -> Tensor:
        """The value that the lowest code asks for, before the zero point is made whole."""
        return self.offset * torch.as_tensor(self.unit)

    @property
    def zero(self) -> Tensor:
        """The whole zero point that stands for beta."""
        return zero_point(self.beta, self.scale, self.high - self.low)

    def scale_of(self, x: Tensor) -> Tensor:
        """The learnt step."""
        return self.scale

    def _on_grid(self, x: Tensor) -> Tensor:
        return _LSQPlus.apply(x, self.scale, self.beta, self.high - self.low, self.axis)  # type: ignore[no-any-return, no-untyped-call]


class _LSQPlus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, beta: Tensor, levels: int, axis: int | None) -> Tensor:
        zero = zero_point(beta, scale, levels)
        ctx.save_for_backward(x, scale, zero)
        ctx.levels, ctx.axis = levels, axis
        step, low = broadcast(scale, x, axis), -broadcast(zero, x, axis)
        return codes(x, step, low, low + levels) * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, zero = ctx.saved_tensors
        gradient, step, low = gradients[0], broadcast(scale, x, ctx.axis), -broadcast(zero, x, ctx.axis)
        within, rounded = inside(x, step, low, low + ctx.levels), codes(x, step, low, low + ctx.levels)
        of_step = gradient * torch.where(within > 0, rounded - x / step, rounded - low)
        balance = (x.numel() / scale.numel() * ctx.levels) ** -0.5
        of_beta = total(gradient * (1 - within), ctx.axis) * balance
        return gradient * within, total(of_step, ctx.axis) * balance, of_beta, None, None


def three_sigma_step(weight: Tensor, bits: int) -> Tensor:
    """float32 [channels]: max(|mu - 3 sd|, |mu + 3 sd|) / 2^(bits - 1) of each channel (axis 0) of a weight (section 3.2).

    >>> three_sigma_step(torch.tensor([[-1.0, 1.0, -1.0, 1.0]]), 2).tolist()
    [1.5]
    """
    flat = weight.detach().float().flatten(1)
    mean, deviation = flat.mean(1), flat.std(1, correction=0)
    furthest = torch.maximum((mean - 3 * deviation).abs(), (mean + 3 * deviation).abs())
    return torch.clamp_min(furthest / 2 ** (bits - 1), float(SMALLEST_SCALE))


def three_sigma(weight: Tensor, low: int, high: int, bits: int) -> LSQ:
    """LSQ of a weight, one step a channel, that starts at `three_sigma_step`."""
    return LSQ(three_sigma_step(weight, bits), low, high, axis=0)
