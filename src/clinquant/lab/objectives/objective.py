"""What an objective is: a term of the loss, from one batch and the network that answered it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

Answer = Callable[[Tensor], Tensor]
"""What takes normalised images [n, 3, s, s] and gives logits [n, k]: a module, or a call of one with other tensors."""
Forward = Callable[[Answer, Tensor], Tensor]
"""(what answers, float32 images [n, 3, s, s] in [0, 255]) -> float32 logits [n, k], in the plan's precision."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One training batch, answered.

    Attributes:
        module: the network, in training mode.
        images: float32 [n, 3, s, s] in [0, 255], augmented.
        labels: int64 [n].
        logits: float32 [n, k] of `images`, with their graph.
        forward: gives the logits of other images, in the plan's precision.
        share: of all steps, how many are done.
        teacher: the float network where there is one.
        feature: [n, c, h, w] before the global pooling, of `images`, where the network keeps it (see `FakeQuantized`).
    """

    module: nn.Module
    images: Tensor
    labels: Tensor
    logits: Tensor
    forward: Forward
    share: float
    teacher: nn.Module | None = None
    feature: Tensor | None = None


class Objective(Protocol):
    """A frozen dataclass of numbers: its name and they determine what it asks for."""

    def answering(self, module: nn.Module) -> nn.Module:
        """What answers the batch itself: `module`, or its like on the same tensors."""

    def term(self, batch: Batch) -> Tensor | None:
        """What the loss is raised by, nats or without unit, []; None where nothing is asked yet."""
