"""Quantization-aware training: what was learnt is what is exported, code by code, and it recovers what rounding destroyed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from clinquant.core.affine import LARGEST_BIAS, dequantize, quantize
from clinquant.core.integer import Clip, Conv
from clinquant.core.preprocess import Preprocess
from clinquant.core.reference import execute
from clinquant.edge.runtimes.onnxruntime import load
from clinquant.lab.augment import Augment
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.integer import export_integer
from clinquant.lab.fit import fit
from clinquant.lab.quantize import qat
from clinquant.lab.quantize.agreement import agreement_of_fast_forward, narrow_tensors, seen_by_quantizers
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.fake_quant import METHODS
from clinquant.lab.quantize.guidance import Learning
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.passes import Calibrate, FineTune, PutOnGrids, fine_tune
from clinquant.lab.quantize.qat import FakeQuantized, reestimate_norms, trained
from clinquant.lab.quantize.quantized import QuantizedNetwork, Trained
from clinquant.lab.quantize.recipes import RECIPES, before_training, begin, named_recipes, run_recipes
from clinquant.lab.quantize.trace.trace import trace
from small_training import small_plan, spots
from test_exactness import classifier, every_tensor, images


@pytest.mark.parametrize("bits", ["w4a8", "w4a4", "w2a2"])
@pytest.mark.parametrize("name", ["branches", "small_silu", "small_hard_swish", "resnet20", "mobilenet_v2"])
def test_folding_after_training_is_exact(name: str, bits: str) -> None:
    """With batch norm live the network computes what its folded form computes, and inner weights lie on their grids."""
    source = classifier(name)
    preprocess = source.card.preprocess
    start = rounded(source, images(preprocess.size, 8, 1), bits)
    network = trace(source.module)
    first = next(node.name for node in network if node.op == "batch_norm")
    network[first].params["gamma"][:2] *= -1  # a negative factor flips codes
    module = FakeQuantized(network, start, "lsq").eval()
    left = trained(module, start)
    for node, grid in left.weights.items():
        weight = left.network[node].params["weight"]
        codes = quantize(weight, grid)
        assert np.abs(codes).max() <= grid.spec.qmax
        assert np.allclose(dequantize(codes, grid), weight, rtol=1e-4, atol=1e-6 * np.abs(weight).max())
    refolded = FakeQuantized(left.network, start, "lsq").eval()
    for key, quantizer in refolded.weight_quantizers.items():
        scale = left.weights[key.replace("/", ".")].scale
        quantizer.log_scale.data = torch.from_numpy(scale.astype(np.float32)).log()  # type: ignore[union-attr]
    pixels = normalised(images(preprocess.size, 4, 2), preprocess)
    with torch.no_grad():
        live, folded = module(pixels).numpy(), refolded(pixels).numpy()
    assert np.median(np.abs(live - folded)) < 0.02 * np.abs(live).max()


TRAIN, TUNE = spots(192, 1), spots(96, 2)
STILL = Augment(rotation=0.0, translation=0.0, scale=0.0, brightness=0.0, contrast=0.0)
"""Views that are the images themselves."""


@pytest.fixture(scope="module")
def spotted(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """ResNet-20 on bright spots, trained for some seconds."""
    return trained_float(tmp_path_factory.mktemp("float"), TRAIN, TUNE)


WAYS = [*((method, "w2a2") for method in METHODS), ("lsq+", "w4a4"), ("pact", "w4a4"), ("lsq", "w4a8"), ("lsq", "w8a8"), ("pact", "w8a8")]


@pytest.mark.parametrize(("method", "bits"), WAYS)
def test_what_every_method_learnt_is_what_is_exported(method: str, bits: str, spotted: Classifier, tmp_path: Path) -> None:
    start = rounded(spotted, TRAIN[0][:64], bits)
    module = FakeQuantized(start.traced, start, method)
    short = small_plan(epochs=2, batch=32, rate=1e-3)
    module.load_state_dict(fit(module, TRAIN, TUNE, short, tmp_path / "qat").state)
    preprocess = spotted.card.preprocess
    reestimate_norms(module, TRAIN[0], preprocess, short.augment)
    learnt = on_learnt_grids(start, trained(module, start), TRAIN[0][:64], preprocess)
    program = lower(learnt.quantized(method))
    path = export_integer(program, tmp_path / "integer.onnx")
    expected = execute(program, TUNE[0][:8]) | {"pixels": TUNE[0][:8]}
    for optimised in (False, True):
        for tensor, codes in every_tensor(path, program, TUNE[0][:8], optimised=optimised).items():
            assert np.array_equal(codes, expected[tensor]), (tensor, optimised)
    bounded = [operator for operator in program.operators if isinstance(operator, Clip)]
    assert bool(bounded) == (bits[3] < "8") and all(expected[operator.name].max() <= operator.high for operator in bounded)
    width = int(bits[1])
    for operator in program.operators:
        if isinstance(operator, Conv) and operator.weight_bits == width < 8:
            assert operator.weight_odd == (METHODS[method].weight == "dorefa")
            reach = 2**width - 1 if operator.weight_odd else 2 ** (width - 1) - 1
            assert np.abs(operator.weight).max() <= reach and (operator.weight % 2 == 1).all() >= operator.weight_odd
            stored = {i.name: len(i.raw_data) for i in onnx.load(path).graph.initializer}
            assert stored[f"{operator.name}.weight.packed"] == -(-operator.weight.size * width // 8)
    with torch.no_grad():
        simulated = module(normalised(TUNE[0], preprocess)).numpy()
    deployed = load(path).run(TUNE[0]).logits
    assert np.median(np.abs(simulated - deployed)) < 0.1 * np.abs(simulated).max()
    saved = tmp_path / "saved"
    learnt.quantized(method).save(saved)
    again = export_integer(lower(QuantizedNetwork.load(saved)), tmp_path / "again.onnx")
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_eight_bit_activations_are_learnt_where_no_sum_binds_them(method: str, spotted: Classifier) -> None:
    """In ResNet-20 that is what the first convolution of every block gives; the calibration's grids stay wherever sums tie them."""
    start = rounded(spotted, TRAIN[0][:64], "w8a8")
    module = FakeQuantized(start.traced, start, method)
    assert set(module.activation_quantizers) == {f"layer{stage}/{block}/conv1" for stage in (1, 2, 3) for block in (0, 1, 2)}
    learnt = on_learnt_grids(start, trained(module.eval(), start), TRAIN[0][:64], spotted.card.preprocess)
    for key in module.activation_quantizers:
        assert learnt.activations[key.replace("/", ".")].scale == pytest.approx(
            float(start.activations[key.replace("/", ".")].scale), rel=1e-5
        )


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2"])
def test_learning_starts_where_gptq_rounded(name: str) -> None:
    """Before the first step, what is learnt is GPTQ's codes on its grids; methods with grids of their own start from the float weights."""
    source = classifier(name)
    start = rounded(source, images(source.card.preprocess.size, 16, 1), "w4a4", recipe="gptq")
    plain = rounded(source, images(source.card.preprocess.size, 16, 1), "w4a4")
    left = trained(FakeQuantized(start.traced, start, "lsq"), start)
    moved = []
    for node, grid in left.weights.items():
        codes = quantize(start.network[node].params["weight"], start.weights[node])
        assert np.array_equal(quantize(left.network[node].params["weight"], grid), codes), node
        moved.append((codes != quantize(plain.network[node].params["weight"], plain.weights[node])).mean())
    assert np.mean(moved) > 0.05
    for method in ("dorefa", "ste", "lsq+"):
        assert FakeQuantized(start.traced, start, method).network is start.traced
    assert [before_training(method) is RECIPES["gptq"] for method in METHODS] == [METHODS[method].keeps_grid for method in METHODS]


