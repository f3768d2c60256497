"""What passes take and give: a network on its way from floats to integers, and the images it is calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from clinquant.core.affine import QParams
from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.graph import FLOAT_ISLANDS, Network
from clinquant.core.preprocess import Preprocess
from clinquant.core.progress import Progress
from clinquant.lab.quantize.execute import CLASS_MAP, Executor, normalised
from clinquant.lab.quantize.observers.histogram import Histogram
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.target import Target
from clinquant.lab.quantize.widths import Widths


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Training images that nothing but quantization looks at.

    Attributes:
        pixels: uint8 [n, s, s, 3], the network's input pixels.
        preprocess: from pixels to what the network reads.
        progress: told (done, of) by passes that take long.
    """

    pixels: NDArray[np.uint8]
    preprocess: Preprocess
    progress: Progress | None = None

    def batches(self, size: int) -> Iterator[torch.Tensor]:
        """Normalised images, float32 [at most size, 3, s, s], in order."""
        for start in range(0, len(self.pixels), size):
            yield normalised(self.pixels[start : start + size], self.preprocess)

    def tell(self, done: int, of: int) -> None:
        """Passes progress on to whoever listens."""
        if self.progress:
            self.progress(done, of)


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A network between two passes. What a pass has not made yet is empty.

    Attributes:
        traced: the float network as traced, batch norm apart; never rewritten.
        network: what passes rewrite.
        card: bits and target filled in.
        target, widths: what the grids must be.
        histograms: grid name -> what was seen of it (`Calibrate`).
        activations: grid name -> grid (`PutOnGrids`).
        weights: node name -> grid of its weight, one scale a channel (`PutOnGrids`).
        floats: the network as it was when it got its grids, which rounding and correction aim at (`PutOnGrids`).
    """

    traced: Network
    network: Network
    card: Card
    target: Target
    widths: Widths
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    activations: Mapping[str, QParams] = field(default_factory=dict)
    weights: Mapping[str, QParams] = field(default_factory=dict)
    floats: Network | None = None

    def needs(self, what: str, *, by: str, made_by: str) -> None:
        """Raises ClinquantError `pass-order` where the field `what` is still empty."""
        if not getattr(self, what):
            raise ClinquantError("pass-order", f"{by} needs {what}, and there are none yet.", fix=f"put {made_by} before it in the recipe.")

    def needs_floats(self, *, by: str) -> Network:
        """The field `floats`. Raises ClinquantError `pass-order` where it is still empty."""
        self.needs("floats", by=by, made_by="PutOnGrids")
        assert self.floats is not None
        return self.floats

    def needs_folded(self, *, by: str) -> None:
        """Raises ClinquantError `pass-order` where batch norm is still apart."""
        if any(node.op == "batch_norm" for node in self.network):
            raise ClinquantError("pass-order", f"{by} needs batch norm folded.", fix="put FoldBatchNorm before it in the recipe.")

    def quantized(self, recipe: str) -> QuantizedNetwork:
        """What `export` writes. Raises ClinquantError `pass-order`."""
        self.needs("weights", by="export", made_by="PutOnGrids")
        islands = sum(node.op in FLOAT_ISLANDS for node in self.network)
        return QuantizedNetwork(
            network=self.network,
            activations=self.activations,
            weights=self.weights,
            widths=self.widths,
            shapes=tensor_shapes(self.network, self.card.preprocess.size),
            card=replace(self.card, portable=self.target.portable and not islands, float_islands=islands),
            recipe=recipe,
        )


Pass = Callable[[Model, Calibration], Model]
"""Rewrites a model; never changes the one it is given."""


def tensor_shapes(network: Network, size: int) -> dict[str, tuple[int, ...]]:
    """Node name -> shape of its output without the batch axis, for a square input of `size` pixels."""
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str, tensor: torch.Tensor) -> None:
        if name != CLASS_MAP:
            shapes[name] = tuple(tensor.shape[1:])

    Executor(network)(torch.zeros(1, 3, size, size), watch)
    return shapes
