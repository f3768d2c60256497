"""The linter names what is known to lose, and keeps silent on what is not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.quantize.lint import LINTERS, lint
from clinquant.lab.quantize.trace.trace import trace
from networks import SmallHardSwish, SmallSiLU, SmallTransformer


class Depthwise(nn.Module):
    """One depthwise convolution and one other, both with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16)
        self.deep, self.deep_norm = nn.Conv2d(16, 16, 3, groups=16), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.deep_norm(self.deep(self.norm(self.conv(x)).relu())).relu().mean((2, 3)))


def found(module: nn.Module) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.layers for finding in lint(trace(module))}


def test_smooth_activations_and_squeeze_excite_are_named() -> None:
    assert found(SmallSiLU()) == {"smooth": ("stem.2", "expand.2", "depthwise.2", "silu", "last.2"), "squeeze_excite": ("mul",)}
    assert found(SmallHardSwish()) == {"hard_swish": tuple(f"layers.{index}" for index in (2, 5, 9, 12, 16)), "squeeze_excite": ("mul",)}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_untrained_zoo_networks_have_nothing(name: str) -> None:
    assert found(ARCHITECTURES[name].build(2)) == {}


@pytest.mark.parametrize(("layer", "kind"), [("norm", "unequal"), ("deep_norm", "depthwise")])
def test_unequal_channels_are_seen_behind_batch_norm(layer: str, kind: str) -> None:
    module = Depthwise()
    assert found(module) == {}
    module.get_submodule(layer).weight.data[3] = 40.0
    assert found(module) == {kind: ({"norm": "conv", "deep_norm": "deep"}[layer],)}


def test_dead_channels_are_counted() -> None:
    module = Depthwise()
    module.deep_norm.weight.data[[1, 5, 9]] = 0.0
    (finding,) = lint(trace(module))
    assert finding.kind == "dead" and finding.layers == ("deep",) and str(finding).startswith("3 dead channels (deep)")


def test_every_finding_is_one_line_with_a_reason_and_advice() -> None:
    module = SmallSiLU()
    module.project[1].weight.data[0] = 0.0
    module.last[1].weight.data[0] = 99.0
    module.depthwise[1].weight.data[0] = 99.0
    findings = [*lint(trace(module)), *lint(trace(SmallHardSwish())), *lint(trace(SmallTransformer(), 28))]
    assert {finding.kind for finding in findings} == set(LINTERS)
    for finding in findings:
        assert "\n" not in str(finding) and finding.why.endswith(".") and finding.advice.endswith(".")
