"""How far the fast forward of quantization-aware training is from the integers that are exported.

Training sums in floats and leaves what has 8 bits unrounded (sums, the first and the last layer); now and then a value falls on the other
side of a tie than the integer one does, and the layers behind it see another code. So nothing else is ever reported of the fast forward.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from clinquant.core.affine import QParams
from clinquant.core.integer import Clip, IntegerProgram, Table
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.fake_quant.affine import codes
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.qat import FakeQuantized
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.simulate import BATCH, Simulation


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Shares in [0, 1] of what the fast forward and the exact simulation have in common.

    Attributes:
        top1: of images, those of which both name the same class.
        codes: of the narrow activations' codes, those that are equal; None where no activation is narrow.
        images: looked at.
    """

    top1: float
    codes: float | None
    images: int

    def __str__(self) -> str:
        told = "" if self.codes is None else f" and {self.codes:.2%} of narrow codes"
        return f"training's own forward has {self.top1:.2%} of classes{told} in common with the integers ({self.images} images)"


@torch.no_grad()
def agreement_of_fast_forward(module: FakeQuantized, quantized: QuantizedNetwork, pixels: NDArray[np.uint8]) -> Agreement:
    """The fast forward of `module`, in evaluation, against the exact simulation of what came of it.

    Args:
        module: after training, its batch norm statistics as they were exported.
        quantized: what was put on its grids.
        pixels: uint8 [n, s, s, 3].
    """
    program = lower(quantized)
    simulation, bounds = Simulation(program), narrow_tensors(program, quantized)
    module.eval()
    same_class = equal = total = 0
    for start in range(0, len(pixels), BATCH):
        batch = pixels[start : start + BATCH]
        answered, fast = seen_by_quantizers(module, set(bounds.values()), normalised(batch, quantized.card.preprocess))
        exact = Seen(bounds)
        same_class += int((answered.argmax(1) == simulation.batch(batch, exact).argmax(1)).sum())
        for tensor, name in bounds.items():
            found = codes_of(fast[name], quantized.activations[name])
            equal += int((found == exact.tensors[tensor].view_as(found)).sum())
            total += found.numel()
    return Agreement(top1=same_class / len(pixels), codes=equal / total if total else None, images=len(pixels))


class Seen:
    """A watcher that keeps the tensors of those names."""

    def __init__(self, names: Container[str]) -> None:
        self.names = names
        self.tensors: dict[str, Tensor] = {}

    def __call__(self, name: str, tensor: Tensor) -> None:
        """Keeps `tensor` if it is one of them."""
        if name in self.names:
            self.tensors[name] = tensor


def seen_by_quantizers(module: FakeQuantized, names: set[str], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of normalised images, and what the activation quantizers of those grids put out."""
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> RemovableHandle:
        quantizer = module.activation_quantizers[module.key(name)]
        return quantizer.register_forward_hook(lambda _module, _inputs, out: kept.update({name: out}))

    hooks = [keep(name) for name in names]
    logits = module(x)
    for hook in hooks:
        hook.remove()
    return logits, kept


def narrow_tensors(program: IntegerProgram, quantized: QuantizedNetwork) -> dict[str, str]:
    """Tensor of the program -> the grid of fewer than 8 bits that a Clip or a Table puts it on: the first of each grid."""
    names = {id(grid): name for name, grid in quantized.activations.items() if grid.spec.bits < 8}
    found: dict[str, str] = {}
    for operator in program.operators:
        name = names.get(id(program.tensors.get(operator.name)))
        if isinstance(operator, Clip | Table) and name is not None and name not in found.values():
            found[operator.name] = name
    return found


def codes_of(values: Tensor, grid: QParams) -> Tensor:
    """Codes of values that lie on the grid already."""
    zero = int(grid.zero_point)
    return codes(values, torch.tensor(float(grid.scale)), grid.spec.qmin - zero, grid.spec.qmax - zero) + zero
