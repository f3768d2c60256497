"""Rules of the reference for what transformers need beside convolutions: tensors of tokens [n, t, c] and [n, heads, t, d].

The linear layers and products of matrices are integer and exact. Softmax and layer norm are float islands: what they give may differ by a
code from what a runtime gives, which sums in another order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.affine import QParams, dequantize, requantize, to_codes
from clinquant.core.integer import BYTE, Constant, Dense, LayerNorm, MatMul, Reshape, Select, Slice, Softmax, Transpose

Codes = NDArray[np.uint8]


def constant(operator: Constant, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """The same codes for every image."""
    return np.broadcast_to(operator.codes, (len(inputs[0]), *operator.codes.shape[1:]))


def dense(operator: Dense, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """requantize(sum((x - zero) w) + bias, x_scale w_scale / y_scale)."""
    x = inputs[0].astype(np.float64) - int(grids[0].zero_point)
    sums = (x @ operator.weight.astype(np.float64).T).astype(np.int64) + operator.bias
    return _codes(sums, (grids[0].scale * operator.weight_scale / out.scale).astype(np.float32), out)


def matmul(operator: MatMul, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """requantize(sum((a - zero_a)(b - zero_b)), factor a_scale b_scale / y_scale)."""
    a, b = (codes.astype(np.float64) - int(grid.zero_point) for codes, grid in zip(inputs, grids, strict=True))
    return _codes((a @ b).astype(np.int64), np.float32(factor_scale(operator, grids[0]) * grids[1].scale / out.scale), out)


def factor_scale(operator: MatMul, grid: QParams) -> np.float32:
    """The scale of the first matrix with the product's factor in it."""
    return np.float32(grid.scale * np.float32(operator.factor))


def reshape(operator: Reshape, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """The same codes in another shape."""
    return inputs[0].reshape(operator.shape)


def transpose(operator: Transpose, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """The same codes, axes in another order."""
    return inputs[0].transpose(operator.axes)


def select(operator: Select, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """One slice of an axis."""
    return np.asarray(inputs[0].take(operator.index, axis=operator.axis))


def part(operator: Slice, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """A range of an axis."""
    return np.asarray(inputs[0].take(np.arange(operator.start, operator.stop), axis=operator.axis))


def softmax(operator: Softmax, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """exp(x - max) / sum, in float32."""
    x = dequantize(inputs[0], grids[0])
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return _island(powers / powers.sum(axis=-1, keepdims=True), out)


def layer_norm(operator: LayerNorm, inputs: list[Codes], grids: list[QParams], out: QParams) -> Codes:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, in float32."""
    x = dequantize(inputs[0], grids[0])
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(operator.epsilon))
    return _island(centred / deviation * operator.gamma + operator.beta, out)


def _island(values: NDArray[np.float32], out: QParams) -> Codes:
    """Float values to codes, as QuantizeLinear gives them."""
    return to_codes(values / out.scale, out.zero_point, *BYTE).astype(np.uint8)


def _codes(accumulator: NDArray[Any], multiplier: NDArray[np.float32] | np.float32, out: QParams) -> Codes:
    return requantize(accumulator.astype(np.int32), np.asarray(multiplier), int(out.zero_point), *BYTE).astype(np.uint8)


RULES: dict[type, Any] = {
    Constant: constant,
    Dense: dense,
    MatMul: matmul,
    Reshape: reshape,
    Transpose: transpose,
    Select: select,
    Slice: part,
    Softmax: softmax,
    LayerNorm: layer_norm,
}
"""Operator -> its rule, as in `reference`."""
