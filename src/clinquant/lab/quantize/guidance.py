"""What quantization-aware training adds to the loop: a rate of their own for grids, a teacher, and rest for oscillating weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clinquant.core.artifact import sha256_json
from clinquant.core.graph import Network
from clinquant.lab.guide import Guide
from clinquant.lab.objectives import Batch
from clinquant.lab.objectives.divergence import divergence
from clinquant.lab.quantize.execute import RULES
from clinquant.lab.quantize.fake_quant import FakeQuantizer
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.naming import child_name
from clinquant.lab.quantize.oscillation import dampening
from clinquant.lab.quantize.qat import FakeQuantized

RATE = 1e-3
"""Of weights that have 2 bits, or start far from the float network."""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How quantization-aware training differs from float training.

    Attributes:
        rate: of weights, at its peak; the cosine schedule is that of float training. None takes `rate_at`.
        grid_share: rate of what fake quantizers learn, as a multiple of `rate`; no decay.
        weight_decay: decoupled. LSQ halves L2 at 3 bits and quarters it at 2; decoupled, at these rates, a whole run shrinks a weight by
            less than a hundredth, so widths share one.
        distillation: weight of KL(teacher || student), at temperature 1; 0 leaves the teacher out.
        labels: weight of the cross-entropy with the labels, and of what quantizers ask for beside it. It would draw the network on from the
            float one that it stands for, at any width; it is 1 without a teacher, and where objectives stand beside it.
        dampening: weight of the penalty on distances from the middle of bins, risen to by a cosine (2203.11086, eq. 8); 0 leaves it out.
        freezing: threshold of turns a step above which a weight is frozen, or None. LSQ weights only, as `dampening`.
        settling: epochs of `Settle` afterwards, as a share of those with live batch norm; 0 leaves it out.
        settling_rate: peak rate of weights and biases then.
    """

    rate: float | None = None
    grid_share: float = 1.0
    weight_decay: float = 0.01
    distillation: float = 1.0
    labels: float = 0.01
    dampening: float = 0.0
    freezing: float | None = None
    settling: float = 0.3
    settling_rate: float = 1e-4


def rate_at(largest: int) -> float:
    """A peak rate at which weights whose largest code is `largest` move by about as many steps of their grid as 2-bit ones, whose is 1."""
    return RATE / largest


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningGuide(Guide):
    """Guides `fit` as `learning` says."""

    learning: Learning = field(default_factory=Learning)

    @property
    def key(self) -> str:
        """Hash of the numbers, the objectives and the teacher's weights."""
        return sha256_json([self.learning, self.keeps_last]) + super().key

    @property
    def labels(self) -> float:
        """Weight of the cross-entropy."""
        return 1.0 if self.objectives or not self.taught else self.learning.labels

    @property
    def taught(self) -> bool:
        """Whether the teacher's answers are learnt from."""
        return bool(self.learning.distillation) and self.teacher is not None

    def groups(self, module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """What quantizers learn apart, at its own share of the rate and without decay."""
        quantizers = [layer for layer in module.modules() if isinstance(layer, FakeQuantizer)]
        grids = [parameter for quantizer in quantizers for parameter in quantizer.parameters() if parameter.requires_grad]
        known = {id(parameter) for parameter in grids}
        others = [group | {"params": [p for p in group["params"] if id(p) not in known]} for group in super().groups(module, weight_decay)]
        return [*others, {"params": grids, "weight_decay": 0.0, "share": self.learning.grid_share}] if grids else others

    def terms(self, batch: Batch) -> list[Tensor]:
        """Distillation, what the quantizers ask for, dampening, and the objectives."""
        module = batch.module
        penalties = [p for layer in module.modules() if isinstance(layer, FakeQuantizer) and (p := layer.penalty()) is not None]
        parts = [self.labels * penalty for penalty in penalties]
        if self.taught:
            assert self.teacher is not None
            with torch.no_grad():
                taught = batch.forward(self.teacher, batch.images)
            parts.append(self.learning.distillation * divergence(taught, batch.logits))
        if self.learning.dampening and isinstance(module, FakeQuantized):
            strength = self.learning.dampening * 0.5 * (1 - math.cos(math.pi * batch.share))
            parts += [strength * dampening(weight, quantizer) for weight, quantizer in module.learnt_weights().values()]
        return [*parts, *super().terms(batch)]

    def settle(self, module: nn.Module) -> None:
        """Freezes weights that oscillate."""
        if self.learning.freezing is not None and isinstance(module, FakeQuantized):
            for key, (weight, quantizer) in module.learnt_weights().items():
                module.oscillations[key].settle(weight, quantizer, self.learning.freezing)  # type: ignore[operator]


class Teacher(nn.Module):
    """The float network, batch norm folded, that only answers.

    Attributes:
        feature: [n, c, h, w] before the global pooling, of the last forward; None where the network ends otherwise.
        tap: what that map goes through, for whoever hooks onto it.
    """

    def __init__(self, traced: Network) -> None:
        super().__init__()
        self.network = fold_batch_norm(traced)
        self.classifier = self.network.classifier()
        self.feature: Tensor | None = None
        self.tap = nn.Identity()
        for node in self.network:
            for role, array in node.params.items():
                self.register_buffer(child_name(f"{node.name}/{role}"), torch.tensor(array))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, k] of normalised images [n, 3, s, s]."""
        held = dict(self.named_buffers())
        values: dict[str, Tensor] = {}
        for node in self.network:
            inputs = [values[name] for name in node.inputs] or [x]
            params = {role: held[child_name(f"{node.name}/{role}")] for role in node.params}
            value = RULES[node.op](node, inputs, params)
            values[node.name] = self.tap(value) if self.classifier and node.name == self.classifier[0] else value
        self.feature = values[self.classifier[0]] if self.classifier else None
        return values[self.network.output.name]

    @property
    def class_weights(self) -> Tensor:
        """[classes, c] of the last linear layer."""
        assert self.classifier is not None
        return self.get_buffer(child_name(f"{self.classifier[1].name}/weight"))
