"""A block of a network that learns its rounding: the optimisation behind BRECQ and QDrop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from clinquant.core.affine import QParams
from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.execute import RULES
from clinquant.lab.quantize.fake_quant import LSQ
from clinquant.lab.quantize.fake_quant.affine import broadcast, codes, floors, inverse_rectified_sigmoid, rectified_sigmoid
from clinquant.lab.quantize.grids import fusions, grid_of
from clinquant.lab.quantize.model import Model
from clinquant.lab.quantize.naming import child_name
from clinquant.lab.quantize.on_grids import OnGrids, Params
from clinquant.lab.quantize.passes.reconstruct import BATCH, Twins, float_params, with_codes
from clinquant.lab.quantize.ties import clusters
from clinquant.lab.quantize.widths import inner_layers, narrow_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Learnt:
    """Changed nodes and activation grids by name."""

    nodes: Mapping[str, Node] = field(default_factory=dict)
    activations: Mapping[str, QParams] = field(default_factory=dict)

    def params(self, node: Node) -> Callable[[Tensor], Params] | None:
        """For `Twins.advance`: the arrays that `node` got, or None where it stays."""
        return (lambda target: float_params(self.nodes[node.name])) if node.name in self.nodes else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Cached:
    """All images at a block: the one tensor that goes in, quantized and float, and the float one that comes out."""

    quantized: Tensor
    floats: Tensor
    target: Tensor

    @classmethod
    def of(cls, nodes: tuple[Node, ...], twins: Twins) -> Cached:
        """From the twins, who stand before the block."""
        (source,) = {name for node in nodes for name in node.inputs} - {node.name for node in nodes}
        target = []
        with torch.no_grad():
            for start in range(0, len(twins.images), BATCH):
                values = {source: twins.floats[source][start : start + BATCH]}
                for node in nodes:
                    inputs = [values[name] for name in node.inputs]
                    values[node.name] = RULES[node.op](node, inputs, float_params(twins.network[node.name]))
                target.append(values[nodes[-1].name])
        return cls(quantized=twins.quantized[source], floats=twins.floats[source], target=torch.cat(target))


class Block(nn.Module):
    """A block with soft rounding and learnt steps; `forward` takes the quantized input of the block.

    Args:
        nodes: the block, as in the model.
        fixed: names of grids whose steps do not learn.
        generator: of the drops.

    Attributes:
        weights: whether inner weights are rounded to nearest, between two codes (learning), or at the code they have decided for.
    """

    def __init__(self, nodes: tuple[Node, ...], model: Model, on_grids: OnGrids, fixed: set[str], generator: torch.Generator) -> None:
        super().__init__()
        self.nodes, self.on_grids, self.model, self.generator = nodes, on_grids, model, generator
        self.weights: Literal["nearest", "soft", "decided"] = "nearest"
        (self.source,) = {name for node in nodes for name in node.inputs} - {node.name for node in nodes}
        assert model.floats is not None
        self.originals = {node.name: model.floats[node.name] for node in nodes}
        inner = inner_layers(model.floats) & set(model.weights)
        self.fixed_params = {node.name: on_grids.params(self.originals[node.name]) for node in nodes}
        self.rounding, self.steps = nn.ParameterDict(), nn.ModuleDict()
        self.base: dict[str, Tensor] = {}
        self.units: dict[str, Tensor] = {}
        for node in nodes:
            if node.name in inner:
                weight, scale, grid = self.weight(node.name)
                self.base[node.name] = floors(weight, scale, grid.spec.qmin, grid.spec.qmax)
                start = inverse_rectified_sigmoid(weight / scale - self.base[node.name])
                self.rounding[child_name(node.name)] = nn.Parameter(start)
        for name in sorted(self.grids() - fixed):
            grid = on_grids.activations[name]
            low, high = (int(end - grid.zero_point) for end in (grid.spec.qmin, grid.spec.qmax))
            self.steps[child_name(name)] = LSQ(torch.tensor(float(grid.scale)), low, high)

    def weight(self, layer: str) -> tuple[Tensor, Tensor, QParams]:
        """Float weight, its scale shaped against it, and its grid."""
        weight, grid = float_params(self.originals[layer])["weight"], self.model.weights[layer]
        return weight, broadcast(torch.from_numpy(np.array(grid.scale)), weight, 0), grid

    def grids(self) -> set[str]:
        """Names of the narrow grids inside: those that a node reads, and those on which a node but the last writes."""
        read = {self.copy(name, node) for node in self.nodes for name in node.inputs}
        written = {self.on_grids.points[node.name] for node in self.nodes[:-1] if node.name in self.on_grids.points}
        return {name for name in read | written if name in self.on_grids.activations and self.on_grids.activations[name].spec.bits < 8}

    def copy(self, source: str, reader: Node) -> str:
        """Name that the narrow copy of a node's grid has for `reader`."""
        return narrow_name(self.on_grids.grids[source], self.on_grids.widths.read_by(reader.name))

    def forward(self, x: Tensor, *, drop: float = 0.0) -> Tensor:
        """The block's output before it is put on its grid."""
        values = {self.source: x}
        for node in self.nodes:
            seen = [self.quantized(values[name], self.copy(name, node), drop) for name in node.inputs]
            if child_name(node.name) in self.rounding:
                self.units.setdefault(node.name, seen[0].detach().square().mean() * self.weight(node.name)[1].square())
            value = RULES[node.op](node, seen, self.params(node))
            point = self.on_grids.points.get(node.name)
            values[node.name] = value if point is None or node is self.nodes[-1] else self.quantized(value, point, drop)
        return values[self.nodes[-1].name]

    def quantized(self, x: Tensor, name: str, drop: float) -> Tensor:
        """`x` on the grid `name`, if there is one; values on learnt grids are left as they are with probability `drop`."""
        if child_name(name) in self.steps:
            rounded = self.steps[child_name(name)](x)
            return self.mixed(x, rounded, drop)
        grid = self.on_grids.activations.get(name)
        if grid is None:
            return x
        low, high = (int(end - grid.zero_point) for end in (grid.spec.qmin, grid.spec.qmax))
        scale = torch.tensor(float(grid.scale))
        return through(x, codes(x.detach(), scale, low, high) * scale)

    def mixed(self, x: Tensor, rounded: Tensor, drop: float) -> Tensor:
        """`rounded`, each value replaced by that of `x` with probability `drop`."""
        return torch.where(torch.rand(x.shape, generator=self.generator) < drop, x, rounded) if drop else rounded

    def params(self, node: Node) -> Params:
        """The node's arrays, its weight between two codes where it learns."""
        held = self.fixed_params[node.name]
        if child_name(node.name) not in self.rounding or self.weights == "nearest":
            return held
        h = rectified_sigmoid(self.rounding[child_name(node.name)])
        share = h if self.weights == "soft" else (h >= 0.5).to(h.dtype)
        return held | {"weight": (self.base[node.name] + share) * self.weight(node.name)[1]}

    def undecided(self, beta: float) -> Tensor:
        """Sum of 1 - |2 h - 1|^beta over all weights, in units of what a step of one changes."""
        total = torch.zeros(())
        for layer in self.base:
            h = rectified_sigmoid(self.rounding[child_name(layer)])
            total = total + ((1 - (2 * h - 1).abs().pow(beta)) * self.units[layer]).sum()
        return total

    def copied_steps(self) -> dict[str, Tensor]:
        """Activation steps as they are now, for `restore`."""
        return {name: parameter.detach().clone() for name, parameter in self.steps.named_parameters()}

    def restore(self, steps: Mapping[str, Tensor]) -> None:
        """Back to rounding to nearest, with the activation steps of before."""
        with torch.no_grad():
            for name, parameter in self.steps.named_parameters():
                parameter.copy_(steps[name])
            for layer, base in self.base.items():
                weight, scale, grid = self.weight(layer)
                up = codes(weight, scale, grid.spec.qmin, grid.spec.qmax) - base
                self.rounding[child_name(layer)].copy_(inverse_rectified_sigmoid(up))

    @torch.no_grad()
    def error(self, cached: Cached) -> float:
        """Mean squared error over all images."""
        total = 0.0
        for start in range(0, len(cached.target), BATCH):
            part = slice(start, start + BATCH)
            total += float(mean_error(self(cached.quantized[part]), cached.target[part])) * len(cached.target[part])
        return total / len(cached.target)

    def learnt(self) -> Learnt:
        """Weights and steps as they now are."""
        nodes = {}
        for layer, base in self.base.items():
            found = base + (rectified_sigmoid(self.rounding[child_name(layer)].detach()) >= 0.5)
            nodes[layer] = with_codes(self.originals[layer], found, self.model.weights[layer])
        activations = {}
        for name in self.grids():
            if child_name(name) in self.steps:
                step = self.steps[child_name(name)].scale.detach().numpy()  # type: ignore[operator]
                activations[name] = replace(self.on_grids.activations[name], scale=np.asarray(step, np.float32).reshape(()))
        return Learnt(nodes=nodes, activations=activations)


def blocks(network: Network) -> list[tuple[Node, ...]]:
    """The nodes behind the input, cut wherever everything flows through one tensor, but never before a fused activation."""
    position = {node.name: index for index, node in enumerate(network.nodes)}
    last_reader = {name: position[node.name] for node in network for name in node.inputs}
    fused = fusions(network)
    found: list[tuple[Node, ...]] = []
    current: list[Node] = []
    reach = 0
    for index, node in enumerate(network.nodes):
        current.append(node)
        open_elsewhere = reach > index
        reach = max(reach, last_reader.get(node.name, index))
        if not open_elsewhere and node.name not in fused:
            found.append(tuple(current))
            current = []
    return found


def tied(network: Network) -> set[str]:
    """Grids whose scales an addition ties, which do not learn."""
    return {name for sums, summands in clusters(network, grid_of(network)) for name in (*sums, *summands)}


def mean_error(output: Tensor, target: Tensor) -> Tensor:
    """Squared error summed over channels, mean over images and positions."""
    return (output - target).square().sum(1).mean()


def through(x: Tensor, rounded: Tensor) -> Tensor:
    """`rounded` with the gradient of `x` (straight-through, Bengio et al. 2013, arXiv 1308.3432)."""
    return x + (rounded - x).detach()
