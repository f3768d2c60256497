"""Executes an integer program in torch, exactly and fast: what the exported file will answer, code by code.

Codes are integers held in floats, so every operator is torch's own; sums are float32 where no partial sum of a layer can reach 2^24,
and float64 elsewhere, so the order of summation does not matter. Multipliers are float32 and biases integers, as in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from clinquant.core import reference
from clinquant.core.affine import QParams
from clinquant.core.integer import (
    Add,
    Clip,
    Concat,
    Conv,
    GlobalAveragePool,
    IntegerProgram,
    Linear,
    MaxPool,
    Mul,
    Operator,
    Requantize,
    Table,
)
from clinquant.lab.quantize.execute import Watch
from clinquant.lab.quantize.fake_quant import affine

EXACT_BELOW = 2**24
"""float32 holds every integer up to here."""

BATCH = 32


class Simulation:
    """`program` ready to run: `simulation(pixels)` are the logits of the file that `export_integer` writes of it."""

    def __init__(self, program: IntegerProgram) -> None:
        self.program = program
        self.steps = [(operator, self._rule(operator)) for operator in program.operators]
        self.class_map = None if program.class_map is None else self._rule(program.class_map)
        readers = [*program.operators, *([program.class_map] if program.class_map else [])]
        self.last_use = {name: index for index, operator in enumerate(readers) for name in operator.inputs}

    def __call__(self, pixels: NDArray[np.uint8], watch: Watch | None = None) -> Tensor:
        """float32 logits [n, k] of uint8 [n, size, size, 3], `BATCH` images at a time.

        `watch(name, tensor)` sees, batch by batch, every tensor that `core.reference.execute` names: codes as floats, `logits` and
        `class_map`.
        """
        return torch.cat([self.batch(pixels[start : start + BATCH], watch) for start in range(0, len(pixels), BATCH)])

    @torch.no_grad()
    def batch(self, pixels: NDArray[np.uint8], watch: Watch | None = None) -> Tensor:
        """As calling, in one batch."""
        values: dict[str, Tensor] = {"image": torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float()}
        for index, (operator, rule) in enumerate(self.steps):
            values[operator.name] = rule([values[name] for name in operator.inputs])
            if watch:
                watch(operator.name, values[operator.name])
            for name in operator.inputs:
                if self.last_use[name] == index:
                    values.pop(name, None)
        logits = values[self.program.operators[-1].name]
        if watch:
            watch("logits", logits)
            self._watch_class_map(values, watch)
        return logits

    def _watch_class_map(self, values: Mapping[str, Tensor], watch: Watch) -> None:
        operator = self.program.class_map
        if operator is None or self.class_map is None:
            return
        grid = self.program.tensors[operator.name]
        codes = self.class_map([values[name] for name in operator.inputs])
        watch("class_map", affine.dequantize(codes, float(grid.scale), int(grid.zero_point)))

    def _grids(self, operator: Operator) -> tuple[list[QParams], Any]:
        tensors = self.program.tensors
        return [tensors[name] for name in operator.inputs if name in tensors], tensors.get(operator.name)

    def _rule(self, operator: Operator) -> Rule:
        grids, out = self._grids(operator)
        return RULES.get(type(operator), of_reference)(operator, grids, out)


Rule = Callable[[list[Tensor]], Tensor]


def of_reference(operator: Operator, grids: list[QParams], out: QParams) -> Rule:
    """The numpy reference's own rule: for operators that have none here."""
    rule = reference.RULES[type(operator)]

    def run(inputs: list[Tensor]) -> Tensor:
        codes = [value.numpy().astype(np.uint8) for value in inputs]
        return torch.from_numpy(np.asarray(rule(operator, codes, grids, out), np.float32))

    return run


def conv(operator: Conv, grids: list[QParams], out: QParams) -> Rule:
    """requantize(sum((x - zero) w) + bias, x_scale w_scale / y_scale)."""
    kind = sum_type(operator.weight, operator.bias, int(grids[0].zero_point))
    weight, bias = torch.from_numpy(operator.weight).to(kind), torch.from_numpy(operator.bias).to(kind)[:, None, None]
    multiplier = torch.from_numpy((grids[0].scale * operator.weight_scale / out.scale).astype(np.float32))[:, None, None]
    zero, (top, left, bottom, right) = float(grids[0].zero_point), operator.pads
    symmetric = (top, left) == (bottom, right)

    def run(inputs: list[Tensor]) -> Tensor:
        x = (inputs[0] - zero if zero else inputs[0]).to(kind)
        x = x if symmetric else F.pad(x, (left, right, top, bottom))
        padding = (top, left) if symmetric else (0, 0)
        sums = F.conv2d(x, weight, None, operator.stride, padding, operator.dilation, operator.groups)
        return affine.requantize(sums.add_(bias).float(), multiplier, int(out.zero_point))

    return run


