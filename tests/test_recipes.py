"""Passes and recipes: order is checked, common beginnings run once, per-layer widths reach every code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from clinquant.core.errors import ClinquantError
from clinquant.core.integer import Clip, Conv
from clinquant.core.reference import execute
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.integer import export_integer
from clinquant.lab.ladder import NAMES
from clinquant.lab.quantize.losses import worst_layers
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.passes import Calibrate, FoldBatchNorm, PutOnGrids
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.recipes import RECIPES, SENTENCES, begin, run_recipes
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.quantize.widths import BITS, MIXED, WIDTHS, Widths, inner_layers
from test_exactness import classifier, every_tensor, images


def calibration(count: int = 4) -> Calibration:
    source = classifier("resnet20")
    return Calibration(pixels=images(source.card.preprocess.size, count, 1), preprocess=source.card.preprocess)


@pytest.mark.parametrize(
    ("passes", "missing"),
    [((Calibrate(),), "FoldBatchNorm"), ((PutOnGrids(),), "FoldBatchNorm"), ((FoldBatchNorm(), PutOnGrids()), "Calibrate")],
)
def test_a_pass_says_what_it_needs(passes: tuple[object, ...], missing: str) -> None:
    with pytest.raises(ClinquantError) as raised:
        run_recipes(begin(classifier("resnet20"), "w8a8"), calibration(), {"wrong": passes})  # type: ignore[dict-item]
    assert raised.value.code == "pass-order" and missing in str(raised.value.fix)


def test_common_beginnings_run_once() -> None:
    seen: list[tuple[int, int]] = []
    images_ = calibration(8)
    told = Calibration(pixels=images_.pixels, preprocess=images_.preprocess, progress=lambda done, of: seen.append((done, of)))
    made = run_recipes(begin(classifier("resnet20"), "w8a8"), told, {name: RECIPES[name] for name in ("minmax", "mse")})
    assert seen == [(8, 8)]
    assert any(made["minmax"].activations[name].scale != made["mse"].activations[name].scale for name in made["mse"].activations)


def mixed(name: str) -> Widths:
    """Every inner layer at another width than the one before it."""
    layers = [node.name for node in trace(classifier(name).module) if node.name in inner_layers(trace(classifier(name).module))]
    pairs = [(8, 8), (4, 4), (2, 2), (4, 8), (2, 4)]
    return Widths(
        weight={layer: pairs[index % 5][0] for index, layer in enumerate(layers)},
        activation={layer: pairs[index % 5][1] for index, layer in enumerate(layers)},
    )


@pytest.mark.parametrize("name", ["resnet20", "branches", "mobilenet_v2"])
def test_mixed_widths_are_exact_and_kept(name: str, tmp_path: Path) -> None:
    source, widths = classifier(name), mixed(name)
    quantized = quantize(source, images(source.card.preprocess.size, 8, 1), bits="mixed", widths=widths, recipes=("mse",))["mse"]
    quantized.save(tmp_path)
    assert QuantizedNetwork.load(tmp_path).widths == widths
    program = lower(quantized)
    pixels = images(program.size, 2, 2)
    expected = execute(program, pixels) | {"pixels": pixels}
    path = export_integer(program, tmp_path / "integer.onnx")
    for tensor, codes in every_tensor(path, program, pixels, optimised=True).items():
        assert np.array_equal(codes, expected[tensor]), tensor
    convolutions = {o.name: o for o in program.operators if isinstance(o, Conv)}
    for layer, bits in widths.weight.items():
        assert convolutions[layer].weight_bits == min(bits, 7)
        read = program.tensors[convolutions[layer].inputs[0]]
        assert read.spec.bits == widths.activation[layer]
        assert expected[convolutions[layer].inputs[0]].max() <= read.spec.qmax
    assert any(isinstance(o, Clip) and o.high == 3 for o in program.operators)


def spoilt(layer: str, value: float) -> Classifier:
    """A network with one weight, or one whole layer, set to `value`."""
    source = classifier("resnet20")
    weight = dict(source.module.named_modules())[layer].weight
    with torch.no_grad():
        (weight if value == 0 else weight.view(-1)[:1]).fill_(value)  # type: ignore[operator, union-attr]
    return source


@pytest.mark.parametrize(("count", "says"), [(0, "no calibration image"), (1, "one calibration image")])
def test_too_few_calibration_images_are_one_line(count: int, says: str) -> None:
    source = classifier("resnet20")
    with pytest.raises(ClinquantError, match=says) as raised:
        quantize(source, images(source.card.preprocess.size, count, 1))
    assert raised.value.code == "calibration-empty" and "more training images" in str(raised.value.fix)


def test_a_dead_layer_is_named() -> None:
    source = spoilt("layer2.0.bn1", 0.0)
    with torch.no_grad():
        source.module.layer2[0].bn1.bias.fill_(-1.0)  # type: ignore[index, union-attr, operator]
    with pytest.raises(ClinquantError, match=r"layer2\.0") as raised:
        quantize(source, images(28, 4, 1))
    assert raised.value.code == "range-empty" and "dead" in str(raised.value.fix)


def test_a_weight_that_is_no_number_is_named() -> None:
    with pytest.raises(ClinquantError, match=r"layer3\.1\.conv1") as raised:
        quantize(spoilt("layer3.1.conv1", float("nan")), images(28, 4, 1))
    assert raised.value.code in ("weights-nan", "activation-nan") and raised.value.fix


def test_every_name_has_a_sentence() -> None:
    assert set(SENTENCES) == {"auto", *NAMES}
    assert set(BITS) == {*WIDTHS, *MIXED}


def test_the_layer_that_loses_most_is_named_with_its_reason() -> None:
    source = classifier("mobilenet_v2")
    layer = next(name for name, module in source.module.named_modules() if isinstance(module, nn.Conv2d) and module.groups > 1)
    spoilt = dict(source.module.named_modules())[layer]
    with torch.no_grad():
        spoilt.weight[0] *= 3000.0  # type: ignore[index, operator]
    size = source.card.preprocess.size
    images_ = Calibration(pixels=images(size, 8, 1), preprocess=source.card.preprocess)
    rounded = run_recipes(begin(source, "w4a4"), images_, {"minmax": RECIPES["minmax"]})["minmax"]
    worst = worst_layers(rounded, images_, count=2)
    assert worst[0].divergence >= worst[1].divergence > 0
    found = {loss.layer: loss for loss in worst_layers(rounded, images_, count=99)}[layer]
    assert "depthwise" in found.why and any("times the median" in why for why in found.why)
    assert layer in str(found)


@pytest.mark.parametrize(("name", "function"), [("small_silu", "SiLU"), ("small_hard_swish", "hard-swish")])
def test_what_stands_behind_a_layer_that_loses_is_named(name: str, function: str) -> None:
    source = classifier(name)
    calibration = Calibration(pixels=images(28, 8, 1), preprocess=source.card.preprocess)
    rounded = run_recipes(begin(source, "w4a4"), calibration, {"mse": RECIPES["mse"]})["mse"]
    found = {loss.layer: loss.why for loss in worst_layers(rounded, calibration, count=99)}
    first = next(node.name for node in rounded.network if node.op == "conv")
    assert f"before {function}" in found[first] and "squeeze-and-excitation" not in found[first]
    assert name == "small_silu" or any("squeeze-and-excitation" in why for why in found.values())
