"""What a special kind of training adds to the loop of `fit`. This one adds nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Forward = Callable[[nn.Module, Tensor], Tensor]
"""(module, float32 images [n, 3, s, s] in [0, 255]) -> float32 logits [n, k], in the plan's precision."""


class Guide:
    """A guide is part of what determines a run's result: all it holds must enter `key`.

    Attributes:
        teacher: a network that only answers, moved to the plan's device, or None.
        keeps_last: take the averaged weights of the last epoch, rather than of the one with the lowest loss on tune.
    """

    teacher: nn.Module | None = None
    keeps_last: bool = False

    @property
    def key(self) -> str:
        """Hash of all that the guide holds."""
        return ""

    def groups(self, module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """The optimizer's groups, each with its `weight_decay` and, where its rate is not the plan's, its `share` of it.

        Weights of convolutions and linear layers decay; biases and batch norm do not.
        """
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        return [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]

    def extra(self, module: nn.Module, images: Tensor, logits: Tensor, forward: Forward, share: float) -> Tensor | None:
        """What is added to the cross-entropy of `logits`, at `share` of all steps."""
        return None

    def settle(self, module: nn.Module, share: float) -> None:
        """Called after every optimizer step."""