def test_norms_are_taken_from_the_views_that_training_sees(spotted: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Augment] = []

    def reestimate(module: FakeQuantized, pixels: np.ndarray, preprocess: Preprocess, views: Augment, *, seed: int) -> None:
        seen.append(views)

    monkeypatch.setattr(fine_tune, "reestimate_norms", reestimate)
    start = rounded(spotted, TRAIN[0][:64], "w4a4")
    learning = Learning(settling=0.0)
    FineTune(train=TRAIN, tune=TUNE, folder=tmp_path / "qat", epochs=1, learning=learning)(start, calibration_of(spotted, TRAIN[0][:64]))
    assert seen == [fine_tune.plan_learning(TRAIN[1], 2, spotted.card.preprocess, 0, learning).augment] and seen[0].rotation > 0


@pytest.mark.parametrize("method", ["lsq", "pact"])
def test_training_recovers_what_two_bits_destroy(method: str, spotted: Classifier, tmp_path: Path) -> None:
    start = rounded(spotted, TRAIN[0][:64], "w2a2")
    fine_tune = FineTune(train=TRAIN, tune=TUNE, folder=tmp_path / "qat", method=method)
    learnt = fine_tune(start, calibration_of(spotted, TRAIN[0][:64]))
    files = [export_integer(lower(model.quantized("mse")), tmp_path / f"{index}.onnx") for index, model in enumerate((start, learnt))]
    before, after = (accuracy(file, *TUNE) for file in files)
    assert after > 0.85 and after > before + 0.1, (before, after)


