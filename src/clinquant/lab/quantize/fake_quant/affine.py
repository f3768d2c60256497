"""The torch twin of `core/affine.py`: the only other place that rounds or clips, tested equal on every code and every tie."""

from __future__ import annotations

import torch
from torch import Tensor


def codes(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """clip(round(x / scale), low, high) as floats, round half to even; `low` and `high` are codes less the zero point."""
    return torch.clamp(torch.round(x / scale), low, high)


def inside(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """1 where x / scale lies within [low, high], else 0."""
    v = x / scale
    return ((v >= low) & (v <= high)).to(x.dtype)


def requantize(sums: Tensor, multiplier: Tensor, zero: int) -> Tensor:
    """uint8 codes, as floats, of integer sums in float32: round(sums * multiplier) + zero, clipped to [0, 255], as the runtimes do."""
    return torch.clamp(torch.round(sums * multiplier), -zero, 255 - zero) + zero


def rounded(values: Tensor) -> Tensor:
    """round(values), half to even, clipped to [0, 255]: of values that hold the zero point already."""
    return torch.clamp(torch.round(values), 0, 255)


def bounded(codes: Tensor, low: int, high: int) -> Tensor:
    """Codes clipped to [low, high]."""
    return torch.clamp(codes, low, high)


def dequantize(codes: Tensor, scale: float, zero: int) -> Tensor:
    """The float32 values that codes stand for."""
    return (codes - zero) * scale


def broadcast(scale: Tensor, x: Tensor, axis: int | None) -> Tensor:
    """`scale` [] or [channels], shaped against `x`."""
    if axis is None:
        return scale
    shape = [1] * x.dim()
    shape[axis] = -1
    return scale.view(shape)


def total(gradient: Tensor, axis: int | None) -> Tensor:
    """`gradient` summed to the shape of its scale: [] or [channels]."""
    return gradient.sum() if axis is None else gradient.sum([d for d in range(gradient.dim()) if d != axis])
