"""Saliency-guided training (Ismail, Corrada Bravo and Feizi 2021, arXiv 2111.14338): what the gradient calls unimportant must not matter.

minimise CE(f(X), y) + lambda KL(f(X) || f(X~)) (eq. 1), where X~ is X with the k least salient positions replaced (Algorithm 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from clinquant.core.errors import ClinquantError
from clinquant.lab.objectives.divergence import divergence
from clinquant.lab.objectives.mode import evaluating, unmoved
from clinquant.lab.objectives.objective import Batch, Forward
from clinquant.lab.objectives.twin import twin_of

FILLS = ("uniform", "mean")
RANKS = ("signed", "abs")


@dataclass(frozen=True, kw_only=True)
class SaliencyGuided:
    """Adds weight KL(f(X) || f(X~)) to the loss.

    The saliency of a position is the gradient of the true class's logit, in evaluation mode, averaged over the channels; it is a constant
    to the loss. Gradients of the loss run through f(X) and through f(X~), and through fake quantizers where there are any. Neither pass
    moves batch norm statistics, ranges or anything else that the module keeps. Differs from the paper: k rises from 0 at first.

    Attributes:
        k: share of the positions that are replaced, 0 to 1. The published code's default is .1, its example has .5.
        fill: `uniform` between the least and the greatest value of that image's channel, or the channel's `mean`.
        rank: `signed`, as the text of the paper has it: the lowest gradients are replaced; `abs`: those nearest to zero.
        weight: lambda.
        ramp: share of all steps during which k rises, linearly, from 0.
    """

    k: float = 0.5
    fill: str = "uniform"
    rank: str = "signed"
    weight: float = 1.0
    ramp: float = 0.2

    def __post_init__(self) -> None:
        known = self.fill in FILLS and self.rank in RANKS
        if not known or not 0 <= self.k <= 1 or not self.weight >= 0 or not 0 <= self.ramp <= 1:
            raise ClinquantError(
                "objective-invalid",
                f"saliency-guided training: k {self.k}, fill {self.fill!r}, rank {self.rank!r}, weight {self.weight}, ramp {self.ramp}.",
                fix=f"k and ramp are 0 to 1, weight 0 or more, fill one of {', '.join(FILLS)}, rank one of {', '.join(RANKS)}.",
            )

    def answering(self, module: nn.Module) -> nn.Module:
        """The module with the training kernels, which also shorten the pass that is there anyway."""
        return quicker(module)

    def term(self, batch: Batch) -> Tensor | None:
        """The divergence, nats, mean over the images; None before the first position is replaced."""
        side = batch.images.shape[-2:]
        positions = int(self.share_replaced(batch.share) * side.numel())
        if not positions or not self.weight:
            return None
        gradient = saliency(quicker(batch.module), batch.images, batch.labels, batch.forward)
        if self.rank == "abs":
            gradient = gradient.abs()
        masked = replaced(batch.images, least(gradient.mean(1), positions), self.fill)
        return self.weight * divergence(batch.logits, batch.forward(unmoved(quicker(batch.module)), masked))

    def share_replaced(self, share: float) -> float:
        """k at `share` of all steps."""
        return self.k * min(1.0, share / self.ramp) if self.ramp else self.k


def saliency(module: nn.Module, images: Tensor, labels: Tensor, forward: Forward) -> Tensor:
    """d logit of the true class / d images, float32 [n, c, s, s], in evaluation mode.

    With respect to pixels, not to normalised ones: the same but for a factor, since colours share one deviation in every `Preprocess`
    here but where the caller made his own.
    """
    given = images.detach().requires_grad_()
    with torch.enable_grad(), evaluating(module):
        chosen = forward(module, given).gather(1, labels[:, None]).sum()
        (found,) = torch.autograd.grad(chosen, given)
    return found


def quicker(module: nn.Module) -> nn.Module:
    """What computes the same as `module`, with the training kernels where they fit."""
    return twin_of(module) or module


def least(saliency: Tensor, positions: int) -> Tensor:
    """bool [n, h, w]: the `positions` least salient of every image of float32 [n, h, w]."""
    flat = saliency.flatten(1)
    if flat.device.type == "cpu":  # numpy selects in a third of the time
        lowest = torch.from_numpy(np.argpartition(flat.numpy(), positions - 1, axis=1)[:, :positions])
    else:
        lowest = flat.topk(positions, dim=1, largest=False, sorted=False).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, lowest, True).view_as(saliency)


def replaced(images: Tensor, mask: Tensor, fill: str) -> Tensor:
    """`images` [n, c, h, w] with the positions of `mask` [n, h, w] replaced in all channels; draws from torch's generator."""
    if fill == "mean":
        values = images.mean((2, 3), keepdim=True)
    else:
        lowest, highest = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
        values = lowest + (highest - lowest) * noise(images)
    return torch.where(mask[:, None], values, images)


def noise(images: Tensor) -> Tensor:
    """float32 in [0, 1), shaped as `images`, seeded by torch's generator; numpy draws four times as fast on a processor."""
    generator = np.random.default_rng(int(torch.randint(2**62, ())))
    return torch.from_numpy(generator.random(tuple(images.shape), np.float32)).to(images.device)
