"""Objectives against independent oracles; their passes leave no trace; they compose with every kind of training."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.fit import Run, fit
from clinquant.lab.guide import Guide
from clinquant.lab.objectives import OBJECTIVES, Batch, Objective, PreserveAttribution, SaliencyGuided
from clinquant.lab.objectives.mode import unmoved
from clinquant.lab.objectives.preserve_attribution import attribution
from clinquant.lab.objectives.saliency_guided import least, replaced, saliency
from clinquant.lab.objectives.twin import twin_of
from clinquant.lab.quantize.fake_quant import METHODS, FakeQuantizer
from clinquant.lab.quantize.guidance import Learning, LearningGuide, Teacher
from clinquant.lab.quantize.qat import FakeQuantized
from clinquant.lab.train import initial_module
from small_training import digest, small_plan, spots
from test_exactness import classifier, images
from test_qat import rounded


def forward(module: object, given: torch.Tensor) -> torch.Tensor:
    return module(((given - 127) / 128).contiguous(memory_format=torch.channels_last))  # type: ignore[operator, no-any-return]


def drawn(n: int = 3, side: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (n, 3, side, side)).astype(np.float32))


class Small(nn.Module):
    """Convolution, batch norm, ReLU, pooling, linear: small enough for finite differences."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()
        self.pool, self.flatten, self.fc = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.flatten(self.pool(self.relu(self.norm(self.conv(x))))))
        return logits


def small() -> Small:
    torch.manual_seed(0)
    module = Small()
    nn.init.uniform_(module.norm.weight, 0.5, 1.5)
    with torch.no_grad():
        module.norm.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
        module.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return module


@pytest.mark.parametrize("rank", ["signed", "abs"])
def test_the_mask_holds_the_least_salient_by_finite_differences(rank: str) -> None:
    module, given, labels = small().double(), drawn(2, 6).double(), torch.tensor([2, 0])
    module.eval()
    expected = np.zeros((2, 6, 6))
    for n, c, i, j in np.ndindex(2, 3, 6, 6):
        ends = []
        for change in (-1e-3, 1e-3):
            moved = given.clone()
            moved[n, c, i, j] += change
            ends.append(float(module((moved - 127) / 128)[n, labels[n]].detach()))
        slope = (ends[1] - ends[0]) / 2e-3
        expected[n, i, j] += abs(slope) / 3 if rank == "abs" else slope / 3
    gradient = saliency(module, given, labels, lambda module, x: module((x - 127) / 128))
    found = (gradient.abs() if rank == "abs" else gradient).mean(1)
    assert np.allclose(found.numpy(), expected, atol=1e-9)
    mask = least(found, 13)
    order = np.argsort(expected.reshape(2, -1), axis=1)
    for n in range(2):
        assert set(np.flatnonzero(mask[n].numpy())) == set(order[n, :13])


def test_fills_are_the_mean_or_uniform_within_each_channel() -> None:
    given, mask = drawn(4, 20), torch.rand(4, 20, 20) < 0.5
    mean = replaced(given, mask, "mean").numpy()
    uniform = replaced(given, mask, "uniform").numpy()
    for n, c in np.ndindex(4, 3):
        channel, there = given[n, c].numpy(), mask[n].numpy()
        assert np.allclose(mean[n, c][there], channel.mean(), atol=1e-3)
        drawn_there = uniform[n, c][there]
        assert channel.min() <= drawn_there.min() and drawn_there.max() <= channel.max()
        assert abs(drawn_there.mean() - (channel.min() + channel.max()) / 2) < 30 and drawn_there.std() > 50
        for filled in (mean, uniform):
            assert np.array_equal(filled[n, c][~there], channel[~there])


def test_the_term_is_the_divergence_of_two_training_passes_and_both_learn() -> None:
    module, given, labels = small().train(), drawn(8, 10), torch.arange(8) % 3
    objective = SaliencyGuided(k=0.3, fill="mean", weight=2.0, ramp=0.0)
    logits = forward(module, given)
    before = copy.deepcopy(module)
    batch = Batch(module=module, images=given, labels=labels, logits=logits, forward=forward, share=0.5)
    term = objective.term(batch)
    assert term is not None
    oracle = copy.deepcopy(before).eval()
    given_again = given.clone().requires_grad_()
    forward(oracle, given_again)[torch.arange(8), labels].sum().backward()
    lowest = given_again.grad.numpy().mean(1).reshape(8, -1).argsort(1)[:, :30]  # type: ignore[union-attr]
    masked = given.numpy().copy().reshape(8, 3, -1)
    for n in range(8):
        masked[n][:, lowest[n]] = masked[n].mean(1, keepdims=True)
    twice = copy.deepcopy(before).train()
    p, q = (forward(twice, x).softmax(1).double() for x in (given, torch.from_numpy(masked).view_as(given)))
    expected = 2 * (p * (p.log() - q.log())).sum(1).mean()
    assert float(term.detach()) == pytest.approx(float(expected.detach()), rel=1e-3)
    term.backward()  # type: ignore[no-untyped-call]
    expected.backward()
    for (name, found), (_, wanted) in zip(module.named_parameters(), twice.named_parameters(), strict=True):
        assert float((found.grad - wanted.grad).norm()) < 2e-3 * float(wanted.grad.norm()), name  # type: ignore[operator, union-attr]


