"""A quantized network as it is deployed, in torch, with weights and biases that still learn.

Every tensor, weight and bias is on its fixed grid, so what is trained is what is exported: only the order in which floats are summed is
not the integer sum's. Rounding passes gradients on within the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinquant.core.affine import QParams
from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.execute import RULES
from clinquant.lab.quantize.fake_quant.affine import broadcast, codes, inside
from clinquant.lab.quantize.fake_quant.minmax import through
from clinquant.lab.quantize.grids import grid_of, watch_points
from clinquant.lab.quantize.model import Model
from clinquant.lab.quantize.naming import child_name
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.widths import narrow_name

LARGEST = 2**31 - 1
"""Code of a bias, int32."""


class FixedGrid(nn.Module):
    """x_hat = (code of x) s on a grid that does not move; gradient 1 within its ends, 0 outside."""

    scale: Tensor

    def __init__(self, grid: QParams) -> None:
        super().__init__()
        self.register_buffer("scale", torch.from_numpy(np.array(grid.scale)))
        zero = int(grid.zero_point.flat[0])
        self.low, self.high, self.axis, self.odd = grid.spec.qmin - zero, grid.spec.qmax - zero, grid.spec.axis, grid.spec.odd

    def forward(self, x: Tensor) -> Tensor:
        """Float32 values on the grid."""
        step, given = broadcast(self.scale, x, self.axis), x.detach()
        return through(x, codes(given, step, self.low, self.high, odd=self.odd) * step, inside(given, step, self.low, self.high))


class Settled(nn.Module):
    """The network of `model`, batch norm folded and every grid found.

    Args:
        model: after `PutOnGrids`, or what came of it.
        latents: node name -> weight before rounding [o, ...], where it is not the network's own.

    Attributes:
        tap: what the feature map before the global pooling goes through, for whoever hooks onto it.
    """

    def __init__(self, model: Model | QuantizedNetwork, latents: Mapping[str, NDArray[np.float32]] | None = None) -> None:
        super().__init__()
        network = self.network = model.network
        self.classifier, self.tap = network.classifier(), nn.Identity()
        self.grids, self.points, self.widths = grid_of(network), watch_points(network), model.widths
        weights = {node.name: (latents or {}).get(node.name, node.params["weight"]) for node in network if "weight" in node.params}
        self.weights = nn.ParameterDict({child_name(name): nn.Parameter(torch.tensor(weight)) for name, weight in weights.items()})
        biases = {name: network[name].params.get("bias", np.zeros(len(weight), np.float32)) for name, weight in weights.items()}
        self.biases = nn.ParameterDict({child_name(name): nn.Parameter(torch.tensor(bias)) for name, bias in biases.items()})
        self.weight_grids = nn.ModuleDict({child_name(name): FixedGrid(model.weights[name]) for name in weights})
        self.activation_grids = nn.ModuleDict({child_name(name): FixedGrid(grid) for name, grid in model.activations.items()})
        for node in network:
            for role, array in node.params.items() if node.name not in weights else ():
                self.register_buffer(child_name(f"{node.name}/{role}"), torch.tensor(array))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, k] of normalised images [n, 3, s, s]."""
        values: dict[str, Tensor] = {}
        for node in self.network:
            inputs = [self.read(values[name], name, node) for name in node.inputs] or [x]
            name = "input" if node.op == "input" else self.points.get(node.name)
            value = RULES[node.op](node, inputs, self.params(node))
            value = value if name is None else torch.as_tensor(self.activation_grids[child_name(name)](value))
            values[node.name] = self.tap(value) if self.classifier and node.name == self.classifier[0] else value
        return values[self.network.output.name]

    def read(self, value: Tensor, source: str, reader: Node) -> Tensor:
        """The output of node `source` as `reader` sees it: on the narrow copy of its grid where there is one."""
        grid = self.read_grid(source, reader)
        return torch.as_tensor(self.activation_grids[grid](value)) if grid != child_name(self.grids[source]) else value

    def read_grid(self, source: str, reader: Node) -> str:
        """Key of the grid on which `reader` sees the output of node `source`."""
        narrow = child_name(narrow_name(self.grids[source], self.widths.read_by(reader.name)))
        return narrow if narrow in self.activation_grids else child_name(self.grids[source])

    def params(self, node: Node) -> dict[str, Tensor]:
        """The node's weight and bias on their grids: a bias on that of the sums, input step times weight step.

        Constants, and what layer norm multiplies and adds, do not learn.
        """
        key = child_name(node.name)
        if key not in self.weights:
            return {role: self.get_buffer(child_name(f"{node.name}/{role}")) for role in node.params}
        grid, read = self.weight_grids[key], self.activation_grids[self.read_grid(node.inputs[0], node)]
        assert isinstance(grid, FixedGrid) and isinstance(read, FixedGrid)
        step, bias = (grid.scale * read.scale).expand(len(self.biases[key])), self.biases[key]
        whole = codes(bias.detach(), step, -LARGEST, LARGEST) * step
        return {"weight": grid(self.weights[key]), "bias": through(bias, whole)}

    @torch.no_grad()
    def learnt(self, model: Model) -> Model:
        """`model` with the weights and biases learnt since, on its grids."""
        nodes = []
        for node in model.network:
            key = child_name(node.name)
            if key in self.weights:
                weight, bias = self.weight_grids[key](self.weights[key]), self.biases[key]
                node = replace(node, params={"weight": weight.cpu().numpy(), "bias": bias.cpu().numpy().copy()})
            nodes.append(node)
        return replace(model, network=Network(nodes=tuple(nodes)))
