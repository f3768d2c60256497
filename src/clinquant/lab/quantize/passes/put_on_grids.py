"""Gives every tensor and weight its grid, from the ranges that were seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from clinquant.core.affine import QParams, TensorSpec, fit_for_bias, qparams_from_range, qparams_from_scale
from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.core.preprocess import Preprocess
from clinquant.lab.quantize.gates import settled_gates
from clinquant.lab.quantize.grids import grid_of
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.observers import MSE, Observer
from clinquant.lab.quantize.products import settled_scales
from clinquant.lab.quantize.target import Target
from clinquant.lab.quantize.ties import clusters, tied_scales
from clinquant.lab.quantize.weights import weight_grid
from clinquant.lab.quantize.widths import grid_widths, narrow_name


@dataclass(frozen=True)
class PutOnGrids:
    """A grid for every tensor and weight, scales around additions tied.

    Attributes:
        observer: from what was seen of a tensor to its range.
        learnt: grids of quantization-aware training by name, which take the place of found ones.
    """

    observer: Observer = field(default_factory=MSE)
    learnt_activations: Mapping[str, QParams] = field(default_factory=dict)
    learnt_weights: Mapping[str, QParams] = field(default_factory=dict)

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """Raises ClinquantError `pass-order`; `range-empty`, `weights-nan`, naming the layer."""
        model.needs_folded(by="PutOnGrids")
        model.needs("histograms", by="PutOnGrids", made_by="Calibrate")
        activations = activation_grids(model, self.observer) | dict(self.learnt_activations)
        activations["input"] = input_grid(calibration.preprocess, model.target)
        tie_sums(model.network, activations)
        settle_products(model.network, activations)
        grids, weights = grid_of(model.network), dict[str, QParams]()
        for node in model.network:
            if "weight" not in node.params:
                continue
            grid = grids[node.inputs[0]]
            read = activations.get(narrow_name(grid, model.widths.read_by(node.name)), activations[grid])
            if node.name in self.learnt_weights:
                weights[node.name] = fit_for_bias(self.learnt_weights[node.name], node.params.get("bias"), read.scale)
                continue
            spec = narrowed(model.target.weight, model.widths.of_weight(node.name))
            try:
                weights[node.name] = weight_grid(node.params["weight"], node.params.get("bias"), read.scale, spec)
            except ClinquantError as error:
                raise ClinquantError(error.code, f"{node.name}: {error.message}", fix=error.fix) from error
        return replace(model, activations=activations, weights=weights, floats=model.network)


def activation_grids(model: Model, observer: Observer) -> dict[str, QParams]:
    """Grid name -> grid, at the widest width that it is read at, and a copy for every narrower one."""
    grids: dict[str, QParams] = {}
    readers = grid_widths(model.network, model.widths)
    for name, histogram in model.histograms.items():
        own, *narrower = readers.get(name, (model.target.activation.bits,))
        for copy, bits in ((name, own), *((narrow_name(name, bits), bits) for bits in narrower)):
            spec = narrowed(model.target.activation, bits)
            try:
                grids[copy] = qparams_from_range(*observer.range(histogram, spec), spec)
            except ClinquantError as error:
                raise ClinquantError(error.code, f"{name}: {error.message}", fix=error.fix) from error
    return grids


def narrowed(spec: TensorSpec, bits: int) -> TensorSpec:
    """`spec` with at most `bits` bits."""
    return replace(spec, bits=min(bits, spec.bits))


def tie_sums(network: Network, activations: dict[str, QParams]) -> None:
    """Replaces the scales around additions by tied ones; each zero point keeps the lowest value of its grid where it was."""
    scales = {name: float(grid.scale) for name, grid in activations.items()}
    for name, scale in tied_scales(network, scales, grid_of(network)).items():
        activations[name] = rescaled(activations[name], scale)


def settle_products(network: Network, activations: dict[str, QParams]) -> None:
    """Replaces the grids around gates, and one scale at every product, but none that an addition has tied."""
    grids = grid_of(network)
    tied = {name for cluster in clusters(network, grids) for names in cluster for name in names}
    gates = settled_gates(network, activations, grids, tied)
    activations |= gates
    for name, scale in settled_scales(network, activations, grids, tied, rather_not=gates.keys()).items():
        activations[name] = rescaled(activations[name], scale)


def rescaled(grid: QParams, scale: np.float32) -> QParams:
    """`grid` with another scale, its zero point moved so that its lowest value stays."""
    lowest = (grid.spec.qmin - float(grid.zero_point)) * float(grid.scale)
    return qparams_from_scale(scale, lowest, grid.spec)


def input_grid(preprocess: Preprocess, target: Target) -> QParams:
    """The grid of normalised pixels: where one integer mean serves all channels, the pixel itself is the code."""
    if preprocess.is_affine_code:
        scale = np.asarray(1.0 / preprocess.std[0], np.float32)
        return QParams(spec=target.activation, scale=scale, zero_point=np.asarray(int(preprocess.mean[0]), np.int32))
    mean, std = np.array(preprocess.mean), np.array(preprocess.std)
    return qparams_from_range(float(((0 - mean) / std).min()), float(((255 - mean) / std).max()), target.activation)
