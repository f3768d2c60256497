"""The pass that trains what is deployed: its network equals the exported file, and stays so while it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from clinquant.core.affine import QParams, TensorSpec, quantize, quantize_bias
from clinquant.core.card import Card
from clinquant.core.integer import Conv, Linear
from clinquant.core.preprocess import Preprocess
from clinquant.core.reference import execute
from clinquant.edge.runtimes.onnxruntime import load
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.fake_quant import FixedGrid
from clinquant.lab.quantize.fused.execute import FusedStep
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.naming import child_name
from clinquant.lab.quantize.passes import Settle
from clinquant.lab.quantize.qat import FakeQuantized
from clinquant.lab.quantize.settled import Settled
from clinquant.lab.quantize.simulate import Simulation
from clinquant.lab.quantize.trace.trace import trace
from small_training import small_plan, spots
from test_exactness import NETWORKS, classifier, images
from test_qat import rounded


@pytest.mark.parametrize("bits", ["w8a8", "w4a4", "w2a2"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name in ("branches", "plain", "resnet20", "mobilenet_v2")])
def test_the_network_that_learns_is_the_one_that_is_exported(name: str, bits: str, tmp_path: Path) -> None:
    """Up to the order of summation, that is: a code may differ where a sum lies on a threshold."""
    source = classifier(name)
    preprocess = source.card.preprocess
    model = rounded(source, images(preprocess.size, 8, 1), bits)
    pixels = images(preprocess.size, 8, 2)
    with torch.no_grad():
        simulated = Settled(model).eval()(normalised(pixels, preprocess)).numpy()
    deployed = load(export_integer(lower(model.quantized("x")), tmp_path / "integer.onnx")).run(pixels).logits
    far = np.abs(simulated - deployed)
    largest = np.abs(deployed).max()
    near = {"plain": 1e-4, "resnet20": 2e-3}.get(name, 5e-2)  # in deeper ones a code that differs is met by more layers
    assert np.median(far) < near * largest, (np.median(far), far.max(), largest)


def test_what_was_learnt_is_exported(tmp_path: Path) -> None:
    source, train, tune = classifier("resnet20"), spots(64, 1, side=28), spots(32, 2, side=28)
    preprocess = source.card.preprocess
    start = rounded(source, images(28, 8, 1), "w2a2")
    plan = small_plan(epochs=2, classes=3, class_weights=(1.0, 1.0, 1.0), preprocess=preprocess)
    settle = Settle(train=train, tune=tune, plan=plan, folder=tmp_path / "settle")
    learnt = settle(start, Calibration(pixels=train[0], preprocess=preprocess))
    assert learnt.activations is start.activations and learnt.weights is start.weights
    changed = [
        name for name in start.weights if not np.array_equal(start.network[name].params["weight"], learnt.network[name].params["weight"])
    ]
    assert len(changed) > 0.9 * len(start.weights)
    with torch.no_grad():
        simulated = Settled(learnt).eval()(normalised(tune[0], preprocess)).numpy()
    program = lower(learnt.quantized("x"))
    deployed = load(export_integer(program, tmp_path / "integer.onnx")).run(tune[0]).logits
    assert (simulated.argmax(1) == deployed.argmax(1)).mean() > 0.95
    assert np.median(np.abs(simulated - deployed)) < 1e-4 * np.abs(deployed).max()
    assert all(operator.bias.dtype == np.int32 for operator in program.operators if isinstance(operator, Conv | Linear))


def test_rounding_passes_gradients_on_within_the_grid() -> None:
    grid = QParams(spec=TensorSpec(bits=2), scale=np.asarray(0.5, np.float32), zero_point=np.asarray(1, np.int32))
    x = torch.tensor([-2.0, -0.4, 0.3, 0.9, 1.1], requires_grad=True)
    out = FixedGrid(grid)(x)
    out.backward(torch.arange(1.0, 6.0))
    assert out.tolist() == [-0.5, -0.5, 0.5, 1.0, 1.0]
    assert x.grad is not None and x.grad.tolist() == [0, 2, 3, 4, 0]
    assert (quantize(x.detach().numpy(), grid) - 1).tolist() == [-1, -1, 1, 2, 2]


def test_biases_lie_on_the_grid_of_the_sums() -> None:
    source = classifier("resnet20")
    model = rounded(source, images(28, 8, 1), "w2a2")
    module, grids = Settled(model), {child_name(name): grid for name, grid in model.activations.items()}
    for node in model.network:
        if "weight" in node.params:
            source = node.inputs[0]
            read = grids[module.narrow(source, node) or child_name(module.grids[source])].scale
            step = read.astype(np.float64) * model.weights[node.name].scale
            expected = quantize_bias(node.params["bias"], read, model.weights[node.name].scale) * step
            assert np.allclose(module.params(node)["bias"].detach().numpy(), expected, rtol=1e-5, atol=1e-7)


def one_step(module: Settled | FakeQuantized, x: torch.Tensor, *, half: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits of a step in training mode, and the gradients that it leaves."""
    module.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = module.train()(x)
    (logits * torch.arange(1.0, logits.shape[1] + 1)).sum().backward()
    return logits.detach(), {name: parameter.grad.clone() for name, parameter in module.named_parameters() if parameter.grad is not None}


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-12))


