"""Fake quantizers: value and gradient of each against an independent numpy oracle, and the torch twin on every code and tie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clinquant.core.affine import QParams, TensorSpec, quantize
from clinquant.lab.quantize.fake_quant import ACTIVATION_QUANTIZERS, LSQ, PACT
from clinquant.lab.quantize.fake_quant.affine import codes

GRIDS = [(0, 3), (0, 15), (0, 255), (-7, 7), (-1, 1), (-8, 7), (-5, 10)]
values = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40)


@given(values, st.sampled_from([2, 4, 8]), st.floats(0.01, 3))
def test_the_twin_gives_core_affines_codes(x: list[float], bits: int, scale: float) -> None:
    spec = TensorSpec(bits=bits)
    grid = QParams(spec=spec, scale=np.asarray(scale, np.float32), zero_point=np.asarray(1, np.int32))
    array = np.array(x, np.float32)
    twin = codes(torch.from_numpy(array), torch.tensor(np.float32(scale)), spec.qmin - 1, spec.qmax - 1).numpy() + 1
    assert np.array_equal(twin.astype(int), quantize(array, grid))


def test_the_twin_rounds_every_tie_to_even() -> None:
    ties = torch.arange(-20, 300) + 0.5
    expected = np.clip(np.rint(ties.numpy()), 0, 255)
    assert np.array_equal(codes(ties, torch.tensor(1.0), 0, 255).numpy(), expected)


def lsq_oracle(x: np.ndarray, s: float, low: int, high: int, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Value and gradients, case by case as in the paper's eq. 1 to 3."""
    value, dx, ds = np.empty_like(x), np.empty_like(x), 0.0
    for i, v in enumerate(x / s):
        if v < low:
            value[i], dx[i], slope = low * s, 0.0, low
        elif v > high:
            value[i], dx[i], slope = high * s, 0.0, high
        else:
            value[i], dx[i], slope = np.rint(v) * s, upstream[i], np.rint(v) - v
        ds += upstream[i] * slope
    return value, dx, ds / np.sqrt(len(x) * high)


@pytest.mark.parametrize("low,high", GRIDS)
def test_lsq_value_and_gradients(low: int, high: int) -> None:
    rng = np.random.default_rng(high)
    x, upstream, s = rng.normal(0, 5, 200), rng.normal(size=200), 0.37
    quantizer, tensor = LSQ(torch.tensor(s), low, high), torch.tensor(x, dtype=torch.float32, requires_grad=True)
    out = quantizer(tensor)
    out.backward(torch.tensor(upstream, dtype=torch.float32))
    value, dx, ds = lsq_oracle(x, s, low, high, upstream)
    assert np.allclose(out.detach().numpy(), value, atol=1e-5)
    assert np.allclose(tensor.grad.numpy(), dx, atol=1e-6)  # type: ignore[union-attr]
    assert float(quantizer.log_scale.grad) == pytest.approx(ds * s, rel=1e-4)  # type: ignore[arg-type]


def test_lsq_per_channel_is_one_lsq_a_channel() -> None:
    rng = np.random.default_rng(0)
    x, s = torch.tensor(rng.normal(size=(4, 3, 2, 2)), dtype=torch.float32), torch.tensor([0.1, 0.2, 0.3, 0.4])
    together = LSQ(s, -7, 7, axis=0)
    together(x).square().sum().backward()
    for channel in range(4):
        alone = LSQ(s[channel], -7, 7)
        out = alone(x[channel])
        out.square().sum().backward()
        assert torch.equal(out, together(x)[channel])
        assert float(alone.log_scale.grad) == pytest.approx(float(together.log_scale.grad[channel]), rel=1e-4)  # type: ignore[arg-type, index]


def pact_oracle(x: np.ndarray, a: float, low: int, high: int, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    step, bottom = a / high, a * low / high
    value = np.clip(np.rint(x / step), low, high) * step
    within = (x >= bottom) & (x < a)
    return value, upstream * within, float((upstream * (x >= a)).sum() + (upstream * (x < bottom)).sum() * low / high)


@pytest.mark.parametrize("low,high", [grid for grid in GRIDS if grid != (-1, 1)])
def test_pact_value_and_gradients(low: int, high: int) -> None:
    rng = np.random.default_rng(high)
    x, upstream, a = rng.normal(0, 5, 200), rng.normal(size=200), 4.2
    quantizer, tensor = PACT(torch.tensor(a / high), low, high), torch.tensor(x, dtype=torch.float32, requires_grad=True)
    out = quantizer(tensor)
    out.backward(torch.tensor(upstream, dtype=torch.float32))
    value, dx, da = pact_oracle(x, a, low, high, upstream)
    assert np.allclose(out.detach().numpy(), value, atol=1e-5)
    assert np.allclose(tensor.grad.numpy(), dx, atol=1e-6)  # type: ignore[union-attr]
    assert float(quantizer.level.grad) == pytest.approx(da, rel=1e-4, abs=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ACTIVATION_QUANTIZERS)
@pytest.mark.parametrize("low,high", [(0, 3), (0, 15), (-8, 7)])
def test_every_quantizer_is_idempotent_learns_its_step_and_stays_on_its_grid(name: str, low: int, high: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(4000) * 2
    x = x.relu() if low == 0 else x
    # PACT hears only from what it clips (its gradient is 0 below the level), so it starts too narrow; LSQ learns from either side.
    quantizer = ACTIVATION_QUANTIZERS[name](torch.tensor(5.0 if name == "lsq" else 0.05), low, high)
    before = float((quantizer(x) - x).square().mean().detach())
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        (quantizer(x) - x).square().mean().backward()
        optimizer.step()
    once = quantizer(x)
    assert torch.allclose(quantizer(once), once, atol=1e-5)
    steps = (once / quantizer.scale).detach()
    assert torch.allclose(steps, steps.round(), atol=1e-3) and steps.min() >= low - 1e-3 and steps.max() <= high + 1e-3
    assert float((once - x).square().mean().detach()) < 0.4 * before
