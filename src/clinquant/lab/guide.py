"""What a special kind of training adds to the loop of `fit`. This one adds its objectives, and none by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clinquant.core.artifact import sha256_json
from clinquant.lab.objectives import Batch, Objective
from clinquant.lab.quantize.fused.build import arithmetic
from clinquant.lab.weights import sha256_tensors


@dataclass(frozen=True, kw_only=True, eq=False)
class Guide:
    """A guide is part of what determines a run's result: all it holds must enter `key`.

    Attributes:
        objectives: terms of the loss beside the cross-entropy.
        teacher: a network that only answers, moved to the plan's device, or None.
        keeps_last: take the averaged weights of the last epoch, rather than of the one with the lowest loss on tune.
    """

    objectives: tuple[Objective, ...] = ()
    teacher: nn.Module | None = None
    keeps_last: bool = False

    @property
    def key(self) -> str:
        """Hash of all that the guide holds; empty where it adds nothing."""
        held = {type(objective).__name__: objective for objective in self.objectives}
        return (sha256_json([held, arithmetic()]) if held else "") + (sha256_tensors(self.teacher.state_dict()) if self.teacher else "")

    @property
    def labels(self) -> float:
        """Weight of the cross-entropy with the labels."""
        return 1.0

    def groups(self, module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """The optimizer's groups, each with its `weight_decay` and, where its rate is not the plan's, its `share` of it.

        Weights of convolutions and linear layers decay; biases and batch norm do not.
        """
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        return [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]

    def answering(self, module: nn.Module) -> nn.Module:
        """What answers a training batch: `module`, or its like on the same tensors."""
        for objective in self.objectives:
            module = objective.answering(module)
        return module

    def terms(self, batch: Batch) -> list[Tensor]:
        """What is added to the cross-entropy, one by one."""
        return [term for objective in self.objectives if (term := objective.term(batch)) is not None]

    def extra(self, batch: Batch) -> Tensor | None:
        """What is added to the cross-entropy of a batch, in all."""
        terms = self.terms(batch)
        return torch.stack(terms).sum() if terms else None

    def settle(self, module: nn.Module) -> None:
        """Called after every optimizer step."""
