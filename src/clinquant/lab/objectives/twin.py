"""A float module's own tensors, computed with the training kernels: for passes beside the one that is trained."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network, Node
from clinquant.lab.objectives.mode import evaluating
from clinquant.lab.quantize.execute import RULES
from clinquant.lab.quantize.fused.build import library
from clinquant.lab.quantize.fused.execute import FusedStep
from clinquant.lab.quantize.trace.symbolic import trace_symbolically

LAYERS: dict[str, type[nn.Module]] = {"conv": nn.Conv2d, "linear": nn.Linear, "batch_norm": nn.BatchNorm2d}
"""Operators with tensors -> the layer whose tensors they are."""


class Twin(nn.Module):
    """The network that `module` computes: batch norm, sum and clip in one kernel. It has no tensor of its own.

    Args:
        module: whose layers bear the names of the network's nodes.
        network: as traced.
    """

    inner: Set[str] = frozenset()
    norms: Mapping[str, nn.BatchNorm2d]

    def __init__(self, module: nn.Module, network: Network) -> None:
        super().__init__()
        self.module, self.network = module, network
        self.dropped = {name for name, layer in module.named_modules() if isinstance(layer, nn.modules.dropout._DropoutNd)}
        self.weight_quantizers, self.activation_quantizers = nn.ModuleDict(), nn.ModuleDict()
        self.write_points: Mapping[str, str] = {}
        self.norms = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.BatchNorm2d)}
        self.fused = FusedStep(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, k] of normalised images [n, 3, s, s]."""
        return self.fused(self, x)

    @staticmethod
    def key(name: str) -> str:
        """A node's name."""
        return name

    def narrow(self, name: str, reader: Node) -> None:
        """Nothing is quantized."""

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Role -> tensor of a convolution or a linear layer."""
        return dict(self.module.get_submodule(name).named_parameters(recurse=False))

    def compute(self, node: Node, inputs: list[Tensor], weight: Tensor | None = None) -> Tensor:
        """The node's operator."""
        if node.op == "batch_norm" or node.name in self.dropped:
            return torch.as_tensor(self.module.get_submodule(node.name)(inputs[0]))
        return RULES[node.op](node, inputs, self.tensors(node.name) if node.op in LAYERS else {})

    def answered(self, values: Mapping[str, Tensor]) -> Tensor:
        """The logits among all tensors."""
        return values[self.network.output.name]


def twin_of(module: nn.Module) -> Twin | None:
    """The twin of a float module; None without a compiler, or where the module is not made of plain layers."""
    if module not in _NETWORKS:
        _NETWORKS[module] = _network(module)
    network = _NETWORKS[module]
    return None if network is None else Twin(module, network)


_NETWORKS: WeakKeyDictionary[nn.Module, Network | None] = WeakKeyDictionary()
"""Traced once a module, without tensors, and forgotten with it."""


def _network(module: nn.Module) -> Network | None:
    if library() is None:
        return None
    try:
        with evaluating(module):
            network = trace_symbolically(module, dropout=True)
    except ClinquantError:
        return None
    layers = dict(module.named_modules())
    plain = all(node.op in LAYERS and type(layers.get(node.name)) is LAYERS[node.op] for node in network if node.params)
    norms = [layer for layer in layers.values() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not plain or not all(norm.affine and norm.track_running_stats for norm in norms):
        return None
    return Network(nodes=tuple(replace(node, params={}) for node in network))
