"""Fake quantizers: value and gradient of each against an independent numpy oracle, and the torch twin on every code and tie.

The sweeps take every entry of the dictionaries; the oracles are float64, written from the papers' equations a value at a time.
"""

from __future__ import annotations

import doctest
import importlib
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clinquant.core.affine import QParams, TensorSpec, quantize
from clinquant.lab.quantize.fake_quant import ACTIVATION_QUANTIZERS, LSQ, METHODS, WEIGHT_QUANTIZERS, DoReFa, FakeQuantizer, MovingMinMax
from clinquant.lab.quantize.fake_quant.affine import codes
from clinquant.lab.quantize.fake_quant.lsq_plus import three_sigma_step
from clinquant.lab.quantize.fake_quant.minmax import MOMENTUM
from clinquant.lab.quantize.fake_quant.pact import DECAY

BITS = range(2, 9)
values = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40)


@given(values, st.sampled_from([2, 4, 8]), st.floats(0.01, 3))
def test_the_twin_gives_core_affines_codes(x: list[float], bits: int, scale: float) -> None:
    spec = TensorSpec(bits=bits)
    grid = QParams(spec=spec, scale=np.asarray(scale, np.float32), zero_point=np.asarray(1, np.int32))
    array = np.array(x, np.float32)
    twin = codes(torch.from_numpy(array), torch.tensor(np.float32(scale)), spec.qmin - 1, spec.qmax - 1).numpy() + 1
    assert np.array_equal(twin.astype(int), quantize(array, grid))


@given(values, st.integers(2, 7), st.floats(0.01, 3))
def test_the_twin_gives_core_affines_odd_codes(x: list[float], bits: int, scale: float) -> None:
    spec = TensorSpec(bits=bits, signed=True, symmetric=True, odd=True)
    grid = QParams(spec=spec, scale=np.asarray(scale, np.float32), zero_point=np.asarray(0, np.int32))
    array = np.array([*x, *(scale * np.arange(-9, 10))], np.float32)
    twin = codes(torch.from_numpy(array), torch.tensor(np.float32(scale)), spec.qmin, spec.qmax, odd=True).numpy()
    assert np.array_equal(twin.astype(int), quantize(array, grid)) and (twin % 2 == 1).all()


def test_the_twin_rounds_every_tie_to_even() -> None:
    ties = torch.arange(-20, 300) + 0.5
    expected = np.clip(np.rint(ties.numpy()), 0, 255)
    assert np.array_equal(codes(ties, torch.tensor(1.0), 0, 255).numpy(), expected)


Oracle = Callable[[np.ndarray, float, int, int, np.ndarray], tuple[np.ndarray, np.ndarray, dict[str, float]]]
"""(x, step, low, high, upstream gradient) -> value, its gradient, and that of what is learnt."""


