"""Scales around additions: whatever calibration asks for, every way a runtime adds gives the same codes."""

from __future__ import annotations

import numpy as np
import pytest

from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.ties import LARGEST_MULTIPLE, tied_scales

A, B = (codes.astype(np.float32) for codes in np.meshgrid(np.arange(256), np.arange(256)))
GRIDS = {name: name for name in ("input", "a", "b", "c", "first", "second", "third")}


def chain() -> Network:
    """Three additions, each onto the sum before it, as in a residual stage."""
    ends = [Node(name=name, op="conv", inputs=("input",), attributes={}, params={}) for name in ("a", "b", "c")]
    pairs = {"first": ("input", "a"), "second": ("first", "b"), "third": ("second", "c")}
    sums = [Node(name=name, op="add", inputs=inputs, attributes={}, params={}) for name, inputs in pairs.items()]
    return Network(nodes=(Node(name="input", op="input", inputs=(), attributes={}, params={}), *ends, *sums))


def ratios_then_round(a: np.float32, b: np.float32, c: np.float32, zeros: tuple[int, int, int]) -> np.ndarray:
    """x86: ratios of scales, the zero point added before rounding to even."""
    total = (A - np.float32(zeros[0])) * (a / c) + (B - np.float32(zeros[1])) * (b / c) + np.float32(zeros[2])
    assert total.dtype == np.float32
    return np.clip(np.rint(total), 0, 255)


def values_then_round(a: np.float32, b: np.float32, c: np.float32, zeros: tuple[int, int, int]) -> np.ndarray:
    """WebAssembly: sums of values, divided, rounded to even, the zero point added after that."""
    quotient = (a * (A - np.float32(zeros[0])) + b * (B - np.float32(zeros[1]))) / c
    assert quotient.dtype == np.float32
    return np.clip(np.rint(quotient) + zeros[2], 0, 255)


def integers_then_shift(a: np.float32, b: np.float32, c: np.float32, zeros: tuple[int, int, int]) -> np.ndarray:
    """64-bit ARM: multipliers of 22 bits for the greater ratio, a shift that rounds halves away from zero, the zero point after that."""
    ratios = np.array([a / c, b / c], np.float32)
    shift = 21 - int(np.floor(np.log2(ratios.max())))
    by_a, by_b = (int(np.rint(float(ratio) * 2.0**shift)) for ratio in ratios)
    total = (A.astype(np.int64) - zeros[0]) * by_a + (B.astype(np.int64) - zeros[1]) * by_b
    return np.clip(np.sign(total) * ((np.abs(total) + (1 << (shift - 1))) >> shift) + zeros[2], 0, 255)


WAYS = (ratios_then_round, values_then_round, integers_then_shift)


@pytest.mark.parametrize("spread", [0.3, 2.0, 5.0])
def test_all_pairs_of_codes_add_alike_in_every_order(spread: float) -> None:
    rng, nearest = np.random.default_rng(0), 0.5
    for _ in range(25):
        wanted = {name: float(np.exp(rng.normal(-4, spread))) for name in GRIDS}
        tied = tied_scales(chain(), wanted, GRIDS)
        assert all(tied[name] >= np.float32(wanted[name] * (1 - 1e-6)) for name in tied), "scales only grow"
        for a, b, c in (("input", "a", "first"), ("first", "b", "second"), ("second", "c", "third")):
            zeros = int(rng.integers(256)), int(rng.integers(256)), int(rng.integers(256))
            terms = [(codes.astype(np.float64) - zero) * float(tied[name]) for codes, zero, name in ((A, zeros[0], a), (B, zeros[1], b))]
            exact = sum(terms) / float(tied[c]) + zeros[2]
            nearest = min(nearest, float(np.abs(exact - np.floor(exact) - 0.5).min()))
            expected = np.clip(np.rint(exact), 0, 255)
            for add in WAYS:
                assert np.array_equal(add(tied[a], tied[b], tied[c], zeros), expected), add.__name__
    assert 0.9 / (2 * LARGEST_MULTIPLE) < nearest < 0.01, "sums come as near to a half as they may, and no nearer"


def test_halves_are_why_the_multiples_of_sums_are_odd() -> None:
    """The control: with ratios of a half the three ways part, whatever the zero point."""
    one, half = np.float32(1), np.float32(0.5)
    for zero in (6, 7):
        x86, wasm, arm = (add(half, half, one, (3, 0, zero)) for add in WAYS)
        assert (x86 != arm).any() and (wasm != arm).any() and (x86 != wasm).any() == (zero == 7)


def test_scales_grow_by_little_where_they_are_of_a_size() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        wanted = {name: float(rng.uniform(0.01, 0.03)) for name in GRIDS}
        tied = tied_scales(chain(), wanted, GRIDS)
        assert all(tied[name] <= wanted[name] * 1.01 for name in tied)
    tiny = tied_scales(chain(), dict.fromkeys(GRIDS, 0.02) | {"a": 1e-7}, GRIDS)
    assert tiny["a"] <= 0.02 / (LARGEST_MULTIPLE // 2)
