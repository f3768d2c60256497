"""Random networks at every width and for every target: simulation, numpy reference and ONNX Runtime on every code of every tensor.

    python -m benchmarks.random_networks --out benchmarks/results/random_networks.csv

What users bring has shapes that no list of examples holds: each network here is drawn from convolutions, activations, sums (of one shape
or broadcast), products, concatenation, pooling and gates, with uneven planes, dilation, groups, tensors read twice, batch norm that flips
signs and channels that are dead, and each layer's width is drawn too where widths are mixed. A row sums up one width on one target; it is
the resume key. Every count of differing codes must be 0 on a machine that the target is for. Networks that are refused are counted: a
range that holds nothing, or no layer to narrow.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.exactness import Runtime, differing
from benchmarks.rows import Rows
from numpy.typing import NDArray
from torch import Tensor, nn

from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.core.reference import execute
from clinquant.edge.runtimes import runtime_module
from clinquant.lab.classifier import Classifier
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.recipes import RECIPES, begin, run_recipes
from clinquant.lab.quantize.simulate import Simulation
from clinquant.lab.quantize.target import TARGETS, Target
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.quantize.widths import WIDTHS, Widths, inner_layers

CLASSES = 3
IMAGES = 12
MIXED = "mixed"
ALL = (*WIDTHS, MIXED)
QUICK = ("minmax", "percentile", "mse", "entropy", "equalize", "bias_correction", "gptq")
"""Recipes of seconds, drawn from."""
ACTIVATIONS: dict[Callable[[], nn.Module], int] = {
    nn.ReLU: 6, nn.ReLU6: 6, nn.Identity: 3, nn.SiLU: 2, nn.Hardswish: 2, nn.GELU: 1, nn.Mish: 1, nn.Tanh: 1, nn.PReLU: 1, nn.ELU: 1,
    nn.Sigmoid: 1, nn.Hardsigmoid: 1, lambda: nn.LeakyReLU(0.1): 1, lambda: nn.Hardtanh(-0.5, 0.7): 1,
}  # fmt: skip
"""Activation -> how often, among the others."""
Shape = tuple[int, int]
"""Channels and side of a map."""


class RandomNetwork(nn.Module):
    """A network that `seed` draws: two to six parts behind a first convolution, pooled into one or two linear layers.

    Attributes:
        size: side of the pictures.
        steps: (operator, the earlier tensors that it reads); tensor 0 is the picture.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.draw = random.Random(seed)
        self.size = self.draw.choice((12, 16, 17, 20, 24))
        self.steps: list[tuple[str, tuple[int, ...]]] = []
        self.operators = nn.ModuleList()
        self.shapes: list[Shape] = [(3, self.size)]
        parts = (self._layer, self._layer, self._skip, self._skip, self._spread, self._joined, self._pooled, self._excited, self._scaled)
        last = self._layer(0)
        for _ in range(self.draw.randint(2, 6)):
            last = self.draw.choice(parts)(last)
        self.last = last
        channels = self.shapes[last][0]
        hidden = (nn.Linear(channels, 10), self.draw.choice((nn.ReLU, nn.SiLU))(), nn.Linear(10, CLASSES))
        self.head = nn.Sequential(*hidden) if self.draw.random() < 0.25 else nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, 3] of normalised images [n, 3, size, size]."""
        values = [x]
        for (kind, sources), operator in zip(self.steps, self.operators, strict=True):
            read = [values[source] for source in sources]
            values.append(JOINS[kind](read) if kind in JOINS else operator(read[0]))
        logits: Tensor = self.head(values[self.last].mean((2, 3)))
        return logits

    def _put(self, kind: str, sources: tuple[int, ...], shape: Shape, operator: nn.Module | None = None) -> int:
        self.steps.append((kind, sources))
        self.operators.append(operator or nn.Identity())
        self.shapes.append(shape)
        return len(self.shapes) - 1

    def _layer(self, source: int) -> int:
        return self._activated(self._convolved(source))

    def _activated(self, source: int) -> int:
        (kind,) = self.draw.choices(list(ACTIVATIONS), list(ACTIVATIONS.values()))
        return self._put("one", (source,), self.shapes[source], kind())

    def _convolved(self, source: int, channels: int | None = None) -> int:
        """Keeps plane and channels where `channels` are given."""
        inside, side = self.shapes[source]
        kernel, dilation = self.draw.choice((1, 3, 3, 3, 5)), self.draw.choice((1, 1, 1, 2))
        stride = 1 if channels else self.draw.choice((1, 1, 1, 2))
        outside, groups = channels or self.draw.choice((4, 6, 8, 12, 16)), 1
        if channels is None and inside > 3 and self.draw.random() < 0.3:
            groups, outside = inside, inside * self.draw.choice((1, 1, 2))
        elif channels is None and inside % 2 == 0 and self.draw.random() < 0.1:
            groups = 2
        padding = dilation * (kernel - 1) // 2
        shape = (outside, (side - 1) // stride + 1)
        bare = nn.Conv2d(inside, outside, kernel, stride, padding, dilation, groups, bias=self.draw.random() < 0.5)
        found = self._put("one", (source,), shape, bare)
        return self._put("one", (found,), shape, nn.BatchNorm2d(outside)) if self.draw.random() < 0.6 else found

    def _skip(self, source: int) -> int:
        channels = self.shapes[source][0]
        before = self._activated(self._convolved(source, channels)) if self.draw.random() < 0.5 else source
        total = self._put("sum", (source, self._convolved(before, channels)), self.shapes[source])
        return self._activated(total) if self.draw.random() < 0.6 else total

    def _spread(self, source: int) -> int:
        """A sum with one value a channel, or with one map for all channels."""
        channels, side = self.shapes[source]
        pooled = self.draw.random() < 0.5
        layers: tuple[nn.Module, ...] = (
            (nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1)) if pooled else (nn.Conv2d(channels, 1, 3, padding=1),)
        )
        other = self._put("one", (source,), (channels, 1) if pooled else (1, side), nn.Sequential(*layers))
        order = (source, other) if self.draw.random() < 0.5 else (other, source)
        total = self._put("sum", order, self.shapes[source])
        return self._activated(total) if self.draw.random() < 0.6 else total

    def _joined(self, source: int) -> int:
        others = [at for at, (_, side) in enumerate(self.shapes) if at not in (0, source) and side == self.shapes[source][1]]
        if not others:
            return self._layer(source)
        other = self.draw.choice(others)
        return self._put("joined", (source, other), (self.shapes[source][0] + self.shapes[other][0], self.shapes[source][1]))

    def _pooled(self, source: int) -> int:
        channels, side = self.shapes[source]
        if side < 4:
            return self._layer(source)
        upwards = self.draw.random() < 0.4
        if self.draw.random() < 0.4:
            return self._put("one", (source,), (channels, side // 2), nn.AvgPool2d(2))
        return self._put("one", (source,), (channels, (side + upwards) // 2), nn.MaxPool2d(2, ceil_mode=upwards))

    def _excited(self, source: int) -> int:
        channels = self.shapes[source][0]
        inner, gate = max(2, channels // 2), self.draw.choice((nn.Sigmoid, nn.Hardsigmoid))()
        layers = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inner, 1), nn.ReLU(), nn.Conv2d(inner, channels, 1), gate)
        return self._put("product", (source, self._put("one", (source,), (channels, 1), nn.Sequential(*layers))), self.shapes[source])

    def _scaled(self, source: int) -> int:
        return self._put("scaled", (source,), self.shapes[source])


JOINS: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "sum": lambda read: read[0] + read[1],
    "joined": lambda read: torch.cat(read, 1),
    "product": lambda read: read[0] * read[1],
    "scaled": lambda read: read[0] * 0.7 + 0.1,
}


def pictures(size: int, count: int, seed: int) -> NDArray[np.uint8]:
    """Smooth colourful noise, uint8 [count, size, size, 3]."""
    draw = np.random.default_rng(seed)
    coarse = torch.from_numpy(draw.uniform(0, 255, (count, 3, 5, 5)))
    fine = F.interpolate(coarse, size=(size, size), mode="bilinear").permute(0, 2, 3, 1).numpy()
    return np.clip(fine + draw.normal(0, 12, fine.shape), 0, 255).astype(np.uint8)


def random_classifier(seed: int) -> Classifier:
    """A random network whose batch norm has seen pictures; one in five flips signs there, one in five has uneven channels, some dead."""
    torch.manual_seed(seed)
    module, draw = RandomNetwork(seed), random.Random(f"weights {seed}")
    flips, uneven = draw.random() < 0.2, draw.random() < 0.2
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, -0.5 if flips else 0.3, 1.5)
            nn.init.normal_(layer.bias, std=0.3)
            layer.momentum = None
        elif isinstance(layer, nn.Conv2d) and uneven:
            with torch.no_grad():
                layer.weight *= torch.exp(torch.randn(len(layer.weight), 1, 1, 1))
                layer.weight[: draw.randint(0, 1)] = 0
    preprocess = Preprocess(size=module.size)
    with torch.no_grad():
        module.train()(normalised(pictures(module.size, 16, 1), preprocess))
    card = Card(architecture="random", classes=("a", "b", "c"), positive=None, preprocess=preprocess)
    return Classifier(module=module.eval(), card=card)


def random_model(classifier: Classifier, bits: str, target: Target, seed: int) -> Model:
    """`classifier` quantized by a recipe that `seed` draws; of `MIXED` widths it draws every layer's. Raises ClinquantError."""
    draw, size = random.Random(f"{bits} {seed}"), classifier.card.preprocess.size
    widths = None
    if bits == MIXED:
        layers = sorted(inner_layers(trace(classifier.module, size)))
        weight, activation = ({layer: draw.choice((2, 4, 8)) for layer in layers} for _ in range(2))
        widths = Widths(weight=weight, activation=activation)
    recipe = draw.choice(QUICK)
    images = Calibration(pixels=pictures(size, 16, 3), preprocess=classifier.card.preprocess)
    return run_recipes(begin(classifier, bits, widths=widths, target=target), images, {recipe: RECIPES[recipe]})[recipe]


