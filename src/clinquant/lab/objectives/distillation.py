"""Distillation (Hinton et al. 2015, arXiv 1503.02531): a small network learns the answers of a larger one beside the labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clinquant.core.errors import ClinquantError
from clinquant.lab.objectives.divergence import divergence
from clinquant.lab.objectives.objective import Batch


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Adds weight T^2 KL(teacher || student) of both answers' logits divided by T, mean over the images, to the loss (section 2).

    Attributes:
        weight: of the term.
        temperature: T; above 1 the teacher's small probabilities count as well. T^2 keeps the gradients' size.
    """

    weight: float = 1.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not (self.weight >= 0 and self.temperature > 0):
            raise ClinquantError(
                "objective-invalid",
                f"distillation with weight {self.weight} and temperature {self.temperature}.",
                fix="give a weight of 0 or more and a temperature above 0.",
            )

    def answering(self, module: nn.Module) -> nn.Module:
        """The module."""
        return module

    def term(self, batch: Batch) -> Tensor | None:
        """The divergence times weight and T^2, nats. Raises ClinquantError `objective-unfit` where there is no teacher."""
        if batch.teacher is None:
            raise ClinquantError("objective-unfit", "distillation needs a teacher.", fix="give --teacher RUN.")
        with torch.no_grad():
            taught = batch.forward(batch.teacher, batch.images)
        t = self.temperature
        return self.weight * t * t * divergence(taught / t, batch.logits / t)
