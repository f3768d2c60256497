"""Post-training quantization: from a float classifier and calibration images to a quantized network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from clinquant.core.affine import QParams, TensorSpec, qparams_from_range, qparams_from_scale
from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.core.preprocess import Preprocess
from clinquant.lab.classifier import Classifier
from clinquant.lab.quantize.execute import CLASS_MAP, Executor
from clinquant.lab.quantize.grids import grid_of
from clinquant.lab.quantize.observers import OBSERVERS, Histogram, Observer
from clinquant.lab.quantize.passes import Calibrate, FoldBatchNorm
from clinquant.lab.quantize.quantized import QuantizedNetwork, Trained
from clinquant.lab.quantize.target import PORTABLE, Target
from clinquant.lab.quantize.ties import tied_scales
from clinquant.lab.quantize.trace import trace
from clinquant.lab.quantize.weights import weight_grid
from clinquant.lab.quantize.widths import Widths, inner_layers, narrow_grids, narrow_name, widths_of

Progress = Callable[[int, int], None]


def quantize(
    classifier: Classifier,
    calibration: NDArray[np.uint8],
    *,
    bits: str = "w8a8",
    recipes: tuple[str, ...] = tuple(OBSERVERS),
    target: Target = PORTABLE,
    progress: Progress | None = None,
) -> dict[str, QuantizedNetwork]:
    """A quantized network a recipe, all from one float pass over the calibration images.

    Args:
        calibration: uint8 [n, size, size, 3], the network's input pixels of training images.
        recipes: names in `observers.OBSERVERS`.

    Raises:
        ClinquantError: `bits-unsupported`, `recipe-unknown`, `operator-unsupported`, `calibration-empty`, `activation-nan`.
    """
    widths = widths_of(bits)
    for name in recipes:
        if name not in OBSERVERS:
            raise ClinquantError("recipe-unknown", f"recipe {name!r} is not known.", fix=f"use auto or one of: {', '.join(OBSERVERS)}.")
    network = FoldBatchNorm()(trace(classifier.module))
    histograms = Calibrate()(network, calibration, classifier.card.preprocess, progress)
    shapes = tensor_shapes(network, classifier.card.preprocess.size)
    card = replace(classifier.card, bits=bits, target=target.name)
    return {
        name: put_on_grids(network, histograms, OBSERVERS[name](), target, widths, card=card, shapes=shapes, recipe=name)
        for name in recipes
    }


def put_on_grids(
    network: Network,
    histograms: Mapping[str, Histogram],
    observer: Observer,
    target: Target,
    widths: Widths,
    *,
    card: Card,
    shapes: Mapping[str, tuple[int, ...]],
    recipe: str,
    learnt: Trained | None = None,
) -> QuantizedNetwork:
    """`network` with a grid for every tensor and weight, scales around additions tied.

    Args:
        learnt: grids of quantization-aware training, which take the place of found ones.

    Raises:
        ClinquantError: `range-empty`, `weights-nan`, naming the layer.
    """
    activations = activation_grids(network, histograms, observer, target, widths)
    activations["input"] = input_grid(card.preprocess, target)
    grids, inner = grid_of(network), inner_layers(network)
    activations |= learnt.activations if learnt else {}
    tie_sums(network, activations, grids)
    weights = {}
    for node in network:
        if "weight" not in node.params:
            continue
        read, spec = activations[grids[node.inputs[0]]], target.weight
        if node.name in inner:
            read, spec = activations.get(narrow_name(grids[node.inputs[0]]), read), narrowed(target.weight, widths.weight)
        if learnt and node.name in learnt.weights:
            weights[node.name] = learnt.weights[node.name]
            continue
        try:
            weights[node.name] = weight_grid(node.params["weight"], node.params.get("bias"), read.scale, spec)
        except ClinquantError as error:
            raise ClinquantError(error.code, f"{node.name}: {error.message}", fix=error.fix) from error
    return QuantizedNetwork(network=network, activations=activations, weights=weights, shapes=shapes, card=card, recipe=recipe)


def activation_grids(
    network: Network, histograms: Mapping[str, Histogram], observer: Observer, target: Target, widths: Widths
) -> dict[str, QParams]:
    """Grid name -> grid: 8 bits, the narrow width where only inner layers read, and a narrow copy where they read with others."""
    grids: dict[str, QParams] = {}
    only, also = narrow_grids(network)
    narrow = narrowed(target.activation, widths.activation)
    for name, histogram in histograms.items():
        spec = narrow if name in only else target.activation
        grids[name] = qparams_from_range(*observer.range(histogram, spec), spec)
        if name in also and narrow != target.activation:
            grids[narrow_name(name)] = qparams_from_range(*observer.range(histogram, narrow), narrow)
    return grids


def narrowed(spec: TensorSpec, bits: int) -> TensorSpec:
    """`spec` with at most `bits` bits."""
    return replace(spec, bits=min(bits, spec.bits))


def tie_sums(network: Network, activations: dict[str, QParams], grids: Mapping[str, str]) -> None:
    """Replaces the scales around additions by tied ones; each zero point keeps the lowest value of its grid where it was."""
    scales = {name: float(grid.scale) for name, grid in activations.items()}
    for name, scale in tied_scales(network, scales, grids).items():
        old = activations[name]
        lowest = (old.spec.qmin - float(old.zero_point)) * float(old.scale)
        activations[name] = qparams_from_scale(scale, lowest, old.spec)


def input_grid(preprocess: Preprocess, target: Target) -> QParams:
    """The grid of normalised pixels: where one integer mean serves all channels, the pixel itself is the code."""
    if preprocess.is_affine_code:
        scale = np.asarray(1.0 / preprocess.std[0], np.float32)
        return QParams(spec=target.activation, scale=scale, zero_point=np.asarray(int(preprocess.mean[0]), np.int32))
    mean, std = np.array(preprocess.mean), np.array(preprocess.std)
    return qparams_from_range(float(((0 - mean) / std).min()), float(((255 - mean) / std).max()), target.activation)


def tensor_shapes(network: Network, size: int) -> dict[str, tuple[int, ...]]:
    """Node name -> shape of its output without the batch axis, for a square input of `size` pixels."""
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str, tensor: torch.Tensor) -> None:
        if name != CLASS_MAP:
            shapes[name] = tuple(tensor.shape[1:])

    Executor(network)(torch.zeros(1, 3, size, size), watch)
    return shapes
