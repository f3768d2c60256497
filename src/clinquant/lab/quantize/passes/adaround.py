"""Learns which way to round every weight, layer by layer, so that the layer's output stays (Nagel et al. 2020, arXiv 2004.10568)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from clinquant.core.graph import Node
from clinquant.lab.quantize.execute import RULES
from clinquant.lab.quantize.grids import fusions
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.on_grids import Params
from clinquant.lab.quantize.passes.reconstruct import Twins, float_params, images_within, layer_problem, with_codes
from clinquant.lab.quantize.rounding import Activation, Problem, Rounded, Schedule, learn_rounding
from clinquant.lab.quantize.widths import inner_layers

Watch = Callable[[str, Problem, Rounded], None]


@dataclass(frozen=True, kw_only=True)
class AdaRound:
    """Layers in order: each sees inputs from the quantized network so far and aims at the float network's output, activation included.

    Afterwards a weight is exactly code times scale, so that lowering gives the codes that were found. Grids stay.

    Attributes:
        schedule: of the optimisation.
        images: calibration images used at most; fewer where their tensors would take more than `memory`.
        memory: bytes for the tensors of both networks; the sampled positions of a layer take `pool_memory` more at most.
        pool: output positions of a layer that are sampled once, and that steps draw from.
        pool_memory: bytes that those may take.
        whole: first and last layer too, which have 8 bits (7 on the portable target), where rounding hardly matters.
        seed: of positions and steps.
        watch: told every layer's name, what was to be minimised, and the outcome.
    """

    schedule: Schedule = field(default_factory=Schedule)
    images: int = 512
    memory: int = 1 << 30
    pool: int = 16_384
    pool_memory: int = 256 << 20
    whole: bool = False
    seed: int = 0
    watch: Watch | None = None

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """`model` with weights on their grids, rounded as was learnt.

        Raises:
            ClinquantError: `pass-order`.
        """
        floats = model.needs_floats(by="AdaRound")
        chosen = set(model.weights) if self.whole else inner_layers(model.network) & set(model.weights)
        twins = Twins(model, floats, images_within(model, calibration, self.images, self.memory))
        generator = torch.Generator().manual_seed(self.seed)
        fused = fusions(floats)
        changes: dict[str, Node | None] = {}
        for done, node in enumerate(model.network):

            def learn(target: Tensor, node: Node = node) -> Params:
                own, grid = floats[node.name], model.weights[node.name]
                activation = activation_of(floats[fused[node.name]]) if node.name in fused else None
                problem = layer_problem(
                    own, grid, twins.seen(node), target, generator, activation=activation, count=self.pool, memory=self.pool_memory
                )
                found = learn_rounding(problem, self.schedule, generator)
                if self.watch:
                    self.watch(node.name, problem, found)
                changes[node.name] = new = with_codes(own, found.codes, grid)
                return float_params(new)

            twins.advance(node, learn if node.name in chosen else None)
            calibration.tell(done + 1, len(model.network.nodes))
        return replace(model, network=model.network.replaced(changes))


def activation_of(follower: Node) -> Activation:
    """The function of an activation that a layer's requantization performs."""
    return lambda x: RULES[follower.op](follower, [x], {})