def assert_near(gradients: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Within 1e-4 in norm, or within 1e-6 of the largest."""
    largest = max(float(gradient.norm()) for gradient in expected.values())
    far = {name: float((gradients[name] - gradient).norm()) for name, gradient in expected.items()}
    assert not [name for name, gradient in expected.items() if far[name] > 1e-4 * float(gradient.norm()) + 1e-6 * largest], far


@pytest.mark.parametrize("name", ["plain", "resnet20", "mobilenet_v2", "every_function"])
def test_a_step_is_that_of_plain_torch_and_bfloat16_is_for_gradients_alone(name: str) -> None:
    source = classifier(name)
    preprocess = source.card.preprocess
    module = Settled(rounded(source, images(preprocess.size, 8, 1), "w4a4")).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = normalised(images(preprocess.size, 8, 2), preprocess).contiguous(memory_format=torch.channels_last)
    logits, gradients = one_step(module, x)
    in_half, of_half = one_step(module, x, half=True)
    assert torch.allclose(in_half, logits, atol=1e-4 * float(logits.abs().max()))  # integer sums are in no order
    largest = max(float(gradient.norm()) for gradient in gradients.values())
    counted = [key for key, gradient in gradients.items() if float(gradient.norm()) > 1e-3 * largest]
    assert max(distance(of_half[key], gradients[key]) for key in counted) < 0.1 and not all(
        torch.equal(of_half[key], gradients[key]) for key in counted
    )
    fused, module.fused = module.fused, None
    expected, of_plain = one_step(module, x)
    if fused is not None:
        assert torch.equal(logits, expected)
        assert max(distance(gradients[key], of_plain[key]) for key in counted) < 1e-5


class Spread(nn.Module):
    """A sum of a map with one value a channel, or of one map for all channels with a map; either first."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.one, self.norm = kind, nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.other = nn.Conv2d(8, 8 if "channel" in kind else 1, 1)
        self.last = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.one(x)))
        other = self.other(y.mean((2, 3), keepdim=True) if "channel" in self.kind else y)
        return self.last(torch.relu(other + y if "first" in self.kind else y + other).mean((2, 3)))


@pytest.mark.parametrize("kind", ["channel", "channel first", "map", "map first"])
def test_sums_that_broadcast_are_those_of_plain_torch(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    preprocess = Preprocess(size=16)
    card = Card(architecture="spread", classes=("a", "b", "c"), positive=None, preprocess=preprocess)
    source = Classifier(module=Spread(kind).eval(), card=card)
    start = rounded(source, images(16, 8, 1), "w4a4")
    pixels = images(16, 8, 2)
    x = normalised(pixels, preprocess).contiguous(memory_format=torch.channels_last)
    for module in (Settled(start), FakeQuantized(trace(source.module), start, "lsq")):
        found, gradients = one_step(module, x)
        module.fused = None
        expected, plain = one_step(module, x)
        assert torch.allclose(found, expected, atol=1e-5)
        assert_near(gradients, plain)
    program = lower(start.quantized("x"))
    deployed = load(export_integer(program, tmp_path / "integer.onnx")).run(pixels).logits
    assert np.array_equal(deployed, Simulation(program)(pixels).numpy()) and np.array_equal(deployed, execute(program, pixels)["logits"])


def test_a_forward_alone_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FusedStep, "of", lambda module: pytest.fail("kernels were asked for"))
    source = classifier("plain")
    pixels = images(source.card.preprocess.size, 2, 1)
    module = Settled(rounded(source, pixels, "w4a4")).eval()
    with torch.no_grad():
        module(normalised(pixels, source.card.preprocess))
