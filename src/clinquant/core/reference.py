"""Executes an integer program in numpy, exactly: the oracle that exported files and simulations are compared with.

Sums are integers held in float64 (exact below 2^53), so the result does not depend on any order of summation. Slow, and
meant to be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from clinquant.core import tokens
from clinquant.core.affine import QParams, dequantize, requantize, to_codes
from clinquant.core.integer import (
    BYTE,
    Add,
    Clip,
    Concat,
    Conv,
    GlobalAveragePool,
    Image,
    IntegerProgram,
    Linear,
    MaxPool,
    Mul,
    Operator,
    Pads,
    Requantize,
    Table,
)

Codes = NDArray[np.uint8]


def execute(program: IntegerProgram, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Every tensor of `program` for `pixels` uint8 [n, size, size, 3].

    Codes are uint8 by tensor name; `logits` is float32 [n, k], `class_map` float32 [n, k, h, w] where the program has one.
    """
    values: dict[str, NDArray[Any]] = {"image": pixels.transpose(0, 3, 1, 2)}
    for operator in program.operators:
        inputs = [values[name] for name in operator.inputs]
        grids = [program.tensors[name] for name in operator.inputs if name in program.tensors]
        values[operator.name] = RULES[type(operator)](operator, inputs, grids, program.tensors.get(operator.name))
    values["logits"] = values[program.operators[-1].name]
    if program.class_map is not None:
        source, grid = program.class_map.inputs[0], program.tensors[program.class_map.name]
        codes = conv(program.class_map, [values[source]], [program.tensors[source]], grid)
        values["class_map"] = dequantize(codes, grid)
    return values


