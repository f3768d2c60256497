"""What users' networks have and the zoo has not: each is traced as it computes, and its file equals the reference on every code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.core.reference import execute
from clinquant.edge.agree.agree import compare_file
from clinquant.edge.agree.targets import target_module
from clinquant.edge.runtimes.onnxruntime import load
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.execute import Executor, normalised
from clinquant.lab.quantize.fake_quant import METHODS
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.qat import FakeQuantized
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.recipes import RECIPES, begin, run_recipes
from clinquant.lab.quantize.simulate import Simulation
from clinquant.lab.quantize.trace.exported import trace_exported
from clinquant.lab.quantize.trace.symbolic import trace_symbolically
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.quantize.widths import inner_layers
from clinquant.lab.rehearsal import rehearse
from test_exactness import every_tensor, images

SIZE = 28


class Net(nn.Module):
    """A stem, two layers of eight channels with batch norm, and a head; `middle` is what lies between stem and head."""

    def __init__(self, middle: Callable[[Net, Tensor], Tensor], head: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.one, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.two, self.other_norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.middle = middle
        self.head = head or nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.middle(self, self.stem(x)))
        return logits


def before_activation(net: Net, x: Tensor) -> Tensor:
    """ResNet v2 (He et al. 2016, arXiv 1603.05027)."""
    y = net.one(F.relu(net.norm(x)))
    return F.relu(net.other_norm(x + net.two(y)))


def dense(net: Net, x: Tensor) -> Tensor:
    """DenseNet (Huang et al. 2017, arXiv 1608.06993): batch norm of what was concatenated."""
    x = torch.cat([net.one(x)[:, :4], x[:, 4:]], 1)
    return F.relu(net.other_norm(net.two(F.relu(net.norm(x)))))


def same_padding(net: Net, x: Tensor) -> Tensor:
    net.one.padding, net.one.dilation = "same", (2, 2)
    net.two.padding = "valid"
    return F.relu(net.two(F.relu(net.norm(net.one(x)))))


def written_over(net: Net, x: Tensor) -> Tensor:
    """x is the rectified one where it is read again."""
    y = net.norm(net.one(F.relu(x, inplace=True)))
    y += x
    return net.two(y.clamp_(min=0))


def twice(net: Net, x: Tensor) -> Tensor:
    x = F.relu(net.norm(net.one(x)))
    x = net.two(x + x)
    return x * x


def bounded(net: Net, x: Tensor) -> Tensor:
    x = torch.clamp(net.norm(net.one(x)), min=0)
    return F.hardtanh(net.two(x), -0.5, 0.75)


def difference(net: Net, x: Tensor) -> Tensor:
    x = F.mish(x)
    return F.relu(net.norm(net.one(x)) - net.two(x))


def plain(net: Net, x: Tensor) -> Tensor:
    return F.relu(net.two(F.relu(net.norm(net.one(x)))))


def pooled_to(side: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.Linear(8 * side * side, 3))


@dataclass(frozen=True)
class Case:
    build: Callable[[], nn.Module]
    inner: set[str]


def weight_normed() -> nn.Module:
    net = Net(plain)
    net.one = nn.utils.parametrizations.weight_norm(net.one)
    return net


BODY = {"one", "two"}
CASES: dict[str, Case] = {
    "before_activation": Case(lambda: Net(before_activation), BODY),
    "dense": Case(lambda: Net(dense), BODY),
    "same_padding": Case(lambda: Net(same_padding), BODY),
    "written_over": Case(lambda: Net(written_over), BODY),
    "twice": Case(lambda: Net(twice), BODY),
    "bounded": Case(lambda: Net(bounded), BODY),
    "difference": Case(lambda: Net(difference), BODY),
    "weight_norm": Case(weight_normed, BODY),
    "one_slope": Case(lambda: nn.Sequential(Net(plain).stem, nn.PReLU(), nn.Conv2d(8, 8, 1), nn.PReLU(), pooled_to(1)), {"2"}),
    "pooled_to_a_divisor": Case(lambda: Net(plain, pooled_to(7)), BODY),
    "pooled_to_its_own_size": Case(lambda: Net(plain, pooled_to(14)), BODY),
    "pool_that_rounds_up_nothing": Case(
        lambda: Net(plain, nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(7, count_include_pad=False), pooled_to(1))), BODY
    ),
    "pool_that_rounds_up": Case(
        lambda: Net(plain, nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(2, 3, 1, ceil_mode=True), pooled_to(1))), BODY
    ),
    "convolution_before_pooling": Case(lambda: Net(plain, nn.Sequential(nn.Conv2d(8, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())), BODY),
    "convolution_behind_pooling": Case(lambda: Net(plain, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 3, 1), nn.Flatten())), BODY),
    "norms_of_vectors": Case(
        lambda: Net(
            plain,
            nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(8), nn.Linear(8, 12), nn.ReLU(), nn.BatchNorm1d(12), nn.Linear(12, 3)
            ),
        ),
        BODY | {"head.3"},
    ),
}


ALSO_EXPORTED = ("before_activation", "norms_of_vectors")
"""What torch.fx traces and torch.export must trace alike."""


def lived_in(case: Case) -> Classifier:
    """The network with random weights and batch norms that have seen images."""
    torch.manual_seed(0)
    module = case.build()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.2)
    card = Card(architecture="users", classes=tuple("abc"), positive=None, preprocess=Preprocess(size=SIZE))
    with torch.no_grad():
        for seed in range(3):
            module.train()(normalised(images(SIZE, 8, seed), card.preprocess))
    return Classifier(module=module.eval(), card=card)


@pytest.mark.parametrize("name", CASES)
def test_it_is_traced_as_it_computes_and_exact_on_every_code(name: str, tmp_path: Path) -> None:
    source, pixels = lived_in(CASES[name]), images(SIZE, 4, 5)
    rehearse(source.module, source.card, bits="w4a4")
    network = trace(source.module, SIZE)
    if name in ALSO_EXPORTED:
        assert [node.op for node in trace_exported(source.module, SIZE)] == [node.op for node in trace_symbolically(source.module)]
    assert inner_layers(network) == CASES[name].inner
    with torch.no_grad():
        expected = source.module(normalised(pixels, source.card.preprocess)).numpy()
    assert np.allclose(Executor(network)(normalised(pixels, source.card.preprocess)).numpy(), expected, atol=1e-4)
    file = export_float(fold_batch_norm(network), source.card.preprocess, tmp_path / "float.onnx")
    assert np.allclose(load(file).run(pixels).logits, expected, atol=1e-4)
    for bits, error in (("w8a8", 0.1), ("w4a4", 1.0)):
        program = lower(quantize(source, images(SIZE, 16, 1), bits=bits, recipes=("mse",))["mse"])
        path, found = export_integer(program, tmp_path / f"{bits}.onnx"), execute(program, pixels)
        assert np.array_equal(Simulation(program)(pixels).numpy(), found["logits"])
        assert np.abs(found["logits"] - expected).max() < error * np.abs(expected).max(), bits
        for optimised in (False, True):
            for tensor, codes in every_tensor(path, program, pixels, optimised=optimised).items():
                assert tensor == "pixels" or np.array_equal(codes, found[tensor]), (bits, tensor, optimised)


@pytest.mark.parametrize("target", ["wasm-node", "x86-no-vnni"])
def test_pooling_that_rounds_up_is_the_same_elsewhere(target: str, tmp_path: Path) -> None:
    """Windows that reach beyond the padding, in WebAssembly and on an older processor."""
    if reason := target_module(target).missing():
        pytest.skip(reason)
    program = lower(quantize(lived_in(CASES["pool_that_rounds_up"]), images(SIZE, 16, 1), recipes=("mse",))["mse"])
    compared = compare_file(export_integer(program, tmp_path / "model.onnx"), list(images(SIZE, 4, 5)), [target]).targets[0]
    assert compared.agrees and compared.differing_bytes == 0


def test_an_average_that_rounds_up_is_refused_by_its_name() -> None:
    """What it divides by is not the window's size at the edge."""
    with pytest.raises(ClinquantError, match=r"average pooling that rounds up \(ceil_mode\)") as caught:
        trace(Net(plain, nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True), pooled_to(1))), SIZE)
    assert caught.value.code == "operator-unsupported"


