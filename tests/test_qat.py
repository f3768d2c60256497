"""Quantization-aware training: what was learnt is what is exported, code by code, and it recovers what rounding destroyed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clinquant.core.affine import dequantize, quantize
from clinquant.core.integer import Clip
from clinquant.core.reference import execute
from clinquant.edge.runtimes.onnxruntime import load
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.integer import export_integer
from clinquant.lab.fit import fit
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.fake_quant import ACTIVATION_QUANTIZERS
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.passes import FineTune
from clinquant.lab.quantize.qat import FakeQuantized, trained
from clinquant.lab.quantize.recipes import begin, named_recipes, run_recipes
from clinquant.lab.quantize.trace import trace
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


@pytest.mark.parametrize("method", ACTIVATION_QUANTIZERS)
def test_training_recovers_what_two_bits_destroy_and_exports_it_exactly(method: str, tmp_path: Path) -> None:
    (train_pixels, train_labels), (tune_pixels, tune_labels) = spots(192, 1), spots(96, 2)
    source = trained_float(tmp_path / "float", (train_pixels, train_labels), (tune_pixels, tune_labels))
    start = rounded(source, train_pixels[:64], "w2a2")
    fine_tune = FineTune(train=(train_pixels, train_labels), tune=(tune_pixels, tune_labels), folder=tmp_path / "qat", method=method)
    learnt = fine_tune(start, calibration_of(source, train_pixels[:64])).quantized(method)
    program = lower(learnt)
    path = export_integer(program, tmp_path / "integer.onnx")
    expected = execute(program, tune_pixels[:8])
    for tensor, codes in every_tensor(path, program, tune_pixels[:8], optimised=True).items():
        assert np.array_equal(codes, expected[tensor]), tensor
    bounded = [operator for operator in program.operators if isinstance(operator, Clip)]
    assert bounded and all(expected[operator.name].max() <= operator.high for operator in bounded)
    files = [export_integer(lower(network), tmp_path / f"{index}.onnx") for index, network in enumerate((start.quantized("mse"), learnt))]
    before, after = (accuracy(file, tune_pixels, tune_labels) for file in files)
    assert after > 0.85 and after > before + 0.1, (before, after)


def calibration_of(source: Classifier, pixels: np.ndarray) -> Calibration:
    return Calibration(pixels=pixels, preprocess=source.card.preprocess)


def rounded(source: Classifier, pixels: np.ndarray, bits: str) -> Model:
    """The network after post-training quantization."""
    return run_recipes(begin(source, bits), calibration_of(source, pixels), named_recipes(("mse",)))["mse"]


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