def lsq_oracle(x: np.ndarray, s: float, low: int, high: int, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Eq. 1 to 3, case by case; the logarithm of s is learnt."""
    value, dx, ds = np.empty_like(x), np.empty_like(x), 0.0
    for i, v in enumerate(x / s):
        if v < low:
            value[i], dx[i], slope = low * s, 0.0, low
        elif v > high:
            value[i], dx[i], slope = high * s, 0.0, high
        else:
            value[i], dx[i], slope = round(v) * s, upstream[i], round(v) - v
        ds += upstream[i] * slope
    return value, dx, {"log_scale": s * ds / math.sqrt(len(x) * high)}


def lsq_plus_oracle(x: np.ndarray, s: float, low: int, high: int, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Eq. 1 to 5 with beta a whole number of steps; beta is learnt in units of the first step, which here is s."""
    value, dx, ds, db = np.empty_like(x), np.empty_like(x), 0.0, 0.0
    top, beta = high - low, low * s
    for i, v in enumerate((x - beta) / s):
        if v < 0 or v > top:
            end = 0 if v < 0 else top
            value[i], dx[i] = end * s + beta, 0.0
            ds, db = ds + upstream[i] * end, db + upstream[i]
        else:
            value[i], dx[i] = (round(v + low) - low) * s + beta, upstream[i]  # ties go to the even code less zero, as deployed
            ds += upstream[i] * (round(v + low) - low - v)
    balance = 1 / math.sqrt(len(x) * top)
    return value, dx, {"log_scale": s * ds * balance, "offset": s * db * balance}


def pact_oracle(x: np.ndarray, s: float, low: int, high: int, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Eq. 1 to 3 with a = s high; with negative values also below."""
    value, dx, da = np.empty_like(x), np.empty_like(x), 0.0
    a = s * high
    for i, v in enumerate(x):
        clipped = min(max(v, a * low / high), a)
        value[i] = round(clipped * high / a) * a / high
        dx[i] = upstream[i] if a * low / high <= v < a else 0.0
        da += upstream[i] * (1.0 if v >= a else low / high if v < a * low / high else 0.0)
    return value, dx, {"level": da}


def minmax_oracle(x: np.ndarray, s: float, low: int, high: int, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """The range after one step of the moving average, then its grid."""
    lowest = (1 - MOMENTUM) * s * low + MOMENTUM * min(x.min(), 0.0)
    highest = (1 - MOMENTUM) * s * high + MOMENTUM * max(x.max(), 0.0)
    step = (highest - lowest) / (high - low)
    zero = min(max(round(-lowest / step), 0), high - low)
    value, dx = np.empty_like(x), np.empty_like(x)
    for i, v in enumerate(x / step):
        value[i] = min(max(round(v), -zero), high - low - zero) * step
        dx[i] = upstream[i] if -zero <= v <= high - low - zero else 0.0
    return value, dx, {}


ORACLES: dict[str, Oracle] = {"lsq": lsq_oracle, "lsq+": lsq_plus_oracle, "pact": pact_oracle, "minmax": minmax_oracle}


def grids(bits: int) -> list[tuple[int, int]]:
    """Codes less the zero point: unsigned, signed and narrow, signed, and unsigned with a zero point a third up."""
    half, third = 2 ** (bits - 1), 2**bits // 3
    return [(0, 2**bits - 1), (1 - half, half - 1), (-half, half - 1), (-third, 2**bits - 1 - third)]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", ACTIVATION_QUANTIZERS)
def test_value_and_gradients_of_every_activation_quantizer(name: str, bits: int) -> None:
    rng = np.random.default_rng(bits)
    for (low, high), axis in itertools.product(grids(bits), (None, 1)):
        steps = np.float32([0.37, 0.81, 0.55]) * 7 / high
        x, upstream = (rng.normal(0, 3, (50, 3, 2)).astype(np.float32) for _ in range(2))
        quantizer = ACTIVATION_QUANTIZERS[name](torch.tensor(steps if axis else steps[0]), low, high, axis)  # type: ignore[call-arg]
        tensor = torch.tensor(x, requires_grad=True)
        out = quantizer(tensor)
        out.backward(torch.tensor(upstream))
        slices = [np.s_[:, channel] for channel in range(3)] if axis else [np.s_[:]]
        for channel, at in enumerate(slices):
            value, dx, learnt = ORACLES[name](x[at].ravel().astype(float), float(steps[channel]), low, high, upstream[at].ravel())
            assert np.allclose(out.detach().numpy()[at].ravel(), value, atol=2e-5)
            assert np.allclose(tensor.grad.numpy()[at].ravel(), dx, atol=1e-6)  # type: ignore[union-attr]
            parameters = dict(quantizer.named_parameters())
            assert set(parameters) == set(learnt)
            for key, gradient in learnt.items():
                found = parameters[key].grad[channel] if axis else parameters[key].grad  # type: ignore[index]
                assert float(found) == pytest.approx(gradient, rel=2e-3, abs=2e-3), (key, low, high)  # type: ignore[arg-type]


def dorefa_oracle(weight: np.ndarray, bits: int, level: float, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 5 and 9; the gradient by central differences of the transform, rounding apart."""
    n = 2**bits - 1

    def unrounded(w: np.ndarray) -> np.ndarray:
        return level * np.asarray(2 * (np.tanh(w) / (2 * np.abs(np.tanh(w)).max()) + 0.5) - 1)

    half = np.tanh(weight) / (2 * np.abs(np.tanh(weight)).max()) + 0.5
    value = level * (2 * np.rint(n * half) / n - 1)
    gradient = np.empty_like(weight)
    for index in np.ndindex(*weight.shape):
        moved = np.zeros_like(weight)
        moved[index] = 1e-6
        gradient[index] = ((unrounded(weight + moved) - unrounded(weight - moved)) * upstream).sum() / 2e-6
    return value, gradient


@pytest.mark.parametrize("bits", range(2, 7))
@pytest.mark.parametrize("level", [1.0, 0.3])
def test_dorefas_value_and_gradient(bits: int, level: float) -> None:
    rng = np.random.default_rng(bits)
    weight, upstream = rng.normal(0, 0.5, (4, 3)), rng.normal(size=(4, 3))
    tensor = torch.tensor(weight, dtype=torch.float32, requires_grad=True)
    out = DoReFa(bits, level)(tensor)
    out.backward(torch.tensor(upstream, dtype=torch.float32))
    value, gradient = dorefa_oracle(weight, bits, level, upstream)
    assert np.allclose(out.detach().numpy(), value, atol=1e-6)
    assert np.allclose(tensor.grad.numpy(), gradient, atol=1e-5)  # type: ignore[union-attr]


def weight_spec(name: str, bits: int) -> TensorSpec:
    odd = name == "dorefa" and bits <= 6
    return TensorSpec(bits=bits, signed=True, symmetric=True, narrow=not odd, odd=odd, axis=0)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", WEIGHT_QUANTIZERS)
def test_every_weight_quantizer_keeps_its_codes_and_is_idempotent(name: str, bits: int) -> None:
    torch.manual_seed(bits)
    weight, spec = torch.randn(5, 4, 3, 3), weight_spec(name, bits)
    narrow = TensorSpec(bits=bits, signed=True, symmetric=True, narrow=True, axis=0)
    quantizer = WEIGHT_QUANTIZERS[name](weight, weight.abs().amax((1, 2, 3)) / narrow.qmax, narrow)
    assert quantizer.odd == spec.odd
    on = quantizer(weight).detach()
    scale = quantizer.scale_of(weight).detach().expand(5)
    found = on / scale.view(-1, 1, 1, 1)
    assert torch.allclose(found, found.round(), atol=1e-3)
    assert found.min() >= spec.qmin - 1e-3 and found.max() <= spec.qmax + 1e-3
    if spec.odd:
        assert (found.round() % 2 == 1).all()
    grid = QParams(spec=spec, scale=scale.numpy().copy(), zero_point=np.zeros(5, np.int32))
    assert np.array_equal(quantize(on.numpy(), grid), found.round().numpy().astype(int))
    if name != "dorefa" or bits > 6:  # the tanh makes DoReFa another function of its own values
        assert torch.allclose(quantizer(on), on, atol=1e-5)


@pytest.mark.parametrize("bits", BITS)
def test_weights_on_their_covering_grid(bits: int) -> None:
    """Value: the covering grid a channel; gradient: one, everywhere."""
    rng = np.random.default_rng(bits)
    weight, high = rng.normal(size=(3, 8)), 2 ** (bits - 1) - 1
    spec = TensorSpec(bits=bits, signed=True, symmetric=True, narrow=True, axis=0)
    tensor = torch.tensor(weight, dtype=torch.float32, requires_grad=True)
    out = WEIGHT_QUANTIZERS["minmax"](tensor, torch.ones(3), spec)(tensor)
    out.backward(torch.full((3, 8), 0.7))
    for row, found in zip(weight, out.detach().numpy(), strict=True):
        s = np.abs(row).max() / high
        assert np.allclose(found, [round(v / s) * s for v in row], atol=1e-6)
    assert (tensor.grad == 0.7).all()  # type: ignore[union-attr]


def test_the_steps_of_lsq_plus_start_at_three_deviations() -> None:
    weight = np.random.default_rng(0).normal(0.1, 0.5, (4, 30))
    expected = [max(abs(row.mean() - 3 * row.std()), abs(row.mean() + 3 * row.std())) / 8 for row in weight]
    assert np.allclose(three_sigma_step(torch.tensor(weight), 4).numpy(), expected, rtol=1e-6)
    assert float(three_sigma_step(torch.zeros(1, 4), 4)) > 0


def test_lsq_on_odd_codes() -> None:
    """v_hat = (2 floor-to-nearest i + low) s with the gradients of eq. 3."""
    rng = np.random.default_rng(0)
    x, upstream, s, high = rng.normal(0, 2, 300), rng.normal(size=300), 0.7, 3
    quantizer, tensor = LSQ(torch.tensor(s), -high, high, odd=True), torch.tensor(x, dtype=torch.float32, requires_grad=True)
    out = quantizer(tensor)
    out.backward(torch.tensor(upstream, dtype=torch.float32))
    nearest = np.array([min((-3, -1, 1, 3), key=lambda code: abs(v / s - code)) for v in x])
    within = np.abs(x / s) <= high
    assert np.allclose(out.detach().numpy(), nearest * s, atol=1e-6)
    assert np.allclose(tensor.grad.numpy(), upstream * within, atol=1e-6)  # type: ignore[union-attr]
    ds = (upstream * np.where(within, nearest - x / s, nearest)).sum() / math.sqrt(300 * high)
    assert float(quantizer.log_scale.grad) == pytest.approx(ds * s, rel=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("low,high", [(0, 3), (0, 15), (-7, 7)])
def test_the_gradient_inside_is_that_of_the_unrounded_clip(low: int, high: int) -> None:
    """Away from the ends, a float64 finite difference of clip(x, low s, high s) is what straight-through gradients stand for."""
    rng = np.random.default_rng(3)
    s, x = 0.5, rng.uniform(low - 3, high + 3, 100)
    x = x[(np.abs(x - low) > 0.01) & (np.abs(x - high) > 0.01)] * s
    clip = lambda v: np.clip(v, low * s, high * s)  # noqa: E731
    expected = (clip(x + 1e-6) - clip(x - 1e-6)) / 2e-6
    for name, start in ACTIVATION_QUANTIZERS.items():
        tensor = torch.tensor(x, dtype=torch.float32, requires_grad=True)
        quantizer = start(torch.tensor(s), low, high).eval()
        quantizer(tensor).sum().backward()
        assert np.allclose(tensor.grad.numpy(), expected, atol=1e-6), name  # type: ignore[union-attr]


def test_pacts_level_is_drawn_in() -> None:
    quantizer = ACTIVATION_QUANTIZERS["pact"](torch.tensor(2.0), 0, 3)
    penalty = quantizer.penalty()
    assert penalty is not None and float(penalty.detach()) == pytest.approx(DECAY * 36 / 2)


def test_a_moving_range_moves_in_training_only() -> None:
    quantizer = MovingMinMax(torch.tensor(1.0), 0, 3)
    x = torch.tensor([-1.0, 9.0])
    quantizer.eval()(x)
    assert float(quantizer.highest) == 3
    quantizer.train()(x)
    assert float(quantizer.highest) == pytest.approx(3.06) and float(quantizer.lowest) == pytest.approx(-0.01)
    assert not list(quantizer.parameters())


def test_lsq_pluss_zero_point_is_whole_and_zero_is_a_code() -> None:
    quantizer = ACTIVATION_QUANTIZERS["lsq+"](torch.tensor(0.3), -3, 12)
    with torch.no_grad():
        for offset in np.linspace(-20, 5, 40):
            quantizer.offset.fill_(offset)  # type: ignore[operator, union-attr]
            zero = float(torch.as_tensor(quantizer.zero))
            assert zero == round(zero) and 0 <= zero <= 15
            assert float(quantizer(torch.zeros(1))) == 0


@pytest.mark.parametrize("name", ACTIVATION_QUANTIZERS)
@pytest.mark.parametrize("low,high", [(0, 3), (0, 15), (-8, 7)])
def test_every_quantizer_is_idempotent_learns_its_step_and_stays_on_its_grid(name: str, low: int, high: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(4000) * 2
    x = x.relu() if low == 0 else x
    # PACT hears only from what it clips (its gradient is 0 below the level), so it starts too narrow; LSQ learns from either side.
    quantizer = ACTIVATION_QUANTIZERS[name](torch.tensor(0.05 if name == "pact" else 5.0), low, high)
    before = float((quantizer(x) - x).square().mean().detach())
    adapted(quantizer, x)
    once = quantizer.eval()(x)
    assert torch.allclose(quantizer(once), once, atol=1e-5)
    steps = (once / quantizer.scale_of(x)).detach()
    assert torch.allclose(steps, steps.round(), atol=1e-3) and steps.max() - steps.min() <= high - low + 1e-3
    assert float((once - x).square().mean().detach()) < 0.4 * before


def adapted(quantizer: FakeQuantizer, x: torch.Tensor) -> None:
    """What 400 steps on the rounding error do."""
    learns = list(quantizer.parameters())
    optimizer = torch.optim.Adam(learns or [torch.zeros(1)], lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        loss = (quantizer(x) - x).square().mean()
        if learns:
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def test_methods_are_pairs_of_what_is_listed() -> None:
    assert {method.weight for method in METHODS.values()} == set(WEIGHT_QUANTIZERS)
    assert {method.activation for method in METHODS.values()} == set(ACTIVATION_QUANTIZERS)


@pytest.mark.parametrize("name", ["dorefa", "lsq", "lsq_plus", "minmax", "pact"])
def test_the_four_numbers_in_each_docstring(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"clinquant.lab.quantize.fake_quant.{name}"))
    assert outcome.attempted and not outcome.failed
