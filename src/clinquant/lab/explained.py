"""Explanations of one network on many pictures, and the numbers that one map has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.progress import Progress
from clinquant.edge.explain import FILE_METHODS, insertion_and_deletion
from clinquant.edge.runtimes import runtime_module
from clinquant.evidence.fidelity import Explained
from clinquant.evidence.maps import gini
from clinquant.lab.classifier import Classifier
from clinquant.lab.explain import differentiable, gradient_maps
from clinquant.lab.quantize.quantized import QuantizedNetwork


def explained(
    network: Classifier | QuantizedNetwork,
    file: Path,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    method: str,
    tick: Progress | None = None,
) -> Explained:
    """Maps by `method`, and for each insertion, deletion and sparsity (of what speaks for the class) as the exported file has them.

    Args:
        network: what `file` was exported from; its gradient is taken where `method` is no method of files.
        pixels: input pixels uint8 [n, s, s, 3].
        labels: [n] the class that is explained.
    """
    session = runtime_module("onnxruntime").load(file, 1)
    pairs = list(zip(pixels, labels, strict=True))
    if method in FILE_METHODS:
        maps = np.stack([FILE_METHODS[method](session, picture, int(label)) for picture, label in pairs])
    else:
        maps = gradient_maps(method, differentiable(network), pixels, labels, network.card.preprocess)
    areas = []
    for row, (picture, label) in enumerate(pairs):
        areas.append(insertion_and_deletion(session, picture, maps[row], int(label)))
        if tick:
            tick(row + 1, len(pairs))
    values = {
        "insertion": np.array([area[0] for area in areas]),
        "deletion": np.array([area[1] for area in areas]),
        "gini": np.array([gini(np.maximum(each, 0)) for each in maps]),
    }
    return Explained(maps=maps, values=values)
