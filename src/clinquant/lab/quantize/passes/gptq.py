"""Rounds weights so that those behind take back what the others change (GPTQ, Frantar et al. 2022, arXiv 2210.17323)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from clinquant.core.graph import Node
from clinquant.lab.quantize.compensation import compensated_rounding
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.on_grids import Params
from clinquant.lab.quantize.passes.correct_bias import with_bias
from clinquant.lab.quantize.passes.reconstruct import Twins, float_params, images_within, layer_problem, with_codes

POSITIONS_AN_INPUT, LEAST_POSITIONS = 64, 2048
"""Output positions that are sampled for every input of a filter, and at least: the covariance of few inputs is known from few of them."""


@dataclass(frozen=True, kw_only=True)
class GPTQ:
    """Layers in order, first and last too: each sees inputs from the quantized network so far and aims at the float layer's output.

    Its bias takes back the mean error that is left. Afterwards a weight is exactly code times scale, so that lowering gives the codes that
    were found. Grids stay.

    Attributes:
        damping: as for `compensated_rounding`.
        images: calibration images used at most; fewer where their tensors would take more than `memory`.
        memory: bytes for the tensors of both networks; the sampled positions of a layer take `pool_memory` more at most.
        pool: output positions of a layer that are sampled at most; small filters take fewer.
        pool_memory: bytes that those may take.
        seed: of the positions.
    """

    damping: float = 0.01
    images: int = 512
    memory: int = 1 << 30
    pool: int = 16_384
    pool_memory: int = 256 << 20
    seed: int = 0

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """`model` with weights on their grids, and the biases that go with them.

        Raises:
            ClinquantError: `pass-order`.
        """
        floats = model.needs_floats(by="GPTQ")
        twins = Twins(model, floats, images_within(model, calibration, self.images, self.memory))
        generator = torch.Generator().manual_seed(self.seed)
        changes: dict[str, Node | None] = {}
        for done, node in enumerate(model.network):

            def round_weights(target: Tensor, node: Node = node) -> Params:
                own, grid, x = floats[node.name], model.weights[node.name], twins.seen(node)
                count = min(self.pool, max(LEAST_POSITIONS, POSITIONS_AN_INPUT * own.params["weight"][0].size))
                problem = layer_problem(own, grid, x, target, generator, count=count, memory=self.pool_memory)
                codes = compensated_rounding(problem, damping=self.damping)
                error = problem.mean_errors(codes * problem.scale).flatten().numpy()
                changes[node.name] = new = with_bias(with_codes(own, codes, grid), error)
                return float_params(new)

            twins.advance(node, round_weights if node.name in model.weights else None)
            calibration.tell(done + 1, len(model.network.nodes))
        return replace(model, network=model.network.replaced(changes))