def difference(model: Model, folder: Path) -> tuple[int, int, int]:
    """Values compared, and how many of them the runtime and the simulation have otherwise than the reference."""
    program, seen = lower(model.quantized("random")), dict[str, NDArray[Any]]()
    pixels = pictures(program.size, IMAGES, 2)
    expected = execute(program, pixels)
    answered = Runtime(program, folder / "model.onnx").tensors(pixels)
    Simulation(program).batch(pixels, lambda name, value: seen.__setitem__(name, value.numpy()))
    compared, of_runtime = differing(answered, expected, program)
    return compared, of_runtime, differing(seen, expected, program)[1]


def row(bits: str, target: Target, networks: int) -> dict[str, Any]:
    """All networks at one width on one target."""
    found = {"bits": bits, "target": target.name, "networks": networks, "refused": 0, "values": 0, "runtime": 0, "simulation": 0}
    for seed in range(networks):
        try:
            model = random_model(random_classifier(seed), bits, target, seed)
        except ClinquantError as error:
            if error.code not in ("range-empty", "bits-unsupported"):
                raise
            found["refused"] += 1  # type: ignore[operator]
            continue
        with tempfile.TemporaryDirectory() as folder:
            for column, count in zip(("values", "runtime", "simulation"), difference(model, Path(folder)), strict=True):
                found[column] += count  # type: ignore[operator]
    return found


def main() -> None:
    """Makes the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--networks", type=int, default=100)
    asked = parser.parse_args()
    rows = Rows(asked.out, ("bits", "target", "networks"))
    facts = {"onnxruntime": runtime_module("onnxruntime").version(), "torch": torch.__version__}
    for bits in ALL:
        for target in TARGETS.values():
            if {"bits": bits, "target": target.name, "networks": asked.networks} not in rows:
                rows.add(row(bits, target, asked.networks) | facts)


if __name__ == "__main__":
    main()
