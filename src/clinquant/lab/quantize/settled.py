"""A quantized network as it is deployed, in torch, with weights and biases that still learn.

Every tensor, weight and bias is on its fixed grid, so what is trained is what is exported: only the order in which floats are summed is
not the integer sum's. Rounding passes gradients on within the grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.convolution import Geometry, convolve, has_integer_sums
from clinquant.lab.quantize.execute import RULES, padded
from clinquant.lab.quantize.fake_quant import FixedGrid
from clinquant.lab.quantize.fake_quant.affine import codes
from clinquant.lab.quantize.fake_quant.minmax import through
from clinquant.lab.quantize.gridded import Gridded
from clinquant.lab.quantize.grids import grid_of, watch_points
from clinquant.lab.quantize.model import Model
from clinquant.lab.quantize.naming import child_name
from clinquant.lab.quantize.quantized import QuantizedNetwork

LARGEST = 2**31 - 1
"""Code of a bias, int32."""


class Settled(Gridded):
    """The network of `model`, batch norm folded and every grid found.

    It computes in float32 under autocast too, since bfloat16 rounds more coarsely than 8-bit grids do; then the gradients of its
    convolutions alone are bfloat16.

    Args:
        model: after `PutOnGrids`, or what came of it.
        latents: node name -> weight before rounding [o, ...], where it is not the network's own.

    Attributes:
        in_half: whether gradients of convolutions are bfloat16.
        tap: what the feature map before the global pooling goes through in evaluation mode, for whoever hooks onto it.
    """

    def __init__(self, model: Model | QuantizedNetwork, latents: Mapping[str, NDArray[np.float32]] | None = None) -> None:
        super().__init__()
        network = self.network = model.network
        self.in_half, self.classifier, self.tap = False, network.classifier(), nn.Identity()
        self.grids, self.widths, self.norms = grid_of(network), model.widths, {}
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

    @property
    def arithmetic(self) -> str:
        """What computes a training step."""
        return f"{super().arithmetic}, integer sums" if has_integer_sums() else super().arithmetic

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, k] of normalised images [n, 3, s, s]."""
        self.in_half = torch.is_autocast_enabled(x.device.type) and torch.get_autocast_dtype(x.device.type) == torch.bfloat16
        with torch.autocast(x.device.type, enabled=False):
            return self.fused(self, x) if self.training and self.fused is not None else self.plain(x)

    def answered(self, values: Mapping[str, Tensor]) -> Tensor:
        """The logits among all tensors."""
        return values[self.network.output.name]

    def compute(self, node: Node, inputs: list[Tensor], weight: Tensor | None = None) -> Tensor:
        """The node's operator, its weight and bias on their grids: `weight`, if it was computed already."""
        params = self.params(node, weight)
        if not (self.in_half and node.op == "conv" and node.attributes["groups"] == 1):
            return RULES[node.op](node, inputs, params)
        x, padding = padded(inputs[0], node.attributes["pads"])
        at = Geometry(node.attributes["stride"], padding, node.attributes["dilation"])
        return convolve(x, params["weight"], params["bias"], at, *self.grids_of(node))

    def written(self, node: Node, value: Tensor) -> Tensor:
        """The node's tensor on its own grid; the feature map goes through `tap`."""
        value = super().written(node, value)
        return torch.as_tensor(self.tap(value)) if self.classifier and node.name == self.classifier[0] else value

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The weight of a node that has one."""
        return {"weight": self.weights[child_name(name)]}

    def params(self, node: Node, weight: Tensor | None = None) -> dict[str, Tensor]:
        """The node's weight and bias on their grids: a bias on that of the sums, input step times weight step.

        Constants, and what layer norm multiplies and adds, do not learn.
        """
        key = child_name(node.name)
        if key not in self.weights:
            return {role: self.get_buffer(child_name(f"{node.name}/{role}")) for role in node.params}
        read, grid = self.grids_of(node)
        step, bias = (grid.scale * read.scale).expand(len(self.biases[key])), self.biases[key]
        whole = codes(bias.detach(), step, -LARGEST, LARGEST) * step
        return {"weight": grid(self.weights[key]) if weight is None else weight, "bias": through(bias, whole)}

    def grids_of(self, node: Node) -> tuple[FixedGrid, FixedGrid]:
        """What a node with weights reads its input on, and the grid of its weight."""
        source = node.inputs[0]
        read = self.activation_quantizers[self.narrow(source, node) or child_name(self.grids[source])]
        grid = self.weight_quantizers[child_name(node.name)]
        assert isinstance(grid, FixedGrid) and isinstance(read, FixedGrid)
        return read, grid

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
