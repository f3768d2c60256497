"""Training: what it learns, that it repeats to the byte, and that a kill at any moment changes nothing."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from clinquant.core.artifact import sha256_file
from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.data.read import read_study
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.augment import Augment, augment
from clinquant.lab.checkpoint import NAME
from clinquant.lab.classifier import Classifier
from clinquant.lab.depthwise import DepthwiseBackwardInFloat32
from clinquant.lab.fit import fit
from clinquant.lab.options import BuildOptions
from clinquant.lab.plan import balanced_weights, plan_training
from clinquant.lab.planning import size_warning
from clinquant.lab.train import choose_architecture, estimate_seconds, initial_module, train
from small_training import digest, run, small_plan, spots


def test_learns_what_can_be_learnt(tmp_path: Path) -> None:
    fitted = run(tmp_path, small_plan(epochs=8), n=192)
    assert fitted.history[-1].tune_accuracy >= 0.9
    assert fitted.best_epoch == min(range(len(fitted.history)), key=lambda e: fitted.history[e].tune_loss)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_same_seed_same_bytes_and_another_seed_others(tmp_path: Path, precision: str) -> None:
    plan = small_plan(epochs=2, precision=precision)
    assert digest(run(tmp_path / "a", plan)) == digest(run(tmp_path / "b", plan))
    assert digest(run(tmp_path / "c", small_plan(epochs=2, precision=precision, seed=1))) != digest(run(tmp_path / "b", plan))


def test_a_finished_run_is_not_run_again_and_another_plans_checkpoint_is_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(tmp_path, small_plan(epochs=2))
    start = time.perf_counter()
    assert digest(run(tmp_path, small_plan(epochs=2))) == digest(first)
    assert time.perf_counter() - start < 2 and not caplog.records
    other = run(tmp_path, small_plan(epochs=1))
    assert "starts anew" in caplog.text and len(other.history) == 1


def test_early_stopping_ends_the_run(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    module, _ = initial_module(ARCHITECTURES["resnet20"], 2, "random", 0)
    pixels, labels = spots(32, 1)
    swapped = (pixels, 1 - labels)  # learning makes tune worse
    fitted = fit(module, (pixels, labels), swapped, small_plan(epochs=30, patience=2), tmp_path, progress=lambda *at: done.append(at))
    assert len(fitted.history) == fitted.best_epoch + 3 < 30
    assert done[-1] == (60, 60) and done[:2] == [(1, 60), (2, 60)]


def test_a_loss_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    module, _ = initial_module(ARCHITECTURES["resnet20"], 2, "random", 0)
    with torch.no_grad():
        module.fc.weight.fill_(math.inf)
    with pytest.raises(ClinquantError) as caught:
        fit(module, spots(32, 1), spots(8, 2), small_plan(), tmp_path)
    assert caught.value.code == "training-diverged"


def test_a_broken_checkpoint_is_as_none(tmp_path: Path) -> None:
    expected = digest(run(tmp_path / "whole", small_plan(epochs=1)))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / NAME).write_bytes((tmp_path / "whole" / NAME).read_bytes()[:1000])
    (tmp_path / "cut" / f".{NAME}.x.tmp").write_bytes(b"left by a killed run")
    assert digest(run(tmp_path / "cut", small_plan(epochs=1))) == expected
    assert [path.name for path in (tmp_path / "cut").iterdir()] == [NAME]


def test_without_amounts_a_view_is_the_image() -> None:
    still = Augment(rotation=0, translation=0, scale=0, brightness=0, contrast=0)
    pixels = torch.randint(0, 256, (4, 12, 12, 3), dtype=torch.uint8)
    views = augment(pixels, still, torch.Generator().manual_seed(0))
    assert torch.allclose(views, pixels.permute(0, 3, 1, 2).float(), atol=1e-3)


def test_flips_happen_only_when_asked_and_to_half_of_the_images() -> None:
    still = {"rotation": 0.0, "translation": 0.0, "scale": 0.0, "brightness": 0.0, "contrast": 0.0}
    pixels = torch.zeros((400, 8, 8, 3), dtype=torch.uint8)
    pixels[:, :2, :2] = 255
    views = augment(pixels, Augment(**still, horizontal_flip=True, vertical_flip=True), torch.Generator().manual_seed(0))
    corners = torch.stack([views[:, 0, y, x] > 200 for y in (0, -1) for x in (0, -1)], 1).sum(0)
    assert corners.sum() == 400 and (corners > 70).all()
    never = augment(pixels, Augment(), torch.Generator().manual_seed(0))
    assert (never[:, 0, :4, :4].amax((1, 2)) > never[:, 0, 4:, 4:].amax((1, 2))).all()


@given(st.integers(0, 2**31))
def test_views_are_in_range_and_repeat(seed: int) -> None:
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    views = [augment(pixels, Augment(horizontal_flip=True), torch.Generator().manual_seed(seed)) for _ in range(2)]
    assert torch.equal(*views) and views[0].min() >= 0 and views[0].max() <= 255 and views[0].shape == (3, 3, 16, 16)


@given(st.lists(st.integers(1, 500), min_size=2, max_size=6))
def test_class_weights_average_to_one_and_favour_the_rare(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    weights = np.array(balanced_weights(labels, len(counts)))
    assert weights[labels].mean() == pytest.approx(1)
    assert (np.argsort(weights, kind="stable") == np.argsort(-np.array(counts), kind="stable")).all()


def test_a_class_without_training_images_is_an_error() -> None:
    with pytest.raises(ClinquantError) as caught:
        plan_training(np.zeros(10, np.int64), 2, Preprocess(size=28), pretrained=False)
    assert caught.value.code == "class-without-images"


@given(st.integers(2, 20_000), st.integers(2, 128))
def test_every_step_has_company_and_the_rate_rises_and_falls(n: int, batch: int) -> None:
    plan = small_plan(batch=batch)
    steps = plan.steps_per_epoch(n)
    last = min(n, steps * batch) - (steps - 1) * batch
    assert last >= min(n, 2) and steps * batch >= n - batch
    rates = [plan.learning_rate(step, 50) for step in range(50)]
    assert rates.index(max(rates)) in (4, 5) and max(rates) == plan.rate and 0 < rates[-1] < 0.01 * plan.rate


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (5, 1, 2), (5, 2, 0), (3, 1, 1)])
def test_depthwise_gradients_are_those_of_float32(kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 16, kernel, stride, padding, groups=16, bias=False)
    x = torch.randn(4, 16, 13, 13).bfloat16().float().requires_grad_()
    conv.weight.data = conv.weight.data.bfloat16().float()
    conv(x).square().mean().backward()
    expected = x.grad.clone(), conv.weight.grad.clone()  # type: ignore[union-attr]
    x.grad = conv.weight.grad = None
    with torch.autocast("cpu", torch.bfloat16), DepthwiseBackwardInFloat32():
        out = conv(x)
    assert out.dtype == torch.bfloat16
    with DepthwiseBackwardInFloat32():
        assert conv(x).dtype == torch.float32
    out.float().square().mean().backward()
    for found, true in zip((x.grad, conv.weight.grad), expected, strict=True):
        assert float((found - true).norm() / true.norm()) < 0.01


def test_a_classifier_saves_and_loads_to_the_same_bytes(tmp_path: Path) -> None:
    card = Card(architecture="resnet20", classes=("a", "b"), positive=1, preprocess=Preprocess(size=28))
    classifier = Classifier(module=ARCHITECTURES["resnet20"].build(2).eval(), card=card)
    classifier.save(tmp_path / "one")
    again = Classifier.load(tmp_path / "one")
    again.save(tmp_path / "two")
    assert again.card == card and not again.module.training
    for name in ("float.safetensors", "float.card.json"):
        assert sha256_file(tmp_path / "one" / name) == sha256_file(tmp_path / "two" / name)
    x = torch.randn(2, 3, 28, 28)
    assert torch.equal(again.module(x), classifier.module(x))
    (tmp_path / "two" / "float.safetensors").unlink()
    with pytest.raises(ClinquantError, match="does not exist"):
        Classifier.load(tmp_path / "two")


def test_the_time_is_estimated_without_touching_the_module() -> None:
    module, _ = initial_module(ARCHITECTURES["resnet20"], 2, "random", 0)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert 0 < estimate_seconds(module, small_plan(), 96, 32) < 60
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


@pytest.fixture(scope="module")
def folder_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Split]:
    root = tmp_path_factory.mktemp("study")
    for row, (image, label) in enumerate(zip(*spots(48, 3, side=30), strict=True)):
        path = root / ("spot" if label else "normal") / f"{row:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    study = read_study(root)
    ids = [case.id for case in study.cases]
    train_ids, tune_ids, test_ids = ids[::2], ids[1::4], ids[3::4]
    units = {case: case for case in ids}
    parts = {"train": tuple(train_ids), "tune": tuple(tune_ids), "test": tuple(test_ids), "calibration": (), "referral": ()}
    return study, Split(**parts, units=units, rule="every second", seed=0)


def test_a_study_becomes_a_saved_classifier_the_same_twice(folder_study: tuple[Study, Split], tmp_path: Path) -> None:
    study, split = folder_study
    found = [train(study, split, tmp_path / name, arch="resnet20", epochs=1) for name in ("a", "b")]
    files = ["float.card.json", "float.safetensors", "train"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == files
    assert sorted(path.name for path in (tmp_path / "a" / "train").iterdir()) == [NAME, "course.json"]
    for name in files[:2]:
        assert sha256_file(tmp_path / "a" / name) == sha256_file(tmp_path / "b" / name)
    card = found[0].card
    assert (card.weights, card.threshold, card.threshold_rule, card.preprocess.size) == ("random", None, "youden", 28)
    assert set(card.parents) == {"study", "split", "plan"} and card.classes == ("normal", "spot") and card.positive == 1


def test_the_referral_half_of_tune_has_no_say_in_the_epoch(folder_study: tuple[Study, Split], tmp_path: Path) -> None:
    """With its labels exchanged, training takes the same course to the same weights; the control exchanges the other half's."""
    study, given = folder_study
    split = replace(given, referral=given.tune[::2])

    def course(exchanged: tuple[str, ...]) -> tuple[str, str]:
        cases = tuple(replace(case, label=1 - case.label) if case.id in exchanged else case for case in study.cases)
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        train(replace(study, cases=cases), split, out, arch="resnet20", epochs=1)
        return (out / "train/course.json").read_text(encoding="utf-8"), sha256_file(out / "float.safetensors")

    assert course(()) == course(split.referral) != course(given.tune[1::2])


def test_the_architecture_is_chosen_by_the_images_size(folder_study: tuple[Study, Split]) -> None:
    study, _ = folder_study
    assert choose_architecture(study, "auto", None)[0] == "resnet18_28"
    assert choose_architecture(study, "auto", None)[1].size in (28, 32)  # 30 is between two multiples of 4
    large = replace(study, cases=tuple(replace(case, width=1000, height=700) for case in study.cases))
    assert choose_architecture(large, "auto", None)[0] == "efficientnet_lite0"
    assert choose_architecture(large, "auto", 160)[1].size == 160


def test_pictures_that_a_network_would_enlarge_are_told(folder_study: tuple[Study, Split]) -> None:
    study, _ = folder_study
    options = BuildOptions(data="x", arch="package:function")
    (sentence,) = size_warning(study, 224, options)
    assert "30 px" in sentence and "--size 32" in sentence and "49 times" in sentence, sentence
    assert not size_warning(study, 32, options) and not size_warning(study, 224, replace(options, size=224))
    assert size_warning(study, 224, replace(options, arch="auto")) == (sentence,)
