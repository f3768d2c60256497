"""Says before any training which layers of a network are known to lose by quantization, or to gain nothing, why, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinquant.core.graph import FLOAT_ISLANDS, Network, Node
from clinquant.lab.quantize.fold import fold_batch_norm

UNEQUAL = 10.0
"""Times the median channel's range from which a channel coarsens its neighbours' activations: 4 of the 49 convolutions of
EfficientNet-Lite0 exceed it (ImageNet weights, batch norm folded), the others lie between 1.4 and 9.7."""

DEAD = 1e-4
"""Share of the layer's largest weight below which a channel is a constant."""

NAMED = 3
"""Layers that a sentence names before it counts."""

SMOOTH = ("silu", "gelu", "gelu_tanh", "mish", "elu")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is known of some layers.

    Attributes:
        kind: a key of `LINTERS`.
        layers: their names, at least one.
        what: what they are.
        why: one sentence, what it does to the quantized network.
        advice: one sentence, what to do.
    """

    kind: str
    layers: tuple[str, ...]
    what: str
    why: str
    advice: str

    def __str__(self) -> str:
        rest = f" and {len(self.layers) - NAMED} more" if len(self.layers) > NAMED else ""
        return f"{self.what} ({', '.join(self.layers[:NAMED])}{rest}): {self.why} {self.advice}"


def lint(network: Network) -> tuple[Finding, ...]:
    """What is known to go wrong with `network` (as traced), one finding a kind, in the order of `LINTERS`."""
    folded = fold_batch_norm(network)
    return tuple(finding for finding in (linter(folded) for linter in LINTERS.values()) if finding)


def smooth(network: Network) -> Finding | None:
    """SiLU, GELU and ELU: a long positive side and a short negative one share a grid."""
    return _of_kinds(
        network,
        "smooth",
        SMOOTH,
        "SiLU-like activations",
        "8 bits are solved for ReLU networks and not for these (EfficientNet-B0 at 8 bits, published: 22% of ImageNet right by min-max, "
        "72% by entropy calibration, 77% by quantization-aware training, 77% in float).",
        "Let --recipe auto choose the calibration and train where it must, or take a ReLU network.",
    )


def hard_swish(network: Network) -> Finding | None:
    """Hard-swish: as SiLU, and each a table look-up that convolutions do not absorb."""
    return _of_kinds(
        network,
        "hard_swish",
        ("hard_swish",),
        "hard-swish activations",
        "they lose more at 8 bits than ReLU does, and no convolution absorbs them (MobileNetV3-small was measured slower in int8 than in "
        "float).",
        "Take ReLU or ReLU6 for them if the time matters.",
    )


def squeeze_excite(network: Network) -> Finding | None:
    """Products of a map with one number a channel."""
    pooled = {node.name for node in network if _comes_from_pooling(network, node)}
    layers = tuple(node.name for node in network if node.op == "mul" and any(name in pooled for name in node.inputs))
    return _finding(
        layers,
        "squeeze_excite",
        "squeeze-and-excitation",
        "the gate and the product are rounded once more each, and many small operators cost more time than 8 bits save.",
        "Take a network without it (EfficientNet-Lite0 for EfficientNet-B0) if the time matters.",
    )


def depthwise(network: Network) -> Finding | None:
    """Depthwise convolutions whose channels differ much in range."""
    found = {node.name: _unequal(node) for node in network if _is_depthwise(node) and _unequal(node) >= UNEQUAL}
    layers = tuple(sorted(found, key=lambda name: -found[name]))
    largest = f"up to {max(found.values()):.0f} times the median channel's" if found else ""
    return _finding(
        layers,
        "depthwise",
        "depthwise convolutions of unequal channels",
        f"their weights' ranges reach {largest}, and all channels share one grid of activations.",
        "8 bits bear it with a grid a channel for the weights; at 4 bits use equalization or quantization-aware training.",
    )


def unequal(network: Network) -> Finding | None:
    """Other convolutions whose channels differ much in range."""
    found = {node.name: _unequal(node) for node in network if node.op == "conv" and not _is_depthwise(node) and _unequal(node) >= UNEQUAL}
    layers = tuple(sorted(found, key=lambda name: -found[name]))
    largest = f"up to {max(found.values()):.0f} times the median channel's" if found else ""
    return _finding(
        layers,
        "unequal",
        "convolutions of unequal channels",
        f"their weights' ranges reach {largest}, and all channels share one grid of activations.",
        "Use equalization or quantization-aware training below 8 bits.",
    )


def dead(network: Network) -> Finding | None:
    """Channels that are constants."""
    counts = {node.name: int(_dead(node).sum()) for node in network if node.op == "conv" and _dead(node).any()}
    return _finding(
        tuple(counts),
        "dead",
        f"{sum(counts.values())} dead channels",
        "their weights are nought, so they are constants that cost bytes and time.",
        "Nothing need be done; they get a floor under their scale.",
    )


def float_islands(network: Network) -> Finding | None:
    """Softmax and layer norm."""
    layers = tuple(node.name for node in network if node.op in FLOAT_ISLANDS)
    return _finding(
        layers,
        "float_islands",
        f"{len(layers)} float islands",
        "softmax and layer norm are computed in float between integers, so the file is not portable: a code may differ between processors.",
        "Use 8 bits, and compare such files by tolerance.",
    )


LINTERS: dict[str, Callable[[Network], Finding | None]] = {
    "smooth": smooth,
    "hard_swish": hard_swish,
    "squeeze_excite": squeeze_excite,
    "depthwise": depthwise,
    "unequal": unequal,
    "dead": dead,
    "float_islands": float_islands,
}
"""Kind -> what looks for it in a network without batch norm."""


def _finding(layers: tuple[str, ...], kind: str, what: str, why: str, advice: str) -> Finding | None:
    return Finding(kind=kind, layers=layers, what=what, why=why, advice=advice) if layers else None


def _of_kinds(network: Network, kind: str, ops: tuple[str, ...], what: str, why: str, advice: str) -> Finding | None:
    return _finding(tuple(node.name for node in network if node.op in ops), kind, what, why, advice)


def _comes_from_pooling(network: Network, node: Node) -> bool:
    """Whether every path to `node` begins at a global average pooling: one number a channel."""
    while node.op not in ("input", "global_average_pool") and len(node.inputs) == 1:
        node = network[node.inputs[0]]
    return node.op == "global_average_pool"


def _is_depthwise(node: Node) -> bool:
    return node.op == "conv" and node.attributes["groups"] == len(node.params["weight"]) > 1


def _ranges(node: Node) -> NDArray[np.float64]:
    """float64 [o], the largest absolute weight of each output channel."""
    weight = node.params["weight"]
    return np.asarray(np.abs(weight.astype(np.float64)).reshape(len(weight), -1).max(axis=1))


def _dead(node: Node) -> NDArray[np.bool_]:
    ranges = _ranges(node)
    return np.asarray(ranges <= DEAD * ranges.max())


def _unequal(node: Node) -> float:
    """The largest channel's range over the median of those that live."""
    ranges = _ranges(node)
    alive = ranges[~_dead(node)]
    return float(alive.max() / np.median(alive)) if len(alive) else 1.0