def test_a_channel_that_training_switched_off_is_a_constant(spotted: Classifier) -> None:
    start = rounded(spotted, TRAIN[0][:64], "w2a2")
    module = FakeQuantized(start.traced, start, "lsq")
    conv, norm = next((node.inputs[0], node.name) for node in start.traced if node.op == "batch_norm" and node.inputs[0] in module.inner)
    held = module.params[module.key(norm)]
    with torch.no_grad():
        held.weight[0], held.bias[0] = 0.0, 3.0  # type: ignore[index, operator]
    model = on_learnt_grids(start, trained(module, start), TRAIN[0][:64], spotted.card.preprocess)
    program = lower(model.quantized("lsq"))
    operator = next(found for found in program.operators if found.name == conv and isinstance(found, Conv))
    assert np.abs(operator.bias).max() <= LARGEST_BIAS and not operator.weight[0].any()
    grid, codes = program.tensors[conv], execute(program, TUNE[0][:2])[conv]
    assert np.abs(dequantize(codes[:, 0], grid) - 3).max() <= 0.51 * grid.scale


def on_learnt_grids(start: Model, learnt: Trained, pixels: np.ndarray, preprocess: Preprocess) -> Model:
    calibration = Calibration(pixels=pixels, preprocess=preprocess)
    tuned = Calibrate()(replace(start, network=learnt.network), calibration)
    return PutOnGrids(learnt_activations=learnt.activations, learnt_weights=learnt.weights)(tuned, calibration)


def calibration_of(source: Classifier, pixels: np.ndarray) -> Calibration:
    return Calibration(pixels=pixels, preprocess=source.card.preprocess)


def rounded(source: Classifier, pixels: np.ndarray, bits: str, recipe: str = "mse") -> Model:
    """The network after post-training quantization."""
    return run_recipes(begin(source, bits), calibration_of(source, pixels), named_recipes((recipe,)))[recipe]


def accuracy(path: Path, pixels: np.ndarray, labels: np.ndarray) -> float:
    return float((load(path).run(pixels).logits.argmax(axis=1) == labels).mean())


def trained_float(folder: Path, train: tuple[np.ndarray, np.ndarray], tune: tuple[np.ndarray, np.ndarray]) -> Classifier:
    """ResNet-20 on bright spots, trained for some seconds."""
    from clinquant.core.card import Card
    from clinquant.lab.architectures import ARCHITECTURES

    torch.manual_seed(0)
    module = ARCHITECTURES["resnet20"].build(2)
    plan = small_plan(epochs=10)
    module.load_state_dict(fit(module, train, tune, plan, folder).state)
    card = Card(architecture="resnet20", classes=("dark", "spot"), positive=1, preprocess=plan.preprocess)
    return Classifier(module=module.eval(), card=card)


