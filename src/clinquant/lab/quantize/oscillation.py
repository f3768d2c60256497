"""Oscillating weights (Nagel et al. 2022, arXiv 2203.11086): damped by a penalty, or frozen once they turn back too often."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clinquant.lab.quantize.fake_quant import LSQ
from clinquant.lab.quantize.fake_quant.affine import broadcast, codes

MOMENTUM = 0.01
"""Share of the present step in both moving averages (Algorithm 1)."""


def dampening(weight: Tensor, quantizer: LSQ) -> Tensor:
    """||w_hat - clip(w, low s, high s)||^2 (eq. 8), w_hat held constant: draws weights to the middle of their bins.

    The step is held constant as well.
    """
    step = broadcast(quantizer.scale_of(weight).detach(), weight, quantizer.axis)
    low, high = quantizer.low, quantizer.high
    held = quantizer(weight.detach()).detach()
    outside = (weight.detach() < low * step) | (weight.detach() > high * step)
    return torch.where(outside, 0.0, held - weight).square().sum()


class Oscillation(nn.Module):
    """Freezes the weights of one layer whose codes turn back too often (Algorithm 1).

    A weight turns back when its code changes against the direction of its last change. Once the moving average of that exceeds the
    threshold, the weight stays at the rounded moving average of its code, times whatever the step becomes. All state is in buffers, so
    it goes with checkpoints.

    Args:
        weight: [o, ...], as training begins.
        quantizer: of it.
    """

    code: Tensor
    direction: Tensor
    frequency: Tensor
    mean: Tensor
    frozen: Tensor

    @torch.no_grad()
    def __init__(self, weight: Tensor, quantizer: LSQ) -> None:
        super().__init__()
        code = _codes(weight, quantizer)
        self.register_buffer("code", code.to(torch.int8))
        self.register_buffer("direction", torch.zeros_like(self.code))
        self.register_buffer("frequency", torch.zeros_like(code))
        self.register_buffer("mean", code)
        self.register_buffer("frozen", torch.zeros_like(self.code, dtype=torch.bool))

    @torch.no_grad()
    def settle(self, weight: Tensor, quantizer: LSQ, threshold: float) -> None:
        """One step: counts, freezes, and puts frozen weights (in place) where they belong."""
        code = torch.where(self.frozen, self.code.float(), _codes(weight, quantizer))
        change = torch.sign(code - self.code).to(torch.int8)
        turned = change * self.direction < 0
        self.frequency.lerp_(turned.float(), MOMENTUM)
        self.mean.lerp_(code, MOMENTUM)
        freezing = (self.frequency > threshold) & ~self.frozen
        rest = codes(self.mean, torch.ones((), device=weight.device), quantizer.low, quantizer.high, odd=quantizer.odd)
        self.code.copy_(torch.where(freezing, rest, code))
        self.direction.copy_(torch.where(change != 0, change, self.direction))
        self.frozen |= freezing
        step = broadcast(quantizer.scale_of(weight), weight, quantizer.axis)
        weight.copy_(torch.where(self.frozen, self.code * step, weight))


def _codes(weight: Tensor, quantizer: LSQ) -> Tensor:
    step = broadcast(quantizer.scale_of(weight), weight, quantizer.axis)
    return codes(weight.float(), step, quantizer.low, quantizer.high, odd=quantizer.odd)
