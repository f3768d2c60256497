"""The integer program: what an integer model file computes, operator by operator.

The numpy reference (`core.reference`) executes it and the exporter writes it to ONNX one operator a node, so the two can be
compared code by code. Activations are uint8 codes, NCHW; weights int8; sums int32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinquant.core.affine import QParams

Pads = tuple[int, int, int, int]
"""Top, left, bottom, right."""

BYTE = (0, 255)
"""Codes at which the runtimes' operators saturate, whatever the grid's width: a narrower grid needs a Clip behind."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """What every integer operator has: the name of its output tensor and of the tensors it reads."""

    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Image(Operator):
    """uint8 pixels [n, 3, s, s] to input codes [n, 3 block^2, s / block, s / block].

    Attributes:
        table: uint8 [3, 256] maps each channel, None leaves the pixels as they are.
        block: side of the pixel blocks that become channels (row, column, colour); 1 leaves the plane as it is.
    """

    table: NDArray[np.uint8] | None
    block: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv(Operator):
    """Convolution: weight int8 [o, i/groups, kh, kw] with `weight_scale` float32 [o], bias int32 [o].

    `weight_bits` is the width that the codes fit in, and are stored in: 8, 4 or 2. `weight_odd`: the codes are odd, from
    -2^bits + 1 to 2^bits - 1, and it is their place in that row which fits.
    """

    weight: NDArray[np.int8]
    weight_scale: NDArray[np.float32]
    bias: NDArray[np.int32]
    stride: tuple[int, int]
    pads: Pads
    dilation: tuple[int, int]
    groups: int
    weight_bits: int = 8
    weight_odd: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip(Operator):
    """Codes bounded to [low, high]; they mean what the input's did, save behind a hard sigmoid, whose grid makes its values of them."""

    low: int
    high: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Requantize(Operator):
    """The same values on another grid, through a 256-entry table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Operator):
    """Each code looked up.

    Attributes:
        table: uint8 [256], its entries in the output grid's width.
        function: `sigmoid` where a runtime may make the table itself: no entry comes so near a half that float32 could round it otherwise.
    """

    table: NDArray[np.uint8]
    function: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Add(Operator):
    """Sum of two tensors of equal shape."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mul(Operator):
    """Product of two tensors of equal shape, or of one with another of shape [n, c, 1, 1]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(Operator):
    """Tensors joined along channels, or tokens: axis 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool(Operator):
    """Largest code of each window."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads


@dataclass(frozen=True, kw_only=True, eq=False)
class GlobalAveragePool(Operator):
    """Mean over the plane: [n, c, h, w] to [n, c, 1, 1]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear(Operator):
    """The last layer: float32 logits [n, k] out of int32 sums, so that they do not tie.

    logits = float32(sum(x w) + bias) * (x_scale * weight_scale); weight int8 [k, c], weight_scale float32 [k].
    """

    weight: NDArray[np.int8]
    weight_scale: NDArray[np.float32]
    bias: NDArray[np.int32]
    weight_bits: int = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Constant(Operator):
    """The same codes for every image: uint8 [1, ...]; reads the input for their number."""

    codes: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense(Operator):
    """A linear layer over the last axis, requantized: weight int8 [o, i], the rest as in `Conv`."""

    weight: NDArray[np.int8]
    weight_scale: NDArray[np.float32]
    bias: NDArray[np.int32]
    weight_bits: int = 8
    weight_odd: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class MatMul(Operator):
    """factor a b of two tensors of codes, [..., t, d] by [..., d, u], requantized."""

    factor: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Reshape(Operator):
    """The same codes in another shape; -1 for the axis that holds the images."""

    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Transpose(Operator):
    """The same codes, axes in another order."""

    axes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Select(Operator):
    """One slice of an axis, which is dropped."""

    axis: int
    index: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice(Operator):
    """Codes from `start` to `stop` (exclusive) of an axis."""

    axis: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Island(Operator):
    """Computed in float32 between codes and codes, so that an output may be the next code on another processor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Softmax(Island):
    """exp(x) / sum(exp(x)) over the last axis."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerNorm(Island):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta over the last axis; gamma, beta float32 [c]."""

    gamma: NDArray[np.float32]
    beta: NDArray[np.float32]
    epsilon: float


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerProgram:
    """Operators in execution order, the last one `Linear`.

    Attributes:
        operators: see the classes above.
        tensors: name -> grid of every uint8 tensor.
        size: side of the square input, pixels.
        class_map: the 1x1 convolution that shares the classifier's codes, or None; its output has a grid in `tensors`.
    """

    operators: tuple[Operator, ...]
    tensors: Mapping[str, QParams]
    size: int
    class_map: Conv | None

    @property
    def islands(self) -> tuple[str, ...]:
        """Names of the operators that compute in float; none in a portable file."""
        return tuple(operator.name for operator in self.operators if isinstance(operator, Island))