def image(operator: Image, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """Pixels through the table of their channel, then blocks of pixels to channels."""
    codes = inputs[0]
    if operator.table is not None:
        codes = np.stack([operator.table[channel][codes[:, channel]] for channel in range(3)], axis=1)
    n, channels, height, width = codes.shape
    b = operator.block
    blocks = codes.reshape(n, channels, height // b, b, width // b, b).transpose(0, 3, 5, 1, 2, 4)
    return np.asarray(blocks.reshape(n, b * b * channels, height // b, width // b))


def conv(operator: Conv, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """requantize(sum((x - zero) w) + bias, x_scale w_scale / y_scale)."""
    x = inputs[0].astype(np.float64) - int(grids[0].zero_point)
    sums = convolve(x, operator.weight.astype(np.float64), operator.stride, operator.pads, operator.dilation, operator.groups)
    accumulator = sums.astype(np.int64) + operator.bias.astype(np.int64)[:, None, None]
    multiplier = (grids[0].scale * operator.weight_scale / out.scale).astype(np.float32)[:, None, None]
    return _codes(accumulator, multiplier, out)


def linear(operator: Linear, inputs: list[Codes], grids: list[QParams], out: QParams | None) -> NDArray[np.float32]:
    """float32 logits out of int32 sums."""
    x = inputs[0].reshape(len(inputs[0]), -1).astype(np.int64) - int(grids[0].zero_point)
    sums = x @ operator.weight.astype(np.int64).T + operator.bias
    return sums.astype(np.int32).astype(np.float32) * (grids[0].scale * operator.weight_scale).astype(np.float32)


def clip(operator: Clip, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """Codes bounded to [low, high]."""
    return np.clip(inputs[0], operator.low, operator.high).astype(np.uint8)


def add(operator: Add, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """round(a r_a + b r_b + zero), in float64.

    Runtimes compute it in float32 or in integers, each in its own order; the scales keep every sum away from halves, so that all round
    alike.
    """
    total = np.full(np.broadcast_shapes(*(codes.shape for codes in inputs)), float(out.zero_point))
    for codes, grid in zip(inputs, grids, strict=True):
        total += (codes.astype(np.float64) - int(grid.zero_point)) * float(np.float32(grid.scale / out.scale))
    return to_codes(total, 0, *BYTE).astype(np.uint8)


def mul(operator: Mul, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """round((a - zero_a)(b - zero_b) s_a s_b / s + zero).

    The integer product is exact. What follows is computed in float64 here and in float32 by the runtimes, each in its own order;
    the scales keep every product away from halves, so that all round alike.
    """
    a, b = (codes.astype(np.int64) - int(grid.zero_point) for codes, grid in zip(inputs, grids, strict=True))
    ratio = float(grids[0].scale) * float(grids[1].scale) / float(out.scale)
    return to_codes(a * b * ratio + float(out.zero_point), 0, *BYTE).astype(np.uint8)


def table(operator: Table, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """Each code looked up."""
    return operator.table[inputs[0]]


def concat(operator: Concat, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """Each input through the 256-entry table that takes its grid to the output's."""
    return np.concatenate([rescale_table(grid, out)[codes] for codes, grid in zip(inputs, grids, strict=True)], axis=1)


def rescale_table(grid: QParams, out: QParams) -> NDArray[np.uint8]:
    """uint8 [256]: the code on `out` of every code on `grid`, as a runtime dequantizes and quantizes it in float32."""
    values = dequantize(np.arange(256), grid)
    return to_codes(values / out.scale, out.zero_point, *BYTE).astype(np.uint8)


def requantized(operator: Requantize, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """Codes through the table that takes their grid to the output's; a Clip follows where that has fewer than 8 bits."""
    return rescale_table(grids[0], out)[inputs[0]]


def max_pool(operator: MaxPool, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """Largest code of each window; padding never wins."""
    return np.asarray(_windows(inputs[0], operator.kernel, operator.stride, operator.pads, fill=0).max(axis=(-2, -1)))


def global_average_pool(operator: GlobalAveragePool, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """requantize(sum(x - zero), x_scale / (y_scale count))."""
    x = inputs[0].astype(np.int64) - int(grids[0].zero_point)
    count = np.float32(x.shape[2] * x.shape[3])
    multiplier = np.float32(grids[0].scale / np.float32(out.scale * count))
    return _codes(x.sum(axis=(2, 3), keepdims=True), multiplier, out)


def convolve(
    x: NDArray[np.float64], weight: NDArray[np.float64], stride: tuple[int, int], pads: Pads, dilation: tuple[int, int], groups: int
) -> NDArray[np.float64]:
    """Plain cross-correlation, [n, i, h, w] by [o, i/groups, kh, kw]; padding is zero."""
    kernel = (dilation[0] * (weight.shape[2] - 1) + 1, dilation[1] * (weight.shape[3] - 1) + 1)
    windows = _windows(x, kernel, stride, pads, fill=0)[..., :: dilation[0], :: dilation[1]]
    n, channels, h, w = windows.shape[:4]
    kernels = weight.reshape(groups, -1, *weight.shape[1:])
    if channels == groups:  # depthwise: a weighted sum of shifted planes, without a copy of every window
        sums = np.zeros((n, groups, kernels.shape[1], h, w))
        for y, x in np.ndindex(*weight.shape[2:]):
            sums += windows[:, :, None, :, :, y, x] * kernels[:, :, 0, y, x, None, None]
    else:
        grouped = windows.reshape(n, groups, channels // groups, h, w, *weight.shape[2:])
        sums = np.stack([np.tensordot(grouped[:, g], kernels[g], axes=([1, 4, 5], [1, 2, 3])) for g in range(groups)], axis=1)
        sums = np.moveaxis(sums, -1, 2)
    return np.asarray(sums.reshape(n, -1, h, w))


def _windows(x: NDArray[Any], kernel: tuple[int, int], stride: tuple[int, int], pads: Pads, fill: int) -> NDArray[Any]:
    top, left, bottom, right = pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    return sliding_window_view(padded, kernel, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]  # type: ignore[no-any-return, call-overload, unused-ignore]


def _codes(accumulator: NDArray[Any], multiplier: NDArray[np.float32] | np.float32, out: QParams) -> Codes:
    codes = requantize(accumulator.astype(np.int32), np.asarray(multiplier), int(out.zero_point), *BYTE)
    return codes.astype(np.uint8)


RULES: dict[type[Operator], Callable[..., NDArray[Any]]] = {
    Image: image,
    Conv: conv,
    Linear: linear,
    Clip: clip,
    Add: add,
    Mul: mul,
    Table: table,
    Concat: concat,
    MaxPool: max_pool,
    Requantize: requantized,
    GlobalAveragePool: global_average_pool,
    **tokens.RULES,
}
"""Operator -> its rule `(operator, inputs, their grids, output grid) -> codes`."""