def test_batch_norm_statistics_are_of_every_class_although_images_come_class_by_class(
    spotted: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qat, "NORM_IMAGES", 256)
    start, order = rounded(spotted, TRAIN[0][:64], "w4a4"), np.random.default_rng(0)
    dark, bright = order.integers(0, 60, (300, 28, 28, 3)), order.integers(150, 256, (300, 28, 28, 3))
    pixels = np.concatenate([dark, bright]).astype(np.uint8)

    def means(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        module = FakeQuantized(start.traced, start, "lsq")
        reestimate_norms(module, images, spotted.card.preprocess, STILL)
        norm = next(layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d))
        assert norm.running_mean is not None and norm.num_batches_tracked == min(len(images), 256) // min(len(images), 32)
        return norm.running_mean.numpy()

    whole, apart = means(pixels), np.abs(means(pixels[:300]) - means(pixels[300:])).max()
    assert np.abs(whole - means(pixels[order.permutation(600)])).max() < 0.1 * apart
    assert np.abs(whole - (means(pixels[:300]) + means(pixels[300:])) / 2).max() < 0.1 * apart
    assert means(pixels[:20]).any(), "fewer images than a batch still count"


def test_batch_norm_statistics_are_of_the_views_that_training_has(spotted: Classifier) -> None:
    start = rounded(spotted, TRAIN[0][:64], "w8a8")

    def variances(views: Augment) -> NDArray[np.float32]:
        module = FakeQuantized(start.traced, start, "lsq")
        reestimate_norms(module, TRAIN[0], spotted.card.preprocess, views)
        norm = next(layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d))
        assert norm.running_var is not None
        return norm.running_var.numpy()

    assert np.median(np.abs(np.log(variances(replace(STILL, brightness=0.5)) / variances(STILL)))) > 0.1


def test_the_fast_forward_is_near_the_integers_and_its_distance_is_measured(spotted: Classifier, tmp_path: Path) -> None:
    """What training sees is not quite what is exported; taken apart from it by hand, the measure says so."""
    start = rounded(spotted, TRAIN[0][:64], "w4a4")
    module = FakeQuantized(start.traced, start, "lsq")
    module.load_state_dict(fit(module, TRAIN, TUNE, small_plan(epochs=2, batch=32, rate=1e-3), tmp_path / "qat").state)
    reestimate_norms(module, TRAIN[0], spotted.card.preprocess, STILL)
    learnt = on_learnt_grids(start, trained(module, start), TRAIN[0][:64], spotted.card.preprocess).quantized("lsq")
    near = agreement_of_fast_forward(module, learnt, TUNE[0])
    assert near.images == len(TUNE[0]) and near.top1 > 0.95 and near.codes is not None and 0.7 < near.codes <= 1.0
    first = next(iter(module.activation_quantizers.values()))
    first.log_scale.data += 0.7  # type: ignore[union-attr, operator]
    far = agreement_of_fast_forward(module, learnt, TUNE[0])
    assert far.codes is not None and far.codes < near.codes - 0.02


@pytest.mark.parametrize("bits", ["w4a4", "w2a2"])
@pytest.mark.parametrize("name", ["branches", "small_silu", "small_hard_swish", "resnet20", "mobilenet_v2"])
def test_every_narrow_grid_is_quantized_in_training_and_bounded_in_the_file(name: str, bits: str) -> None:
    """A quantizer that is missing on one edge would leave floats there in training, or 8-bit codes in the file."""
    source = classifier(name)
    start = rounded(source, images(source.card.preprocess.size, 4, 1), bits)
    narrow = {grid for grid, params in start.activations.items() if params.spec.bits < 8}
    quantized = start.quantized("mse")
    assert narrow and set(narrow_tensors(lower(quantized), quantized).values()) == narrow
    module = FakeQuantized(start.traced, start, "lsq").eval()
    logits, seen = seen_by_quantizers(module, narrow, normalised(images(source.card.preprocess.size, 2, 1), source.card.preprocess))
    assert set(seen) == narrow and len(module.activation_quantizers) == len(narrow), "every quantizer is used"
    assert logits.shape[0] == 2
