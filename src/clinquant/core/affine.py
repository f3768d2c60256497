"""The one arithmetic of quantization: scale, zero point, rounding and clipping, defined once.

q = clip(round(x / scale) + zero_point, qmin, qmax), round half to even; x = (q - zero_point) * scale (Jacob et al. 2018, eq. 1).
All is computed in float32, as the runtimes do, so that a code here is a code there. The only other place that rounds or
clips is the torch twin of this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError

Float = NDArray[np.float32]

SMALLEST_SCALE = np.float32(2.0**-24)
"""Floor of every scale: a channel that is dead on calibration data must not get a scale that overflows its integer bias."""

LARGEST_BIAS = 2.0**20
"""No integer bias exceeds this, so that sums stay far below int32's end, and mostly below float32's 2^24."""


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """What grid a tensor is put on.

    Attributes:
        bits: 2 to 8.
        signed: codes from -2^(b-1), else from 0.
        symmetric: the zero point is the middle code (0 when signed).
        narrow: drop the lowest code, so that the grid is symmetric: [-2^(b-1)+1, 2^(b-1)-1].
        odd: the 2^b odd codes -2^b+1, -2^b+3 ... 2^b-1, symmetric and without a zero (DoReFa's weights); at most 7 bits.
        axis: the channel axis with a scale each, or None for one scale.
    """

    bits: int = 8
    signed: bool = False
    symmetric: bool = False
    narrow: bool = False
    odd: bool = False
    axis: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ClinquantError("bits-unsupported", f"{self.bits} bits.", fix="use 2 to 8 bits.")
        if self.narrow and not self.signed:
            raise ClinquantError("bits-unsupported", "a narrow grid must be signed.", fix="set signed=True.")
        if self.odd and (self.bits > 7 or self.narrow or not (self.signed and self.symmetric)):
            raise ClinquantError("bits-unsupported", "an odd grid is signed, symmetric and has at most 7 bits.", fix="use 2 to 7 bits.")

    @property
    def qmin(self) -> int:
        """Lowest code."""
        if self.odd:
            return 1 - (1 << self.bits)
        return int(self.narrow) - (1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Highest code."""
        if self.odd:
            return (1 << self.bits) - 1
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class QParams:
    """Scale and zero point of one tensor.

    Attributes:
        spec: the grid.
        scale: float32, shape [] or [channels], at least `SMALLEST_SCALE`.
        zero_point: int32, same shape, within [qmin, qmax].
    """

    spec: TensorSpec
    scale: Float
    zero_point: NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.scale.shape != self.zero_point.shape or self.scale.dtype != np.float32:
            raise ClinquantError(
                "qparams-invalid", "scale must be float32 and shaped as zero_point.", fix="build QParams with qparams_from_range."
            )
        if not np.isfinite(self.scale).all() or (self.scale <= 0).any():
            raise ClinquantError(
                "qparams-invalid", "a scale is not finite and positive.", fix="look for NaN or infinite weights or activations."
            )

    def shaped(self, rank: int) -> tuple[Float, NDArray[np.int32]]:
        """scale and zero point, broadcastable against a tensor of `rank` axes."""
        if self.spec.axis is None:
            return self.scale, self.zero_point
        shape = [1] * rank
        shape[self.spec.axis] = -1
        return self.scale.reshape(shape), self.zero_point.reshape(shape)


def quantize(x: NDArray[Any], q: QParams) -> NDArray[np.int32]:
    """Codes of `x`, int32, same shape.

    >>> q = qparams_from_range(0.0, 3.0, TensorSpec(bits=2))
    >>> quantize(np.array([-1.0, 0.4, 1.5, 9.0], np.float32), q)
    array([0, 0, 2, 3], dtype=int32)
    """
    scale, zero = q.shaped(x.ndim)
    if q.spec.odd:
        return to_odd_codes(x.astype(np.float32) / scale, q.spec.qmax)
    return to_codes(x.astype(np.float32) / scale, zero, q.spec.qmin, q.spec.qmax)


def dequantize(codes: NDArray[Any], q: QParams) -> Float:
    """The float32 values that codes stand for."""
    scale, zero = q.shaped(codes.ndim)
    return np.asarray((codes.astype(np.int32) - zero).astype(np.float32) * scale, dtype=np.float32)


def fake_quantize(x: NDArray[Any], q: QParams) -> Float:
    """`x` rounded to the grid; idempotent."""
    return dequantize(quantize(x, q), q)


def to_codes(values: NDArray[Any], zero: NDArray[np.int32] | int, qmin: int, qmax: int) -> NDArray[np.int32]:
    """round_half_even(values) + zero, clipped to [qmin, qmax], of values in units of the scale."""
    return saturate(np.rint(values), zero, qmin, qmax)


def table_of(function: Callable[[NDArray[np.float64]], NDArray[Any]], grid: QParams, out: QParams) -> NDArray[np.uint8]:
    """uint8 [256]: the code on `out` of `function` of every code on `grid`, computed in float64 and rounded half to even.

    >>> halves = qparams_from_range(0.0, 255.0, TensorSpec())
    >>> table_of(lambda x: x / 2, halves, halves)[[0, 1, 2, 255]]
    array([  0,   0,   1, 128], dtype=uint8)
    """
    values = np.asarray((np.arange(256) - int(grid.zero_point)) * float(grid.scale), np.float64)
    codes = to_codes(function(values) / float(out.scale) + float(out.zero_point), 0, out.spec.qmin, out.spec.qmax)
    return codes.astype(np.uint8)


def to_odd_codes(values: NDArray[Any], qmax: int) -> NDArray[np.int32]:
    """The nearest of -qmax, -qmax + 2 ... qmax (qmax odd) to values in units of the scale; a tie goes to the even place in that row."""
    return 2 * to_codes((values + np.float32(qmax)) / np.float32(2), 0, 0, qmax) - qmax


def saturate(rounded: NDArray[Any], zero: NDArray[np.int32] | int, qmin: int, qmax: int) -> NDArray[np.int32]:
    """Integer-valued floats plus the zero point, clipped to [qmin, qmax], as int32."""
    zero = np.asarray(zero, dtype=np.int32)
    bounded = np.clip(rounded, (qmin - zero).astype(np.float32), (qmax - zero).astype(np.float32))
    return np.asarray(bounded.astype(np.int32) + zero, dtype=np.int32)


def requantize(accumulator: NDArray[np.int32], multiplier: Float, zero: int, qmin: int, qmax: int) -> NDArray[np.int32]:
    """int32 sums to codes: round_half_even(float32(acc) * multiplier) + zero, clipped; `multiplier` broadcasts.

    As MLAS's requantizer: one float32 product, no fused multiply-add.
    """
    return to_codes(accumulator.astype(np.float32) * multiplier, zero, qmin, qmax)


def qparams_from_range(low: Any, high: Any, spec: TensorSpec) -> QParams:
    """The grid that just covers [low, high] and zero; arrays of shape [channels] give a scale a channel.

    Raises:
        ClinquantError: `range-empty` when an end is not finite or low > high.
    """
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        raise ClinquantError("range-empty", f"calibration range [{low}, {high}].", fix="calibrate on at least one finite image.")
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    if spec.symmetric:
        half = np.maximum(-low, high)
        steps = spec.qmax if spec.signed else (spec.qmax - spec.qmin) // 2
        scale = np.maximum((half / steps).astype(np.float32), SMALLEST_SCALE)
        zero = np.zeros(scale.shape, np.int32) if spec.signed else np.full(scale.shape, (spec.qmax + 1) // 2, np.int32)
        return QParams(spec=spec, scale=np.asarray(scale, np.float32), zero_point=zero)
    scale = np.maximum(((high - low) / (spec.qmax - spec.qmin)).astype(np.float32), SMALLEST_SCALE)
    return qparams_from_scale(scale, low, spec)


def qparams_from_scale(scale: Any, low: Any, spec: TensorSpec) -> QParams:
    """The grid of a given `scale`, not symmetric, whose zero point places `low` (at most 0) at qmin, as well as codes allow."""
    scale = np.asarray(scale, dtype=np.float32)
    low = np.minimum(np.asarray(low, dtype=np.float64), 0.0)
    zero = np.clip(np.rint(spec.qmin - low / scale.astype(np.float64)), spec.qmin, spec.qmax).astype(np.int32)
    return QParams(spec=spec, scale=scale, zero_point=np.asarray(zero, np.int32))


def quantize_bias(bias: NDArray[Any], input_scale: Float, weight_scale: Float) -> NDArray[np.int32]:
    """int32 codes of a bias on the accumulator's grid: round(b / (s_x s_w)), per output channel."""
    step = input_scale.astype(np.float64) * weight_scale.astype(np.float64)
    limit = float(2**31 - 1)
    return np.clip(np.rint(bias.astype(np.float64) / step), -limit, limit).astype(np.int32)


def weight_qparams(weight: NDArray[Any], bias: NDArray[Any] | None, input_scale: Float, spec: TensorSpec) -> QParams:
    """Symmetric per-channel (axis 0) grid of a weight [o, ...], with a floor under the scales of dead channels.

    A channel whose weights all but vanish would get a tiny scale and so a bias code beyond int32: its scale is raised until
    |b / (s_x s_w)| <= `LARGEST_BIAS`. Such a channel is a constant, which it stays.

    Raises:
        ClinquantError: `weights-nan` when a weight is not finite.
    """
    if not np.isfinite(weight).all():
        raise ClinquantError("weights-nan", "a weight is not finite.", fix="train again with a lower learning rate.")
    largest = np.abs(weight.astype(np.float64)).reshape(len(weight), -1).max(axis=1)
    return fit_for_bias(qparams_from_range(-largest, largest, spec), bias, input_scale)


def fit_for_bias(weight: QParams, bias: NDArray[Any] | None, input_scale: Float) -> QParams:
    """A weight's grid with every scale raised until |b / (s_x s_w)| <= `LARGEST_BIAS`."""
    if bias is None:
        return weight
    floor = np.abs(bias.astype(np.float64)) / (float(input_scale) * LARGEST_BIAS)
    return QParams(spec=weight.spec, scale=np.maximum(weight.scale, floor.astype(np.float32)), zero_point=weight.zero_point)
