"""What torch.fx cannot trace, torch.export can: the same networks by both ways, and what neither takes is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.quantize.execute import Executor
from clinquant.lab.quantize.trace.exported import trace_exported
from clinquant.lab.quantize.trace.symbolic import trace_symbolically
from clinquant.lab.quantize.trace.trace import trace
from networks import Branches, EveryFunction, Plain, SmallHardSwish, SmallSiLU

BOTH: dict[str, Callable[[], nn.Module]] = {
    "branches": Branches,
    "plain": Plain,
    "every_function": EveryFunction,
    "small_silu": SmallSiLU,
    "small_hard_swish": SmallHardSwish,
    "resnet20": lambda: ARCHITECTURES["resnet20"].build(2),
}


class Asking(nn.Module):
    """Control flow on a shape, channels split and joined, a running statistic as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 4, 1), nn.Linear(8, 2)
        self.register_buffer("shift", torch.randn(8, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x.shape) != 4:
            raise ValueError("images only")
        a, b = (self.conv(x).relu_() + self.shift).chunk(2, dim=1)
        return self.head(torch.cat([self.other(a), b], dim=1).mean((2, 3)))


def operators(network: Network) -> list[tuple[str, str]]:
    return [(node.name, node.op) for node in network if "weight" in node.params or node.op in ("batch_norm", "max_pool", "add", "mul")]


@pytest.mark.parametrize("name", BOTH)
def test_both_ways_trace_the_same_layers(name: str) -> None:
    module, x = BOTH[name]().eval(), torch.randn(3, 3, 28, 28)
    symbolic, exported = trace_symbolically(module), trace_exported(module, 28)
    assert [op for _, op in operators(symbolic)] == [op for _, op in operators(exported)]
    named = [{node.name for node in network if node.op in ("conv", "linear", "batch_norm")} for network in (symbolic, exported)]
    assert named[0] == named[1]
    with torch.no_grad():
        assert torch.allclose(Executor(symbolic)(x), Executor(exported)(x), atol=1e-5)
        assert torch.allclose(Executor(exported)(x), module(x), atol=1e-5)


def test_control_flow_on_shapes_needs_the_size() -> None:
    module, x = Asking().eval(), torch.randn(4, 3, 20, 20)
    with pytest.raises(ClinquantError, match=r"torch\.fx"):
        trace(module)
    with torch.no_grad():
        assert torch.allclose(Executor(trace(module, 20))(x), module(x), atol=1e-5)


class Changing(Asking):
    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.change(x))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda x: x.cumsum(1), "operator-unsupported", "cumsum"),
        (lambda x: x.softmax(1), "operator-unsupported", "softmax over axis 1"),
        (lambda x: x[:, :, ::2], "operator-unsupported", "steps"),
        (lambda x: x.div(x.relu() + 1), "operator-unsupported", "quotient"),
        (lambda x: x.mean(0, keepdim=True) + x, "operator-unsupported", "mean over"),
        (lambda x: nn.functional.pad(x, (1, 1, 1, 1)).relu(), "operator-unsupported", "zero padding before"),
        (lambda x: torch.cat([x, x], 2), "operator-unsupported", "along axis 2"),
        (lambda x: x if x.sum() > 0 else -x, "trace-failed", "control flow"),
    ],
)
def test_what_neither_way_takes_is_named(change: Callable[[torch.Tensor], torch.Tensor], code: str, words: str) -> None:
    with pytest.raises(ClinquantError) as caught:
        trace(Changing(change), 20)
    assert caught.value.code == code and words in f"{caught.value}"