def test_k_ramps_up() -> None:
    objective = SaliencyGuided(k=0.5, ramp=0.2)
    assert [objective.share_replaced(share) for share in (0, 0.1, 0.2, 1)] == pytest.approx([0, 0.25, 0.5, 0.5])
    batch = Batch(module=small(), images=drawn(), labels=torch.zeros(3).long(), logits=torch.zeros(3, 3), forward=forward, share=0.0)
    assert objective.term(batch) is None


@pytest.mark.parametrize("wrong", [{"k": 1.5}, {"fill": "black"}, {"rank": "best"}, {"weight": float("nan")}, {"ramp": -1}])
def test_impossible_numbers_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ClinquantError, match="saliency-guided training") as caught:
        SaliencyGuided(**wrong)  # type: ignore[arg-type]
    assert caught.value.code == "objective-invalid"


def quantized(method: str, bits: str = "w4a4", *, keeps_feature: bool = False) -> FakeQuantized:
    source = classifier("resnet20")
    start = rounded(source, images(28, 8, 1), bits)
    return FakeQuantized(start.traced, start, method, keeps_feature=keeps_feature)


@pytest.mark.parametrize("method", ["float", *METHODS])
def test_neither_pass_moves_statistics_or_ranges(method: str) -> None:
    module = classifier("resnet20").module if method == "float" else quantized(method)
    module = module.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    given, labels = drawn(8, 28), torch.arange(8) % 3
    answering = SaliencyGuided(ramp=0.0).answering(module)
    logits = forward(answering, given)
    state = {name: buffer.clone() for name, buffer in module.named_buffers()}
    modes = [layer.training for layer in module.modules()]
    batch = Batch(module=module, images=given, labels=labels, logits=logits, forward=forward, share=1.0)
    term = SaliencyGuided(ramp=0.0).term(batch)
    assert term is not None and float(term.detach()) > 0
    for name, buffer in module.named_buffers():
        assert torch.equal(buffer, state[name]), name
    assert [layer.training for layer in module.modules()] == modes
    forward(module, given)
    assert any(not torch.equal(buffer, state[name]) for name, buffer in module.named_buffers())  # an ordinary pass does move them


@pytest.mark.parametrize("method", METHODS)
def test_gradients_run_through_the_quantizers(method: str) -> None:
    module = quantized(method).train().to(memory_format=torch.channels_last)
    given, labels = drawn(6, 28), torch.arange(6) % 3
    found = saliency(module, given, labels, forward)
    module.fused = None
    assert float((found - saliency(module, given, labels, forward)).norm() / found.norm()) < 0.1  # but for codes on a border
    batch = Batch(module=module, images=given, labels=labels, logits=forward(module, given), forward=forward, share=1.0)
    term = SaliencyGuided().term(batch)
    assert term is not None
    term.backward()  # type: ignore[no-untyped-call]
    inner = [module.params[module.key(name)]["weight"] for name in module.inner]  # type: ignore[index]
    assert all(float(weight.grad.norm()) > 0 for weight in inner)  # type: ignore[union-attr]
    learnt = [p for layer in module.modules() if isinstance(layer, FakeQuantizer) for p in layer.parameters(recurse=False)]
    assert all(parameter.grad is not None for parameter in learnt) and (METHODS[method].activation == "minmax" or learnt)


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "efficientnet_lite0"])
def test_the_twin_computes_what_the_module_does(name: str) -> None:
    torch.manual_seed(0)
    module = ARCHITECTURES[name].build(3).to(memory_format=torch.channels_last)
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    twin, given = twin_of(module), drawn(4, 32)
    if twin is None:
        pytest.skip("no C++ compiler here: training runs in plain torch")
    assert {id(p) for p in twin.parameters()} == {id(p) for p in module.parameters()}
    for training in (True, False):
        outcomes = []
        for computed in (module, twin):
            computed.train(training)
            module.zero_grad()
            x = given.clone().requires_grad_()
            logits = forward(unmoved(computed), x)
            logits.square().sum().backward()
            gradients = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
            outcomes.append([logits.detach(), x.grad, *([torch.cat(gradients)] if training else [])])
        for found, wanted in zip(*outcomes, strict=True):
            assert float((wanted - found).norm()) <= (2e-3 if name == "resnet20" else 0.1) * float(wanted.norm())


def test_the_twin_drops_as_the_module_does() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 2)
    )
    twin, given = twin_of(module), drawn(4, 16)
    if twin is None:
        pytest.skip("no C++ compiler here: training runs in plain torch")
    for training in (True, False):
        twin.train(training)
        torch.manual_seed(1)
        expected = forward(module, given)
        torch.manual_seed(1)
        assert torch.allclose(forward(twin, given), expected, atol=1e-4)
        torch.manual_seed(2)
        assert torch.allclose(forward(twin, given), expected, atol=1e-4) != training