def test_what_begins_at_nought_is_rehearsed_as_if_it_had_lived() -> None:
    """The last batch norm of a residual branch, and a class token, begin at 0 in the reference implementations."""
    net = Net(before_activation)
    nn.init.zeros_(net.other_norm.weight)
    nn.init.zeros_(net.two.weight)
    nn.init.zeros_(net.two.bias)
    card = Card(architecture="users", classes=tuple("abc"), positive=None, preprocess=Preprocess(size=SIZE))
    rehearse(net, card)
    assert not net.two.weight.any(), "the network itself stays as it is"


def test_a_constant_of_zeros_lies_on_any_grid() -> None:
    class Shifted(Net):
        def __init__(self) -> None:
            super().__init__(plain)
            self.register_buffer("shift", torch.zeros(8, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(plain(self, self.stem(x) + self.shift))
            return logits

    source = lived_in(Case(Shifted, BODY))
    program = lower(quantize(source, images(SIZE, 8, 1), recipes=("mse",))["mse"])
    assert "shift" in program.tensors or any("shift" in name for name in program.tensors)


def test_a_dead_layer_is_named_by_its_own_name() -> None:
    source = lived_in(Case(lambda: Net(plain), BODY))
    two = source.module.two
    assert isinstance(two, nn.Conv2d) and two.bias is not None
    nn.init.constant_(two.bias, -1000.0)
    with pytest.raises(ClinquantError, match=r"\[range-empty\] two: its output was 0"):
        quantize(source, images(SIZE, 8, 1), recipes=("mse",))


def test_what_torch_export_prints_of_a_network_that_it_cannot_trace_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    def depends(net: Net, x: Tensor) -> Tensor:
        return net.one(x) if x.sum() > 0 else net.two(x)

    with pytest.raises(ClinquantError, match="control flow"):
        trace(Net(depends), SIZE)
    assert capfd.readouterr() == ("", "")


def negative(net: Net, x: Tensor) -> Tensor:
    """A tensor that inner layers read and that has nothing above zero."""
    return net.two(-2.0 * F.relu(net.norm(net.one(x))) - 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_training_takes_a_tensor_without_positive_values(method: str) -> None:
    source = lived_in(Case(lambda: Net(negative), BODY))
    calibration = Calibration(pixels=images(SIZE, 8, 1), preprocess=source.card.preprocess)
    start = run_recipes(begin(source, "w2a2"), calibration, {"mse": RECIPES["mse"]})["mse"]
    module = FakeQuantized(start.traced, start, method).train()
    module(normalised(images(SIZE, 8, 2), source.card.preprocess)).square().sum().backward()
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    assert len(gradients) > 8 and all(gradient.isfinite().all() for gradient in gradients)
