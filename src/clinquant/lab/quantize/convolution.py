"""Convolutions of tensors on 8-bit grids, as a training step needs them: summed in integers, with gradients in bfloat16.

Integer sums are those of the deployed network, in whatever order; a processor with kernels for them has them sooner than bfloat16 ones, and
fifteen times sooner than float32 ones. Gradients are two thirds of a step, and need no more than bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from clinquant.lab.quantize.fake_quant import FixedGrid

LEVELS = 256
"""Codes of 8 bits."""
REUSE = 256
"""Multiply-accumulates that a code of the input must be part of to be worth making: a pointwise kernel's few do not pay for it."""


class Geometry(NamedTuple):
    """Where a kernel of one group stands."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def convolve(x: Tensor, weight: Tensor, bias: Tensor, at: Geometry, grid: FixedGrid, weight_grid: FixedGrid) -> Tensor:
    """float32 [n, o, h, w] of float32 `x` [n, i, h, w] on `grid` and `weight` [o, i, kh, kw] on `weight_grid`, with bfloat16 gradients.

    Where `has_integer_sums()`, both have 8 bits at most and it is quicker, sums are exact; elsewhere they are float32.
    """
    reuse = len(weight) * weight.shape[2] * weight.shape[3] / (at.stride[0] * at.stride[1])
    narrow = grid.axis is None and grid.high - grid.low < LEVELS and -LEVELS // 2 <= weight_grid.low <= weight_grid.high < LEVELS // 2
    exact = reuse >= REUSE and narrow and x.device.type == "cpu" and has_integer_sums()
    return _Convolution.apply(x, weight, bias, at, (grid, weight_grid) if exact else None)  # type: ignore[no-any-return, no-untyped-call]


@cache
def has_integer_sums() -> bool:
    """Whether torch convolves 8-bit codes here, and no sum saturates.

    Asked by trying: kernels for processors without VNNI or AMX hold pairs of products in 16 bits, and 255 * 127 * 2 is too much for them.
    """
    at, zero = Geometry((1, 1), (1, 1), (1, 1)), 7
    x, weight = torch.full((1, 64, 6, 6), LEVELS - 1, dtype=torch.uint8), torch.full((64, 64, 3, 3), LEVELS // 2 - 1, dtype=torch.int8)
    weight[::2] = -LEVELS // 2
    try:
        sums = _integer_sums(x, 1.0, zero, weight, torch.ones(len(weight)), torch.zeros(len(weight)), at)
    except (AttributeError, RuntimeError, TypeError):  # no such operator, no kernel, or other arguments in this torch
        return False
    return torch.equal(sums, functional.conv2d(x.double() - zero, weight.double(), padding=at.padding).float())


def _integer_sums(x: Tensor, scale: float, zero: int, weight: Tensor, weight_scale: Tensor, bias: Tensor, at: Geometry) -> Tensor:
    operators: Any = torch.ops.onednn
    packed = operators.qconv_prepack(weight, weight_scale, scale, zero, *at, 1, x.shape)
    zeros, last = torch.zeros(len(weight), dtype=torch.int32), x.contiguous(memory_format=torch.channels_last)
    wanted: tuple[Any, ...] = (1.0, 0, torch.float32, "none", [], "")
    sums: Tensor = operators.qconv2d_pointwise(last, scale, zero, packed, weight_scale, zeros, bias, *at, 1, *wanted)
    return sums


def _exact(x: Tensor, weight: Tensor, bias: Tensor, at: Geometry, grid: FixedGrid, weight_grid: FixedGrid) -> Tensor:
    scale, zero, steps = float(grid.scale), -grid.low, weight_grid.scale.expand(len(weight))
    codes = torch.add(torch.tensor(zero + 0.5), x, alpha=1 / scale).to(torch.uint8)  # of whole numbers, so that cutting off is rounding
    whole = torch.round(weight / steps[:, None, None, None]).to(torch.int8)
    return _integer_sums(codes, scale, zero, whole, steps, bias, at)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, at: Geometry, grids: tuple[FixedGrid, FixedGrid] | None) -> Tensor:
        ctx.save_for_backward(x.bfloat16(), weight.bfloat16())
        ctx.at = at
        return functional.conv2d(x, weight, bias, *at) if grids is None else _exact(x, weight, bias, at, *grids)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        backward: Callable[..., tuple[Tensor | None, Tensor, None]] = torch.ops.aten.convolution_backward
        needed = (*ctx.needs_input_grad[:2], False)
        of_x, of_weight, _ = backward(gradients[0].bfloat16(), x, weight, None, *ctx.at, False, (0, 0), 1, needed)
        return None if of_x is None else of_x.float(), of_weight.float(), gradients[0].sum((0, 2, 3)), None, None
