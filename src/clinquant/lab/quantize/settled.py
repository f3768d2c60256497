"""A quantized network as it is deployed, in torch, with weights and biases that still learn.

Every tensor, weight and bias is on its fixed grid, so what is trained is what is exported: only the order in which floats are summed is
not the integer sum's. Rounding passes gradients on within the grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.execute import RULES
from clinquant.lab.quantize.fake_quant import FixedGrid
from clinquant.lab.quantize.fake_quant.affine import codes
from clinquant.lab.quantize.fake_quant.minmax import through
from clinquant.lab.quantize.fused.build import arithmetic
from clinquant.lab.quantize.fused.execute import FusedStep
from clinquant.lab.quantize.gradients import ConvolutionBackwardInBfloat16
from clinquant.lab.quantize.grids import grid_of, watch_points
from clinquant.lab.quantize.model import Model
from clinquant.lab.quantize.naming import child_name
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.widths import narrow_name

LARGEST = 2**31 - 1
"""Code of a bias, int32."""


class Settled(nn.Module):
    """The network of `model`, batch norm folded and every grid found.

    It computes in float32 under autocast too, since bfloat16 rounds more coarsely than 8-bit grids do; then the gradients of its
    convolutions alone are bfloat16.

    Args:
        model: after `PutOnGrids`, or what came of it.
        latents: node name -> weight before rounding [o, ...], where it is not the network's own.

    Attributes:
        tap: what the feature map before the global pooling goes through in evaluation mode, for whoever hooks onto it.
    """

    def __init__(self, model: Model | QuantizedNetwork, latents: Mapping[str, NDArray[np.float32]] | None = None) -> None:
        super().__init__()
        network = self.network = model.network
        self.classifier, self.tap = network.classifier(), nn.Identity()
        self.grids, self.widths = grid_of(network), model.widths
        inputs = {node.name: "input" for node in network if node.op == "input"}
        self.write_points = {name: child_name(grid) for name, grid in (inputs | watch_points(network)).items()}
        weights = {node.name: (latents or {}).get(node.name, node.params["weight"]) for node in network if "weight" in node.params}
        self.inner: Set[str] = weights.keys()
        self.weights = nn.ParameterDict({child_name(name): nn.Parameter(torch.tensor(weight)) for name, weight in weights.items()})
        biases = {name: network[name].params.get("bias", np.zeros(len(weight), np.float32)) for name, weight in weights.items()}
        self.biases = nn.ParameterDict({child_name(name): nn.Parameter(torch.tensor(bias)) for name, bias in biases.items()})
        self.weight_quantizers = nn.ModuleDict({child_name(name): FixedGrid(model.weights[name]) for name in weights})
        self.activation_quantizers = nn.ModuleDict({child_name(name): FixedGrid(grid) for name, grid in model.activations.items()})
        for node in network:
            for role, array in node.params.items() if node.name not in weights else ():
                self.register_buffer(child_name(f"{node.name}/{role}"), torch.tensor(array))

    @cached_property
    def fused(self) -> FusedStep | None:
        """The plan of a training step on the kernels, which are compiled when it is first asked for."""
        return FusedStep.of(self)

    @property
    def arithmetic(self) -> str:
        """What computes a training step: its last bits depend on it, so that it belongs to a run's key."""
        return arithmetic()

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, k] of normalised images [n, 3, s, s]."""
        half = torch.is_autocast_enabled(x.device.type) and torch.get_autocast_dtype(x.device.type) == torch.bfloat16
        with torch.autocast(x.device.type, enabled=False), ConvolutionBackwardInBfloat16() if half else nullcontext():
            return self.fused(self, x) if self.training and self.fused is not None else self.plain(x)

    def plain(self, x: Tensor) -> Tensor:
        """`forward` by torch's own operators."""
        values: dict[str, Tensor] = {}
        for node in self.network:
            inputs = [self.read(values[name], name, node) for name in node.inputs] or [x]
            value = self.written(node, self.compute(node, inputs))
            values[node.name] = self.tap(value) if self.classifier and node.name == self.classifier[0] else value
        return self.answered(values)

    def answered(self, values: Mapping[str, Tensor]) -> Tensor:
        """The logits among all tensors."""
        return values[self.network.output.name]

    def compute(self, node: Node, inputs: list[Tensor], weight: Tensor | None = None) -> Tensor:
        """The node's operator, its weight and bias on their grids: `weight`, if it was computed already."""
        return RULES[node.op](node, inputs, self.params(node, weight))

    def written(self, node: Node, value: Tensor) -> Tensor:
        """The node's tensor on its own grid, where this node decides one."""
        grid = self.write_points.get(node.name)
        return value if grid is None else torch.as_tensor(self.activation_quantizers[grid](value))

    def read(self, value: Tensor, source: str, reader: Node) -> Tensor:
        """The output of node `source` as `reader` sees it: on the narrow copy of its grid where there is one."""
        narrow = self.narrow(source, reader)
        return value if narrow is None else torch.as_tensor(self.activation_quantizers[narrow](value))

    def narrow(self, name: str, reader: Node) -> str | None:
        """Key of the grid of the copy of a tensor that `reader` sees, where it sees a copy."""
        key = child_name(narrow_name(self.grids[name], self.widths.read_by(reader.name)))
        return key if key in self.activation_quantizers else None

    def norm(self, name: str) -> nn.BatchNorm2d:
        """Raises KeyError: batch norm is folded."""
        raise KeyError(name)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The weight of a node that has one."""
        return {"weight": self.weights[child_name(name)]}

    @staticmethod
    def key(name: str) -> str:
        """A node's name as torch takes it for a module."""
        return child_name(name)

    def params(self, node: Node, weight: Tensor | None = None) -> dict[str, Tensor]:
        """The node's weight and bias on their grids: a bias on that of the sums, input step times weight step.

        Constants, and what layer norm multiplies and adds, do not learn.
        """
        key = child_name(node.name)
        if key not in self.weights:
            return {role: self.get_buffer(child_name(f"{node.name}/{role}")) for role in node.params}
        source = node.inputs[0]
        grid = self.weight_quantizers[key]
        read = self.activation_quantizers[self.narrow(source, node) or child_name(self.grids[source])]
        assert isinstance(grid, FixedGrid) and isinstance(read, FixedGrid)
        step, bias = (grid.scale * read.scale).expand(len(self.biases[key])), self.biases[key]
        whole = codes(bias.detach(), step, -LARGEST, LARGEST) * step
        return {"weight": grid(self.weights[key]) if weight is None else weight, "bias": through(bias, whole)}

    @torch.no_grad()
    def learnt(self, model: Model) -> Model:
        """`model` with the weights and biases learnt since, on its grids."""
        nodes = []
        for node in model.network:
            key = child_name(node.name)
            if key in self.weights:
                weight, bias = self.weight_quantizers[key](self.weights[key]), self.biases[key]
                node = replace(node, params={"weight": weight.cpu().numpy(), "bias": bias.cpu().numpy().copy()})
            nodes.append(node)
        return replace(model, network=Network(nodes=tuple(nodes)))
