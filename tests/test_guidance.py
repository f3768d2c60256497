"""What quantization-aware training adds to the loop, each against numpy; and that a killed run ends in the same bytes with all of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from clinquant.core.preprocess import Preprocess
from clinquant.lab.fit import Fitted, fit
from clinquant.lab.objectives import SaliencyGuided
from clinquant.lab.objectives.divergence import divergence
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.fake_quant import LSQ, METHODS
from clinquant.lab.quantize.guidance import Learning, LearningGuide, Teacher, rate_at
from clinquant.lab.quantize.oscillation import MOMENTUM, Oscillation, dampening
from clinquant.lab.quantize.passes.fine_tune import narrowest, plan_learning
from clinquant.lab.quantize.qat import FakeQuantized
from clinquant.lab.quantize.trace.trace import trace
from small_training import small_plan, spots
from test_exactness import classifier, images
from test_qat import rounded


def test_divergence_is_that_of_probabilities() -> None:
    rng = np.random.default_rng(0)
    taught, logits = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (taught, logits))
    found = divergence(torch.tensor(taught), torch.tensor(logits))
    assert float(found) == pytest.approx((p * np.log(p / q)).sum(1).mean())
    assert float(divergence(torch.tensor(taught), torch.tensor(taught))) == pytest.approx(0, abs=1e-12)


def test_dampening_draws_to_the_middle_of_the_bin() -> None:
    rng = np.random.default_rng(1)
    weight, s = rng.normal(0, 1, (2, 40)).astype(np.float32), np.float32([[0.4], [0.2]])
    tensor = torch.tensor(weight, requires_grad=True)
    quantizer = LSQ(torch.tensor(s.ravel()), -3, 3, axis=0)
    loss = dampening(tensor, quantizer)
    loss.backward()  # type: ignore[no-untyped-call]
    clipped = np.clip(weight, -3 * s, 3 * s)
    middle = np.rint(clipped / s) * s
    assert float(loss.detach()) == pytest.approx(float(((middle - clipped) ** 2).sum()), rel=1e-4)
    expected = np.where(clipped == weight, 2 * (weight - middle), 0)
    assert np.allclose(tensor.grad.numpy(), expected, atol=1e-5)  # type: ignore[union-attr]
    assert quantizer.log_scale.grad is None


def algorithm_1(course: np.ndarray, threshold: float) -> tuple[list[int], list[bool]]:
    """Codes and who is frozen at the end, one weight at a time; `course` [steps + 1, weights] in units of the step."""
    codes, frozen = [], []
    for weight in course.T:
        code, direction, frequency, mean, stuck = round(weight[0]), 0, 0.0, float(round(weight[0])), False
        for value in weight[1:]:
            if stuck:
                continue
            change = int(np.sign(round(value) - code))
            frequency += MOMENTUM * ((change * direction < 0) - frequency)
            code = round(value)
            mean += MOMENTUM * (code - mean)
            direction = change or direction
            if frequency > threshold:
                code, stuck = round(mean), True
        codes.append(code)
        frozen.append(stuck)
    return codes, frozen


def test_weights_that_oscillate_are_frozen_at_the_rounded_mean_of_their_codes() -> None:
    rng = np.random.default_rng(2)
    drift = np.linspace(0, 1.3, 60)[:, None] * rng.uniform(-1, 1, 24)
    course = np.clip(rng.uniform(-2.4, 2.4, 24) + drift + rng.normal(0, 0.2, (60, 24)), -2.9, 2.9).astype(np.float32)
    quantizer, weight = LSQ(torch.tensor(1.0), -3, 3), torch.tensor(course[0].copy())
    oscillation = Oscillation(weight, quantizer)
    for values in course[1:]:
        weight.copy_(torch.where(oscillation.frozen, weight, torch.tensor(values)))
        oscillation.settle(weight, quantizer, 0.05)
    codes, frozen = algorithm_1(course, 0.05)
    assert oscillation.frozen.tolist() == frozen and 0 < sum(frozen) < 24
    assert oscillation.code.tolist() == codes
    assert all(float(value) == code for value, code, stuck in zip(weight, codes, frozen, strict=True) if stuck)
    quantizer.log_scale.data += 0.5
    oscillation.settle(weight, quantizer, 0.05)
    kept = weight[oscillation.frozen] / quantizer.scale.detach()
    assert torch.allclose(kept, oscillation.code[oscillation.frozen].float())


@pytest.mark.parametrize("method", METHODS)
def test_what_quantizers_learn_is_a_group_of_its_own_without_decay(method: str) -> None:
    source = classifier("resnet20")
    module = FakeQuantized((start := rounded(source, images(28, 8, 1), "w4a4")).traced, start, method)
    groups = LearningGuide(learning=Learning(grid_share=7.0)).groups(module, 0.01)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in module.parameters())
    apart = [group for group in groups if group.get("share") == 7.0]
    assert len(apart) == (METHODS[method].activation != "minmax") and all(group["weight_decay"] == 0 for group in apart)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    assert all("quantizers" in names[id(parameter)] for group in apart for parameter in group["params"])
    assert sum("quantizers" in name for name in names.values()) == sum(len(group["params"]) for group in apart)


def test_the_teacher_is_the_float_network() -> None:
    source = classifier("resnet20")
    start = rounded(source, images(28, 8, 1), "w4a4")
    x = normalised(images(28, 4, 2), source.card.preprocess)
    with torch.no_grad():
        assert torch.allclose(Teacher(start.traced)(x), source.module(x), atol=1e-4)
    assert not list(Teacher(start.traced).parameters())


def test_labels_have_a_small_share_where_a_teacher_answers_and_nothing_else_is_asked_for() -> None:
    teacher = Teacher(trace(classifier("resnet20").module))
    assert LearningGuide(teacher=teacher).labels == Learning().labels < 0.1
    assert LearningGuide(teacher=teacher, objectives=(SaliencyGuided(),)).labels == 1.0
    assert LearningGuide().labels == LearningGuide(learning=Learning(distillation=0.0), teacher=teacher).labels == 1.0


def test_the_rate_follows_the_step_of_the_narrowest_weights() -> None:
    source = classifier("resnet20")
    narrow = {bits: narrowest(rounded(source, images(28, 8, 1), bits)).qmax for bits in ("w2a8", "w4a4", "w8a8")}
    assert narrow == {"w2a8": 1, "w4a4": 7, "w8a8": 63}
    assert [rate_at(largest) for largest in narrow.values()] == pytest.approx([1e-3, 1e-3 / 7, 1e-3 / 63])
    labels = np.arange(64) % 2
    plans = [plan_learning(labels, 2, Preprocess(size=28), 0, Learning(rate=rate), largest=7) for rate in (None, 5e-3)]
    assert [plan.rate for plan in plans] == pytest.approx([1e-3 / 7, 5e-3])


GUIDED = Learning(rate=3e-3, grid_share=5.0, distillation=1.0, dampening=1e-3, freezing=0.015)


def guided(folder: Path, *, stop_at: int | None = None, learning: Learning = GUIDED) -> tuple[Fitted, FakeQuantized]:
    """Two epochs of 2 bits, or what is left of them; stopped at a step where asked."""
    source = classifier("resnet20")
    start = rounded(source, images(28, 8, 1), "w2a2")
    module = FakeQuantized(start.traced, start, "lsq", watched=learning.freezing is not None)
    guide = LearningGuide(learning=learning, teacher=Teacher(start.traced) if learning.distillation else None)

    def progress(done: int, of: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    plan = small_plan(epochs=2, checkpoint_steps=2, preprocess=Preprocess(size=28), classes=3, class_weights=(1.0, 1.0, 1.0))
    fitted = fit(module, spots(96, 1, side=28), spots(16, 2, side=28), plan, folder, guide=guide, progress=progress)
    return fitted, module


def test_a_killed_run_with_a_teacher_and_frozen_weights_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole, module = guided(tmp_path / "whole")
    assert any(bool(layer.frozen.any()) for layer in module.oscillations.values())  # type: ignore[union-attr, operator]
    for stop in (3, 7, 11):
        with pytest.raises(KeyboardInterrupt):
            guided(tmp_path / "killed", stop_at=stop)
    again, _ = guided(tmp_path / "killed")
    assert digest(again) == digest(whole)
    assert digest(guided(tmp_path / "other", learning=Learning(rate=3e-3))[0]) != digest(whole)


def digest(fitted: Fitted) -> str:
    return hashlib.sha256(save(fitted.state)).hexdigest()
