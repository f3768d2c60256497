"""A training step's forward of a fake-quantized network, with the kernels wherever they fit and its own rules elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from clinquant.core.graph import Node
from clinquant.lab.quantize.fake_quant import LSQ, PACT, LSQPlus
from clinquant.lab.quantize.fused.build import library
from clinquant.lab.quantize.fused.operators import ABSENT, NARROW, OWN, Clip, Learner, activation, can_fuse, weights
from clinquant.lab.quantize.fused.plan import Chain, chains

if TYPE_CHECKING:
    from clinquant.lab.quantize.qat import FakeQuantized


class FusedStep:
    """The plan of a network's training step."""

    def __init__(self, module: FakeQuantized) -> None:
        self.written = {name: key for name, key in module.write_points.items() if key in module.activation_quantizers}
        self.chains = chains(module.network, self.written)
        self.inside = {node.name for chain in self.chains.values() for node in chain.members[:-1]}
        self.copied: dict[str, str] = {}
        for node in module.network:
            for name in node.inputs:
                if (key := module.narrow(name, node)) is not None:
                    self.copied.setdefault(name, key)
        self.weighted = [name for name in sorted(module.inner) if _learns_weight_step(module.weight_quantizers[module.key(name)])]

    @staticmethod
    def of(module: FakeQuantized) -> FusedStep | None:
        """The plan for `module`; None where the kernels are not available."""
        return None if library() is None else FusedStep(module)

    def __call__(self, module: FakeQuantized, x: Tensor) -> Tensor:
        """Logits [n, k] of normalised images [n, 3, s, s]."""
        values: dict[str, Tensor] = {}
        copies: dict[tuple[str, str], Tensor] = {}
        on_grid = self.weights(module)
        for node in module.network:
            if node.name in self.chains:
                self.chain(module, self.chains[node.name], values, copies)
            elif node.name not in self.inside:
                inputs = [self.read(module, name, node, values, copies) for name in node.inputs] or [x]
                values[node.name] = module.written(node, module.compute(node, inputs, on_grid.get(node.name)))
        return values[module.network.output.name]

    def read(
        self, module: FakeQuantized, name: str, reader: Node, values: dict[str, Tensor], copies: dict[tuple[str, str], Tensor]
    ) -> Tensor:
        """A tensor as `reader` sees it; a narrow copy is made once."""
        key = module.narrow(name, reader)
        if key is None:
            return values[name]
        if (name, key) not in copies:
            copies[name, key] = _quantized(values[name], module.activation_quantizers[key])
        return copies[name, key]

    def weights(self, module: FakeQuantized) -> dict[str, Tensor]:
        """Inner layers' weights on their grids, in the type that autocast would give them."""
        half = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        layers: list[tuple[Tensor, LSQ]] = []
        for name in self.weighted:
            weight, quantizer = module.params[module.key(name)]["weight"], module.weight_quantizers[module.key(name)]  # type: ignore[index]
            assert isinstance(quantizer, LSQ)
            if weight.device.type != "cpu":
                return {}
            layers.append((weight, quantizer))
        return dict(zip(self.weighted, weights(layers, torch.bfloat16 if half else torch.float32), strict=True)) if layers else {}

    def chain(self, module: FakeQuantized, chain: Chain, values: dict[str, Tensor], copies: dict[tuple[str, str], Tensor]) -> None:
        """Puts the chain's last tensor into `values`, and its narrow copy, if it has one, into `copies`."""
        last, x = chain.last, values[chain.source]
        own, narrow = self.written.get(last), self.copied.get(last)
        key = own or narrow
        learner = _learner(module.activation_quantizers[key]) if key else None
        if not can_fuse(x) or not (chain.norm or learner):
            for node in chain.members:
                values[node.name] = module.written(node, module.compute(node, [values[name] for name in node.inputs]))
            return
        norm = module.params[module.key(chain.norm)] if chain.norm else None
        assert norm is None or isinstance(norm, nn.BatchNorm2d)
        skip = values[chain.skip] if chain.skip else None
        y, q = activation(x, skip, norm, chain.clip, learner, ABSENT if learner is None else OWN if own else NARROW)
        if own:
            values[last] = torch.as_tensor(q if y is None else module.activation_quantizers[own](y))
        else:
            values[last] = torch.as_tensor(y)
            if narrow and q is not None:
                copies[last, narrow] = q


def _quantized(value: Tensor, quantizer: nn.Module) -> Tensor:
    learner = _learner(quantizer)
    if learner is None or not can_fuse(value):
        return torch.as_tensor(quantizer(value))
    return torch.as_tensor(activation(value, None, None, Clip(), learner, OWN)[1])


def _learner(quantizer: nn.Module) -> Learner | None:
    """An activation's quantizer, if the kernels know its formula and it has one step."""
    kinds = (LSQ, LSQPlus, PACT)
    known = isinstance(quantizer, kinds) and type(quantizer) in kinds and quantizer.axis is None and not quantizer.odd
    return quantizer if known else None  # type: ignore[return-value]


def _learns_weight_step(quantizer: nn.Module) -> bool:
    return type(quantizer) is LSQ and quantizer.axis == 0 and not quantizer.odd
