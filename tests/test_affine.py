"""The arithmetic: properties that must hold for every grid, and values checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinquant.core import affine
from clinquant.core.affine import QParams, TensorSpec
from clinquant.core.errors import ClinquantError

specs = st.one_of(
    st.builds(TensorSpec, bits=st.integers(2, 8)),
    st.builds(TensorSpec, bits=st.integers(2, 8), signed=st.just(True), symmetric=st.just(True), narrow=st.booleans()),
)
ends = st.floats(-1e4, 1e4, allow_nan=False)


@given(specs, ends, ends, st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=30))
def test_in_range_values_move_at_most_half_a_step(spec: TensorSpec, a: float, b: float, values: list[float]) -> None:
    grid = affine.qparams_from_range(min(a, b), max(a, b), spec)
    low, high = affine.dequantize(np.array([spec.qmin, spec.qmax]), grid)
    x = np.clip(np.array(values, np.float32), low, high)
    moved = np.abs(affine.fake_quantize(x, grid).astype(np.float64) - x)
    assert (moved <= float(grid.scale) * 0.5 * (1 + 1e-4) + np.abs(x) * 1e-6).all()


@given(specs, ends, ends, st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=30))
def test_fake_quantize_is_idempotent_and_codes_stay_in_width(spec: TensorSpec, a: float, b: float, values: list[float]) -> None:
    grid = affine.qparams_from_range(min(a, b), max(a, b), spec)
    codes = affine.quantize(np.array(values, np.float32), grid)
    assert codes.min() >= spec.qmin and codes.max() <= spec.qmax
    once = affine.fake_quantize(np.array(values, np.float32), grid)
    assert np.array_equal(once, affine.fake_quantize(once, grid))


@given(specs, ends, ends)
def test_zero_is_exact_and_the_range_is_covered(spec: TensorSpec, a: float, b: float) -> None:
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    grid = affine.qparams_from_range(low, high, spec)
    assert affine.fake_quantize(np.zeros(1, np.float32), grid)[0] == 0
    bottom, top = affine.dequantize(np.array([spec.qmin, spec.qmax]), grid)
    assert bottom <= low + float(grid.scale) * 0.51 and top >= high - float(grid.scale) * 0.51


def test_ties_go_to_the_even_code() -> None:
    grid = QParams(spec=TensorSpec(), scale=np.asarray(1, np.float32), zero_point=np.asarray(0, np.int32))
    assert affine.quantize(np.array([0.5, 1.5, 2.5, 3.5], np.float32), grid).tolist() == [0, 2, 2, 4]


def test_requantize_is_one_float32_product() -> None:
    accumulator = np.array([16777217, -16777217, 5, -5], np.int32)
    multiplier = np.float32(1e-5)
    expected = np.rint(accumulator.astype(np.float32) * multiplier).astype(int) + 10
    assert affine.requantize(accumulator, np.asarray(multiplier), 10, 0, 255).tolist() == np.clip(expected, 0, 255).tolist()


def test_per_channel_grids_scale_each_channel_alone() -> None:
    weight = np.array([[1.0, -0.6], [100.0, 3.0]], np.float32)
    grid = affine.weight_qparams(
        weight, None, np.asarray(0.1, np.float32), TensorSpec(bits=7, signed=True, symmetric=True, narrow=True, axis=0)
    )
    assert affine.quantize(weight, grid).tolist() == [[63, -38], [63, 2]]


def test_a_dead_channel_gets_no_overflowing_bias() -> None:
    weight, bias = np.array([[1e-12], [1.0]], np.float32), np.array([3.0, 0.0], np.float32)
    scale = np.asarray(0.01, np.float32)
    grid = affine.weight_qparams(weight, bias, scale, TensorSpec(bits=7, signed=True, symmetric=True, narrow=True, axis=0))
    codes = affine.quantize_bias(bias, scale, grid.scale)
    assert abs(int(codes[0])) <= affine.LARGEST_BIAS
    assert codes[0] * 0.01 * float(grid.scale[0]) == pytest.approx(3.0, rel=1e-5)


@pytest.mark.parametrize("low,high", [(float("nan"), 1.0), (0.0, float("inf")), (2.0, 1.0)])
def test_impossible_ranges_are_refused(low: float, high: float) -> None:
    with pytest.raises(ClinquantError) as caught:
        affine.qparams_from_range(low, high, TensorSpec())
    assert caught.value.code == "range-empty"


def test_widths_outside_two_to_eight_are_refused() -> None:
    for bits in (1, 9):
        with pytest.raises(ClinquantError):
            TensorSpec(bits=bits)
