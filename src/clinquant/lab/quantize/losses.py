"""Which layers lose most by their grids, and why: each put on its grids alone, the rest in float."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clinquant.core.graph import Network, Node
from clinquant.evidence.reliability import divergence
from clinquant.lab.quantize.execute import RULES
from clinquant.lab.quantize.gates import gated
from clinquant.lab.quantize.grids import fusions, watch_points
from clinquant.lab.quantize.lint import DEAD, UNEQUAL
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.observers import Histogram
from clinquant.lab.quantize.on_grids import OnGrids
from clinquant.lab.quantize.passes.reconstruct import float_params

IMAGES = 32
LONG_TAIL = 4.0
"""Times the 99.9th percentile that the largest value must reach to be called an outlier."""

FEW_CODES = {"silu": "SiLU", "hard_swish": "hard-swish", "gelu": "GELU", "mish": "Mish"}


@dataclass(frozen=True, kw_only=True)
class LayerLoss:
    """What one layer costs.

    Attributes:
        layer: its name.
        divergence: mean divergence from the float network's probabilities with this layer alone on its grids, nats; simulated, not of a
            file.
        why: what is known to cause it, in short phrases; may be empty.
    """

    layer: str
    divergence: float
    why: tuple[str, ...]

    def __str__(self) -> str:
        reasons = f" ({', '.join(self.why)})" if self.why else ""
        return f"{self.layer} {self.divergence:.5f}{reasons}"


def worst_layers(model: Model, calibration: Calibration, count: int = 3) -> tuple[LayerLoss, ...]:
    """The `count` layers with the largest loss, the largest first. Raises ClinquantError `pass-order`."""
    model.needs("weights", by="worst_layers", made_by="PutOnGrids")
    images = next(calibration.batches(IMAGES))
    floats = run(model, images, None)
    found = [
        LayerLoss(layer=node.name, divergence=round(divergence(floats, run(model, images, node.name)), 6), why=reasons(model, node))
        for node in model.network
        if node.name in model.weights
    ]
    return tuple(sorted(found, key=lambda loss: -loss.divergence)[:count])


@torch.no_grad()
def run(model: Model, images: torch.Tensor, layer: str | None) -> NDArray[np.float32]:
    """Logits [n, k] with the weight and the output of `layer` on their grids, all else in float."""
    on_grids = OnGrids(model.network, model.activations, model.weights, model.widths)
    decides = {grid: point for point, grid in watch_points(model.network).items()}
    values: dict[str, torch.Tensor] = {}
    for node in model.network:
        inputs = [values[name] for name in node.inputs] or [images]
        if node.name == layer:
            inputs = [on_grids.read(tensor, source, node) for tensor, source in zip(inputs, node.inputs, strict=True)]
        params = on_grids.params(node) if node.name == layer else float_params(node)
        value = RULES[node.op](node, inputs, params)
        values[node.name] = on_grids.write(value, node) if layer and decides.get(layer) == node.name else value
    return np.asarray(values[model.network.output.name].numpy())


def reasons(model: Model, node: Node) -> tuple[str, ...]:
    """What is known to make this layer lose."""
    found = []
    ranges = np.abs(node.params["weight"]).reshape(len(node.params["weight"]), -1).max(axis=1)
    alive = ranges > DEAD * ranges.max()
    if not alive.all():
        found.append(f"{int((~alive).sum())} dead channels")
    if (ratio := float(ranges.max() / np.median(ranges[alive]))) >= UNEQUAL:
        found.append(f"a channel's weights reach {ratio:.0f} times the median channel's")
    if node.attributes.get("groups", 1) == len(ranges) > 1:
        found.append("depthwise")
    if node.name in model.histograms and (tail := tail_of(model.histograms[node.name])) >= LONG_TAIL:
        found.append(f"activation range: the largest value is {tail:.0f} times the 99.9th percentile")
    found += followers(model.network, node)
    return tuple(found)


def tail_of(histogram: Histogram) -> float:
    """The largest value over the 99.9th percentile of what lies above zero."""
    values, counts = histogram.within()
    above = values > 0
    if not above.any():
        return 1.0
    shares = np.cumsum(counts[above]) / counts[above].sum()
    return float(histogram.high / values[above][int(np.searchsorted(shares, 0.999))])


def followers(network: Network, node: Node) -> list[str]:
    """What reads the layer, where that is known to lose."""
    consumers = network.consumers()
    readers = consumers[fusions(network).get(node.name, node.name)]
    found = [f"before {FEW_CODES[reader.op]}" for reader in readers if reader.op in FEW_CODES]
    for product in (reader for reader in readers if reader.op == "mul"):
        own = gated(network, product)
        found.append(f"before {FEW_CODES[own]}" if own else "squeeze-and-excitation")
    return found