def test_attribution_is_the_squared_class_weighted_features() -> None:
    rng = np.random.default_rng(0)
    feature, weights, labels = rng.normal(size=(4, 5, 3, 2)), rng.normal(size=(3, 5)), np.array([0, 2, 1, 2])
    found = attribution(torch.tensor(feature), torch.tensor(weights), torch.tensor(labels)).numpy()
    for n in range(4):
        expected = np.zeros((3, 2))
        for c in range(5):
            expected += (weights[labels[n], c] * feature[n, c]) ** 2
        assert np.allclose(found[n], expected / np.linalg.norm(expected), atol=1e-6)


def test_a_network_that_looks_where_its_teacher_looks_pays_nothing() -> None:
    source = classifier("resnet20")
    start = rounded(source, images(28, 8, 1), "w4a4")
    module, teacher = FakeQuantized(start.traced, start, "lsq", keeps_feature=True).train(), Teacher(start.traced)
    given, labels = drawn(6, 28), torch.arange(6) % 3
    logits = forward(module, given)
    batch = Batch(
        module=module, images=given, labels=labels, logits=logits, forward=forward, share=0.5, teacher=teacher, feature=module.feature
    )
    term = PreserveAttribution(weight=3.0).term(batch)
    assert term is not None and 0 < float(term.detach()) < 6
    term.backward()  # type: ignore[no-untyped-call]
    assert float(module.params[module.key(sorted(module.inner)[0])]["weight"].grad.norm()) > 0  # type: ignore[index, union-attr]
    forward(teacher, given)
    same = Batch(
        module=teacher, images=given, labels=labels, logits=logits, forward=forward, share=0.5, teacher=teacher, feature=teacher.feature
    )
    assert float(PreserveAttribution().term(same)) == pytest.approx(0, abs=1e-9)  # type: ignore[arg-type]
    with pytest.raises(ClinquantError) as caught:
        PreserveAttribution().term(Batch(module=module, images=given, labels=labels, logits=logits, forward=forward, share=0.5))
    assert caught.value.code == "objective-unfit"


def stopped(folder: Path, objectives: tuple[Objective, ...], method: str | None, stop_at: int | None = None) -> str:
    """Digest of two short epochs with those objectives, or what is left of them."""
    plan = small_plan(epochs=2, checkpoint_steps=2, preprocess=Preprocess(size=28), classes=3, class_weights=(1.0, 1.0, 1.0))
    if method is None:
        module, _ = initial_module(ARCHITECTURES["resnet20"], 3, "random", 0)
        guide = Guide(objectives=objectives)
    else:
        source = classifier("resnet20")
        start = rounded(source, images(28, 8, 1), "w4a4")
        module = FakeQuantized(start.traced, start, method, keeps_feature=True)
        guide = LearningGuide(learning=Learning(rate=3e-3), objectives=objectives, teacher=Teacher(start.traced))

    def progress(done: int, of: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    return digest(fit(module, spots(48, 1, side=28), spots(16, 2, side=28), plan, folder, guide=guide, progress=progress))


@pytest.mark.parametrize("method", [None, "lsq"])
def test_a_killed_run_with_objectives_ends_in_the_same_bytes(tmp_path: Path, method: str | None) -> None:
    objectives: tuple[Objective, ...] = (SaliencyGuided(),) if method is None else tuple(kind() for kind in OBJECTIVES.values())
    whole = stopped(tmp_path / "whole", objectives, method)
    for stop in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            stopped(tmp_path / "killed", objectives, method, stop)
    assert stopped(tmp_path / "killed", objectives, method) == whole
    assert stopped(tmp_path / "other", (SaliencyGuided(k=0.2),), method) != whole
    assert stopped(tmp_path / "none", (), method) != whole


def test_the_kind_of_objective_is_part_of_the_key() -> None:
    keys = [Guide(objectives=tuple(chosen)).key for chosen in ((), (SaliencyGuided(),), (SaliencyGuided(k=0.1),), (PreserveAttribution(),))]
    assert keys[0] == "" and len(set(keys)) == 4


def test_bfloat16_and_channels_last_are_as_in_plain_training() -> None:
    plan = small_plan(precision="bfloat16", preprocess=Preprocess(size=28))
    module, _ = initial_module(ARCHITECTURES["resnet20"], 2, "random", 0)
    run = Run(module, plan, 16, "", Path(), Guide(objectives=(SaliencyGuided(ramp=0.0),)))
    seen: list[torch.dtype] = []
    first = module.get_submodule("fc")
    first.register_forward_hook(lambda layer, given, out: seen.append(out.dtype))
    run.module.train()
    run.update(*spots(16, 1, side=28))
    assert run.layout == torch.channels_last
    quick = twin_of(run.module) or run.module
    with torch.autocast("cpu", torch.bfloat16):
        assert forward(quick, drawn(2, 28)).dtype == torch.bfloat16