def linear(operator: Linear, grids: list[QParams], out: QParams | None) -> Rule:
    """float32 logits out of integer sums."""
    kind = sum_type(operator.weight, operator.bias, int(grids[0].zero_point))
    weight, bias = torch.from_numpy(operator.weight).to(kind), torch.from_numpy(operator.bias).to(kind)
    step = torch.from_numpy((grids[0].scale * operator.weight_scale).astype(np.float32))
    zero = float(grids[0].zero_point)
    return lambda inputs: ((inputs[0].flatten(1) - zero).to(kind) @ weight.T + bias).float() * step


def sum_type(weight: NDArray[np.int8], bias: NDArray[np.int32], zero: int) -> torch.dtype:
    """float32 where no partial sum of `weight` [o, ...] times codes less `zero`, in whatever order, can reach 2^24; else float64."""
    flat = weight.reshape(len(weight), -1).astype(np.int64)
    positive, negative = np.maximum(flat, 0).sum(axis=1), np.maximum(-flat, 0).sum(axis=1)
    lowest, highest = zero, 255 - zero
    largest = np.maximum(positive * highest + negative * lowest, positive * lowest + negative * highest)
    return torch.float32 if (largest + np.abs(bias.astype(np.int64))).max() < EXACT_BELOW else torch.float64


def clip(operator: Clip, grids: list[QParams], out: QParams) -> Rule:
    """Codes bounded to [low, high]."""
    return lambda inputs: affine.bounded(inputs[0], operator.low, operator.high)


def add(operator: Add, grids: list[QParams], out: QParams) -> Rule:
    """round(a r_a + b r_b + zero), in float64 as the reference computes it."""
    ratios = [float(np.float32(grid.scale / out.scale)) for grid in grids]
    zeros = [int(grid.zero_point) for grid in grids]

    def run(inputs: list[Tensor]) -> Tensor:
        total = torch.full_like(inputs[0] + inputs[1], float(out.zero_point), dtype=torch.float64)
        for codes, zero, ratio in zip(inputs, zeros, ratios, strict=True):
            total.add_(codes - zero, alpha=ratio)
        return affine.rounded(total).float()

    return run


def mul(operator: Mul, grids: list[QParams], out: QParams) -> Rule:
    """round((a - zero_a)(b - zero_b) s_a s_b / s + zero), in float64 as the reference computes it."""
    ratio = float(grids[0].scale) * float(grids[1].scale) / float(out.scale)
    zero_a, zero_b, zero = int(grids[0].zero_point), int(grids[1].zero_point), float(out.zero_point)
    return lambda inputs: affine.rounded((inputs[0].double() - zero_a) * (inputs[1].double() - zero_b) * ratio + zero).float()


def concat(operator: Concat, grids: list[QParams], out: QParams) -> Rule:
    """Each input on the grid of the output."""
    rules = [rescaled(grid, out) for grid in grids]
    return lambda inputs: torch.cat([rule(value) for rule, value in zip(rules, inputs, strict=True)], 1)


def requantized(operator: Requantize, grids: list[QParams], out: QParams) -> Rule:
    """The same values on another grid."""
    rule = rescaled(grids[0], out)
    return lambda inputs: rule(inputs[0])


def rescaled(grid: QParams, out: QParams) -> Callable[[Tensor], Tensor]:
    """Codes on `grid` to codes on `out`, through a 256-entry table."""
    return looked_up(reference.rescale_table(grid, out))


def table(operator: Table, grids: list[QParams], out: QParams) -> Rule:
    """Each code looked up."""
    rule = looked_up(operator.table)
    return lambda inputs: rule(inputs[0])


def looked_up(entries: NDArray[np.uint8]) -> Callable[[Tensor], Tensor]:
    """Each code's entry in a table [256]."""
    values = torch.from_numpy(entries.astype(np.float32))
    return lambda codes: values[codes.int()]


def max_pool(operator: MaxPool, grids: list[QParams], out: QParams) -> Rule:
    """Largest code of each window; padding never wins, for no code is below it."""
    top, left, bottom, right = operator.pads
    return lambda inputs: F.max_pool2d(F.pad(inputs[0], (left, right, top, bottom)), operator.kernel, operator.stride)


def global_average_pool(operator: GlobalAveragePool, grids: list[QParams], out: QParams) -> Rule:
    """requantize(sum(x - zero), x_scale / (y_scale count))."""

    def run(inputs: list[Tensor]) -> Tensor:
        count = np.float32(inputs[0].shape[2] * inputs[0].shape[3])
        multiplier = float(np.float32(grids[0].scale / np.float32(out.scale * count)))
        sums = (inputs[0].double() - int(grids[0].zero_point)).sum((2, 3), keepdim=True)
        return affine.requantize(sums.float(), torch.tensor(multiplier), int(out.zero_point))

    return run


RULES: dict[type[Operator], Callable[..., Rule]] = {
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
}
"""Operator -> `(operator, grids of its inputs, its grid) -> rule`; any other operator takes the numpy reference's."""
