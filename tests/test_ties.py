"""Scales around additions: whatever calibration asks for, every way a runtime adds gives the same codes."""

from __future__ import annotations

import numpy as np
import pytest

from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.ties import DISPARITY_BITS, sums_of, tied_scales

A, B = (codes.astype(np.float32) for codes in np.meshgrid(np.arange(256), np.arange(256)))
GRIDS = {name: name for name in ("input", "a", "b", "c", "first", "second", "third")}


def chain() -> Network:
    """Three additions, each onto the sum before it, as in a residual stage."""
    ends = [Node(name=name, op="conv", inputs=("input",), attributes={}, params={}) for name in ("a", "b", "c")]
    pairs = {"first": ("input", "a"), "second": ("first", "b"), "third": ("second", "c")}
    sums = [Node(name=name, op="add", inputs=inputs, attributes={}, params={}) for name, inputs in pairs.items()]
    return Network(nodes=(Node(name="input", op="input", inputs=(), attributes={}, params={}), *ends, *sums))


def ratios_then_round(a: np.float32, b: np.float32, c: np.float32, zeros: tuple[int, int, int]) -> np.ndarray:
    """x86 and ARM: ratios of scales, the zero point added before rounding."""
    total = (A - np.float32(zeros[0])) * (a / c) + (B - np.float32(zeros[1])) * (b / c) + np.float32(zeros[2])
    assert total.dtype == np.float32
    return np.clip(np.rint(total), 0, 255)


def values_then_round(a: np.float32, b: np.float32, c: np.float32, zeros: tuple[int, int, int]) -> np.ndarray:
    """WebAssembly: sums of values, divided, rounded, the zero point added after that."""
    quotient = (a * (A - np.float32(zeros[0])) + b * (B - np.float32(zeros[1]))) / c
    assert quotient.dtype == np.float32
    return np.clip(np.rint(quotient) + zeros[2], 0, 255)


@pytest.mark.parametrize("spread", [0.3, 2.0, 5.0])
def test_all_pairs_of_codes_add_alike_in_every_order(spread: float) -> None:
    rng, ties = np.random.default_rng(0), 0
    for _ in range(25):
        wanted = {name: float(np.exp(rng.normal(-4, spread))) for name in GRIDS}
        tied = tied_scales(chain(), wanted, GRIDS)
        assert all(tied[name] >= np.float32(wanted[name] * (1 - 1e-6)) for name in tied), "scales only grow"
        for a, b, c in (("input", "a", "first"), ("first", "b", "second"), ("second", "c", "third")):
            zeros = int(rng.integers(256)), int(rng.integers(256)), 2 * int(rng.integers(128))
            exact = ((A.astype(np.float64) - zeros[0]) * float(tied[a]) + (B.astype(np.float64) - zeros[1]) * float(tied[b])) / float(
                tied[c]
            )
            ties += int((np.abs(exact - np.floor(exact) - 0.5) < 1e-9).sum())
            expected = np.clip(np.rint(exact + zeros[2]), 0, 255)
            for add in (ratios_then_round, values_then_round):
                assert np.array_equal(add(tied[a], tied[b], tied[c], zeros), expected)
    assert ties > 1000, "halves are met, where rounding would show"


def test_an_odd_zero_point_is_why_those_of_sums_are_even() -> None:
    one = np.float32(1)
    half = np.float32(0.5)
    same = [
        np.array_equal(ratios_then_round(half, half, one, (0, 0, zero)), values_then_round(half, half, one, (0, 0, zero)))
        for zero in (6, 7)
    ]
    assert same == [True, False]


def test_scales_grow_by_little_where_they_are_of_a_size() -> None:
    """Summed tensors by a sixteenth at most (a base, a fraction), unless they are 2^-8 of the sum."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        wanted = {name: float(rng.uniform(0.01, 0.03)) for name in GRIDS}
        tied = tied_scales(chain(), wanted, GRIDS)
        assert sums_of(chain(), GRIDS) == {"first", "second", "third"}
        assert all(tied[name] <= wanted[name] * 1.04 for name in ("a", "b", "c", "input"))
        assert all(tied[name] <= wanted[name] * 2.07 for name in ("first", "second", "third"))
    tiny = tied_scales(chain(), dict.fromkeys(GRIDS, 0.02) | {"a": 1e-7}, GRIDS)
    assert tiny["a"] <= 2.0 ** (1 - DISPARITY_BITS) * tiny["first"]
