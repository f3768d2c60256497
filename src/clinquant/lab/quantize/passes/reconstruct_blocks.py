"""Learns rounding and narrow activation steps block by block (BRECQ, Li et al. 2021, arXiv 2102.05426), with random drop if asked.

QDrop (Wei et al. 2022, arXiv 2203.05740) leaves each narrow activation unquantized with a probability while a block learns, so that what
it finds is flat: it holds for images that the calibration did not show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.passes.block import Block, Cached, Learnt, blocks, mean_error, tied
from clinquant.lab.quantize.passes.reconstruct import Twins, images_within
from clinquant.lab.quantize.rounding import Schedule
from clinquant.lab.quantize.widths import inner_layers

Watch = Callable[[str, float, float], None]


@dataclass(frozen=True, kw_only=True)
class ReconstructBlocks:
    """Blocks in order: each sees what the quantized network so far gives and aims at the float network's output of the block.

    A block lies between two tensors through which everything flows: a residual block, or a layer where there are no branches. Steps of
    activations narrower than 8 bits are learnt with the rounding (LSQ), but for those that an addition ties. A block whose output
    nearest rounding serves better keeps that.

    Attributes:
        schedule: of the optimisation; its `positions` are not used.
        batch: images a step.
        step_rate: Adam's rate for the logarithm of activation steps.
        drop: probability that a value is left unquantized in a step: 0 is BRECQ, 0.5 QDrop.
        images, memory: as for `AdaRound`.
        seed: of batches and drops.
        watch: told the block's last node, and the mean squared error of its output before and after.
    """

    schedule: Schedule = field(default_factory=lambda: Schedule(iterations=500, rate=0.02))
    batch: int = 16
    step_rate: float = 1e-3
    drop: float = 0.0
    images: int = 512
    memory: int = 1 << 30
    seed: int = 0
    watch: Watch | None = None

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """`model` with inner weights on their grids as was learnt, and learnt activation steps.

        Raises:
            ClinquantError: `pass-order`.
        """
        floats = model.needs_floats(by="ReconstructBlocks")
        twins = Twins(model, floats, images_within(model, calibration, self.images, self.memory))
        twins.on_grids.activations = activations = dict(model.activations)
        changes: dict[str, Node | None] = {}
        done = 0
        for nodes in blocks(floats):
            learnt = self.reconstructed(nodes, floats, model, twins)
            activations |= learnt.activations
            changes |= learnt.nodes
            for node in nodes:
                twins.advance(node, learnt.params(node))
                done += 1
                calibration.tell(done, len(floats.nodes))
        return replace(model, network=model.network.replaced(changes), activations=activations)

    def reconstructed(self, nodes: tuple[Node, ...], floats: Network, model: Model, twins: Twins) -> Learnt:
        """What is learnt for one block, whose inputs `twins` have computed."""
        layers = [node for node in nodes if node.name in inner_layers(floats) and node.name in model.weights]
        if not layers:
            return Learnt()
        generator = torch.Generator().manual_seed(self.seed)
        block, cached = Block(nodes, model, twins.on_grids, tied(floats), generator), Cached.of(nodes, twins)
        before, steps = block.error(cached), block.copied_steps()
        block.weights = "soft"
        self.learn(block, cached, generator)
        block.weights = "decided"
        after = block.error(cached)
        if after >= before:
            block.restore(steps)
        if self.watch:
            self.watch(nodes[-1].name, before, min(before, after))
        return block.learnt()

    def learn(self, block: Block, cached: Cached, generator: torch.Generator) -> None:
        """Minimises the block's error, the regulariser of rounding included."""
        rounding = [{"params": list(block.rounding.values()), "lr": self.schedule.rate}]
        steps = [{"params": list(block.steps.parameters()), "lr": self.step_rate}] if len(block.steps) else []
        optimizer = torch.optim.Adam([*rounding, *steps], fused=True)
        for iteration in range(self.schedule.iterations):
            chosen = torch.randint(0, len(cached.target), (self.batch,), generator=generator)
            x = block.mixed(cached.floats[chosen], cached.quantized[chosen], self.drop)
            loss = mean_error(block(x, drop=self.drop), cached.target[chosen])
            beta = self.schedule.beta_at(iteration)
            if beta is not None:
                loss = loss + self.schedule.regularisation * block.undecided(beta)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
