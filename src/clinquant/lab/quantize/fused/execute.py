"""A network's forward with a gradient: with the kernels wherever they fit, and its own rules elsewhere.

In training mode batch norm takes the statistics of the batch. In evaluation mode it is a factor and an offset, and all that is learnt in
training is constant: what is asked there is what the image does.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Protocol

import torch
from torch import Tensor, nn

from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.fake_quant import LSQ, PACT, FixedGrid, LSQPlus
from clinquant.lab.quantize.fused.build import library
from clinquant.lab.quantize.fused.operators import ABSENT, NARROW, OWN, Clip, Known, activation, can_fuse, weights
from clinquant.lab.quantize.fused.plan import Chain, chains


class Computed(Protocol):
    """What the step asks of a network: its nodes, its tensors, and its own rules.

    Attributes:
        network: batch norm apart where it is live.
        inner: names of the nodes whose weights are on grids.
        norms: node -> the batch norm that it is.
        weight_quantizers, activation_quantizers: key -> quantizer.
        write_points: node -> key of the quantizer of its output, which is there where that is rounded.
        training: the mode.
    """

    network: Network
    inner: Set[str]
    norms: Mapping[str, nn.BatchNorm2d]
    weight_quantizers: nn.ModuleDict
    activation_quantizers: nn.ModuleDict
    write_points: Mapping[str, str]
    training: bool

    @staticmethod
    def key(name: str) -> str:
        """A node's name as torch takes it for a module."""

    def narrow(self, name: str, reader: Node) -> str | None:
        """Key of the quantizer of the copy of a tensor that `reader` sees, where it sees a copy."""

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Role -> tensor of a node that is no batch norm."""

    def compute(self, node: Node, inputs: list[Tensor], weight: Tensor | None = None) -> Tensor:
        """The node's operator, its weight on its grid where it has one: `weight`, if it was computed already."""

    def answered(self, values: Mapping[str, Tensor]) -> Tensor:
        """The logits among all tensors."""


class FusedStep:
    """The plan of a network's step."""

    def __init__(self, module: Computed) -> None:
        self.written = {name: key for name, key in module.write_points.items() if key in module.activation_quantizers}
        self.chains = chains(module.network, self.written)
        self.inside = {node.name for chain in self.chains.values() for node in chain.members[:-1]}
        self.copied: dict[str, str] = {}
        for node in module.network:
            for name in node.inputs:
                if (key := module.narrow(name, node)) is not None:
                    self.copied.setdefault(name, key)
        self.weighted = [name for name in sorted(module.inner) if _known_weights(module.weight_quantizers[module.key(name)])]

    @staticmethod
    def of(module: Computed) -> FusedStep | None:
        """The plan for `module`; None where the kernels are not available."""
        return None if library() is None else FusedStep(module)

    def __call__(self, module: Computed, x: Tensor) -> Tensor:
        """Logits [n, k] of normalised images [n, 3, s, s]."""
        values: dict[str, Tensor] = {}
        copies: dict[tuple[str, str], Tensor] = {}
        with torch.set_grad_enabled(module.training and torch.is_grad_enabled()):
            on_grid = self.weights(module)
        for node in module.network:
            if node.name in self.chains:
                self.chain(module, self.chains[node.name], values, copies)
            elif node.name not in self.inside:
                inputs = [self.read(module, name, node, values, copies) for name in node.inputs] or [x]
                values[node.name] = self.on_own_grid(module, node.name, module.compute(node, inputs, on_grid.get(node.name)))
        return module.answered(values)

    def read(self, module: Computed, name: str, reader: Node, values: dict[str, Tensor], copies: dict[tuple[str, str], Tensor]) -> Tensor:
        """A tensor as `reader` sees it; a narrow copy is made once."""
        key = module.narrow(name, reader)
        if key is None:
            return values[name]
        if (name, key) not in copies:
            copies[name, key] = _quantized(values[name], module.activation_quantizers[key], learning=module.training)
        return copies[name, key]

    def on_own_grid(self, module: Computed, name: str, value: Tensor) -> Tensor:
        """A node's tensor on its own grid, where it has one."""
        key = self.written.get(name)
        return value if key is None else _quantized(value, module.activation_quantizers[key], learning=module.training)

    def weights(self, module: Computed) -> dict[str, Tensor]:
        """Inner layers' weights on their grids, in the type that autocast would give them."""
        half = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        layers: list[tuple[Tensor, LSQ | FixedGrid]] = []
        for name in self.weighted:
            weight, quantizer = module.tensors(name)["weight"], module.weight_quantizers[module.key(name)]
            assert isinstance(quantizer, LSQ | FixedGrid)
            if weight.device.type != "cpu":
                return {}
            layers.append((weight, quantizer))
        return dict(zip(self.weighted, weights(layers, torch.bfloat16 if half else torch.float32), strict=True)) if layers else {}

    def chain(self, module: Computed, chain: Chain, values: dict[str, Tensor], copies: dict[tuple[str, str], Tensor]) -> None:
        """Puts the chain's last tensor into `values`, and its narrow copy, if it has one, into `copies`."""
        last, x = chain.last, values[chain.source]
        own, narrow = self.written.get(last), self.copied.get(last)
        key = own or narrow
        learner = _known(module.activation_quantizers[key]) if key else None
        skip = values[chain.skip] if chain.skip else None
        if not can_fuse(x) or not (chain.norm or learner) or (skip is not None and skip.shape != x.shape):
            for node in chain.members:
                values[node.name] = self.on_own_grid(module, node.name, module.compute(node, [values[name] for name in node.inputs]))
            return
        norm = module.norms[chain.norm] if chain.norm else None
        y, q = activation(
            x, skip, norm, chain.clip, learner, ABSENT if learner is None else OWN if own else NARROW, learning=module.training
        )
        if own:
            values[last] = torch.as_tensor(q if y is None else module.activation_quantizers[own](y))
        else:
            values[last] = torch.as_tensor(y)
            if narrow and q is not None:
                copies[last, narrow] = q


def _quantized(value: Tensor, quantizer: nn.Module, *, learning: bool) -> Tensor:
    learner = _known(quantizer)
    if learner is None or not can_fuse(value):
        return torch.as_tensor(quantizer(value))
    return torch.as_tensor(activation(value, None, None, Clip(), learner, OWN, learning=learning)[1])


KNOWN = (LSQ, LSQPlus, PACT, FixedGrid)
"""Not their subclasses, whose formulas may be others."""


def _known(quantizer: nn.Module) -> Known | None:
    """An activation's quantizer, if the kernels know its formula and it has one step."""
    known = isinstance(quantizer, KNOWN) and type(quantizer) in KNOWN and quantizer.axis is None and not quantizer.odd
    return quantizer if known else None  # type: ignore[return-value]


def _known_weights(quantizer: nn.Module) -> bool:
    """Whether the kernels know the formula of a weight's quantizer."""
    return isinstance(quantizer, LSQ | FixedGrid) and type(quantizer) in (LSQ, FixedGrid) and quantizer.axis == 0 and not quantizer.odd
