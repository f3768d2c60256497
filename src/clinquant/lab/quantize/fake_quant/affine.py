"""The torch twin of `core/affine.py`: the only other place that rounds or clips, tested equal on every code and every tie."""

from __future__ import annotations

import torch
from torch import Tensor

Bound = int | Tensor
"""A code less the zero point: a number, or a tensor [] where the zero point is learnt."""


def codes(x: Tensor, scale: Tensor, low: Bound, high: Bound, *, odd: bool = False) -> Tensor:
    """clip(round(x / scale), low, high) as floats, round half to even; `low` and `high` are codes less the zero point.

    On an odd grid the codes are low, low + 2 ... high.
    """
    if odd:
        return 2 * _clip(torch.round((x / scale - low) / 2), 0, (high - low) // 2) + low
    return _clip(torch.round(x / scale), low, high)


def inside(x: Tensor, scale: Tensor, low: Bound, high: Bound) -> Tensor:
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


def zero_point(lowest: Tensor, scale: Tensor, levels: int) -> Tensor:
    """The code of zero, as a float within [0, levels], of the grid whose code 0 stands nearest to `lowest`."""
    return torch.clamp(torch.round(-lowest / scale), 0, levels)


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


ZETA, GAMMA = 1.1, -0.1
"""How far the rectified sigmoid is stretched beyond 1 and 0 (Louizos et al. 2018, arXiv 1712.01312), so that it reaches both."""


def floors(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """The codes to round up from: floor(x / scale) within [low, high - 1], so that one more is still a code."""
    return torch.clamp(torch.floor(x / scale), low, high - 1)


def rectified_sigmoid(v: Tensor, *, out: Tensor | None = None) -> Tensor:
    """h = clip(sigmoid(v) (zeta - gamma) + gamma, 0, 1): the share of a step that is rounded up (AdaRound, 2004.10568, eq. 23)."""
    if out is None:
        return torch.clamp(torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA, 0, 1)
    return torch.sigmoid(v, out=out).mul_(ZETA - GAMMA).add_(GAMMA).clamp_(0, 1)


def inverse_rectified_sigmoid(h: Tensor) -> Tensor:
    """v with `rectified_sigmoid(v)` = h; an h outside [0, 1] is taken for the nearer end."""
    share = (torch.clamp(h, 0, 1) - GAMMA) / (ZETA - GAMMA)
    return torch.log(share / (1 - share))


def extent(x: Tensor, axis: int | None) -> tuple[Tensor, Tensor]:
    """Lowest and highest value, [] or [channels], widened to take in zero."""
    others = list(range(x.dim())) if axis is None else [d for d in range(x.dim()) if d != axis]
    return x.amin(others).clamp_max(0.0), x.amax(others).clamp_min(0.0)


def _clip(x: Tensor, low: Bound, high: Bound) -> Tensor:
    return torch.clamp(x, low, high)  # type: ignore[arg-type]
