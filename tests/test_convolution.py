"""Convolutions on 8-bit grids: integer sums where there are kernels for them, and the gradients of plain convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clinquant.core.affine import QParams, TensorSpec
from clinquant.lab.quantize import convolution
from clinquant.lab.quantize.convolution import REUSE, Geometry, convolve, has_integer_sums
from clinquant.lab.quantize.fake_quant import FixedGrid

SHAPES = {
    "plain": (64, 64, 3, Geometry((1, 1), (1, 1), (1, 1))),
    "strided": (16, 128, 3, Geometry((2, 2), (1, 1), (1, 1))),
    "dilated": (5, 33, 3, Geometry((1, 1), (2, 2), (2, 2))),
    "pointwise": (48, 320, 1, Geometry((1, 1), (0, 0), (1, 1))),
    "uneven": (7, 300, (1, 5), Geometry((1, 2), (0, 2), (1, 1))),
}
needs_integer_sums = pytest.mark.skipif(not has_integer_sums(), reason="torch has no integer convolution here, or one that saturates")


def operands(name: str, zero: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Geometry, FixedGrid, FixedGrid]:
    """Inputs of `convolve`, all codes of both grids among them."""
    inside, outside, kernel, at = SHAPES[name]
    draw, size = np.random.default_rng(seed), (kernel, kernel) if isinstance(kernel, int) else kernel
    scales = (np.float32(0.013), draw.uniform(0.001, 0.01, outside).astype(np.float32))
    grid = FixedGrid(QParams(spec=TensorSpec(bits=8), scale=np.asarray(scales[0]), zero_point=np.asarray(zero, np.int32)))
    spec = TensorSpec(bits=8, signed=True, axis=0)
    weight_grid = FixedGrid(QParams(spec=spec, scale=scales[1], zero_point=np.zeros(outside, np.int32)))
    x = torch.from_numpy(((draw.integers(0, 256, (2, inside, 9, 11)) - zero) * scales[0]).astype(np.float32))
    codes = draw.integers(weight_grid.low, weight_grid.high + 1, (outside, inside, *size))
    weight = torch.from_numpy((codes * scales[1][:, None, None, None]).astype(np.float32))
    bias = torch.from_numpy(draw.normal(size=outside).astype(np.float32))
    return x.contiguous(memory_format=torch.channels_last), weight, bias, at, grid, weight_grid


@needs_integer_sums
@pytest.mark.parametrize("zero", [0, 3, 128, 255])
@pytest.mark.parametrize("name", SHAPES)
def test_sums_are_those_of_integers(name: str, zero: int) -> None:
    x, weight, bias, at, grid, weight_grid = operands(name, zero)
    codes, whole = (x.double() / grid.scale.double()).round(), (weight.double() / weight_grid.scale.double()[:, None, None, None]).round()
    sums = functional.conv2d(codes, whole, None, *at)
    assert float(codes.min()) == -zero and float(sums.abs().max()) < 2**24
    found = convolve(x, weight, torch.zeros_like(bias), at, grid, weight_grid).double()
    step = (grid.scale.double() * weight_grid.scale.double())[:, None, None]
    assert weight_grid.high == 127 and torch.equal((found / step).round(), sums) and float((found / step - sums).abs().max()) < 0.1
    biased = convolve(x, weight, bias, at, grid, weight_grid)
    assert torch.allclose(biased.double(), sums * step + bias[:, None, None], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("integer", [pytest.param(True, marks=needs_integer_sums), False])
@pytest.mark.parametrize("name", SHAPES)
def test_gradients_are_those_of_plain_convolution(name: str, *, integer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "has_integer_sums", lambda: integer)
    x, weight, bias, at, grid, weight_grid = operands(name, 100)
    learns = [value.clone().requires_grad_() for value in (x, weight, bias)]
    found = convolve(*learns, at, grid, weight_grid)
    given = torch.randn_like(found)
    expected = functional.conv2d(*learns, *at)
    assert torch.allclose(found, expected, atol=1e-3)
    for ours, plain in zip(torch.autograd.grad(found, learns, given), torch.autograd.grad(expected, learns, given), strict=True):
        assert ours.dtype == torch.float32 and float((ours - plain).norm()) < 0.02 * float(plain.norm())


def test_kernels_that_saturate_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on processors without VNNI, whose pairs of products end at 2^15."""
    sums = convolution._integer_sums
    monkeypatch.setattr(convolution, "_integer_sums", lambda *operands: sums(*operands).clamp(-(2.0**21), 2.0**20))
    assert not has_integer_sums.__wrapped__()
    monkeypatch.setattr(convolution, "_integer_sums", lambda *operands: torch.ops.onednn.no_such_operator(*operands))
    assert not has_integer_sums.__wrapped__()


@needs_integer_sums
def test_codes_that_are_read_by_few_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "_exact", lambda *operands: pytest.fail("codes were made"))
    x, weight, bias, at, grid, weight_grid = operands("pointwise", 0)
    few = slice(0, REUSE - 1)
    weight_grid.scale = weight_grid.scale[few]
    convolve(x, weight[few], bias[few], at, grid, weight_grid)
