"""Mean and variance of activations from batch norm's parameters alone, as if what leaves a batch norm were normal.

(Data-free quantization, Nagel et al. 2019, arXiv 1906.04721, section 4.2.1 and appendix C.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clinquant.core.graph import Network, Node

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of every channel: float64 [c] each."""

    mean: Array
    variance: Array


def activation_moments(network: Network) -> dict[str, Moments]:
    """Node name -> moments of its output, for the nodes that they can be told of.

    A folded convolution has its batch norm's beta and |gamma|; ReLU and clip make rectified normals of them; sums add (as if
    independent and normal); pooling by average keeps the mean, and the variance for want of better. Nothing is told of what reads the
    image, of convolutions without batch norm, and of maximum pooling, nor of what reads those.
    """
    found: dict[str, Moments] = {}
    for node in network:
        inputs = [found.get(name) for name in node.inputs]
        told = RULES[node.op](node, [moments for moments in inputs if moments]) if node.op in RULES and all(inputs) else None
        if node.op == "conv":
            told = of_batch_norm(node)
        if told is not None:
            found[node.name] = told
    return found


def of_batch_norm(conv: Node) -> Moments | None:
    """What folding left of the batch norm behind `conv`."""
    if "output_mean" not in conv.params:
        return None
    return Moments(conv.params["output_mean"].astype(np.float64), conv.params["output_deviation"].astype(np.float64) ** 2)


def clipped(moments: Moments, low: float, high: float) -> Moments:
    """Moments of clip(x, low, high) for normal x; `high` may be infinite.

    With a = (low - m) / s and b = (high - m) / s:
    E = low P(a) + high (1 - P(b)) + m (P(b) - P(a)) + s (p(a) - p(b)), P and p the normal distribution and its density, and
    E[x^2] = low^2 P(a) + high^2 (1 - P(b)) + (m^2 + s^2) (P(b) - P(a)) + 2 m s (p(a) - p(b)) + s^2 (a p(a) - b p(b)).

    >>> half = clipped(Moments(np.zeros(1), np.ones(1)), 0.0, np.inf)
    >>> round(float(half.mean[0]), 4), round(float(half.variance[0]), 4)
    (0.3989, 0.3408)
    """
    m, s = moments.mean, np.maximum(np.sqrt(moments.variance), 1e-12)
    a, b = (low - m) / s, (high - m) / s
    below, within, above = _distribution(a), _distribution(b) - _distribution(a), 1 - _distribution(b)
    top = np.where(above > 0, high, 0.0) if np.isinf(high) else np.asarray(high)
    mean = low * below + top * above + m * within + s * (_density(a) - _density(b))
    square = low**2 * below + top**2 * above + (m**2 + s**2) * within
    square = square + 2 * m * s * (_density(a) - _density(b)) + s**2 * (_weighted(a) - _weighted(b))
    return Moments(mean, np.maximum(square - mean**2, 0.0))


def _distribution(z: Array) -> Array:
    return np.asarray(torch.special.ndtr(torch.from_numpy(np.asarray(z))).numpy(), np.float64)


def _density(z: Array) -> Array:
    return np.asarray(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), np.float64)


def _weighted(z: Array) -> Array:
    finite = np.where(np.isfinite(z), z, 0.0)
    return finite * _density(z)


def _sum(node: Node, inputs: list[Moments]) -> Moments:
    return Moments(inputs[0].mean + inputs[1].mean, inputs[0].variance + inputs[1].variance)


def _concatenated(node: Node, inputs: list[Moments]) -> Moments:
    return Moments(np.concatenate([part.mean for part in inputs]), np.concatenate([part.variance for part in inputs]))


def _kept(node: Node, inputs: list[Moments]) -> Moments:
    return inputs[0]


RULES: dict[str, Callable[[Node, list[Moments]], Moments]] = {
    "relu": lambda node, inputs: clipped(inputs[0], 0.0, np.inf),
    "clip": lambda node, inputs: clipped(inputs[0], node.attributes["low"], node.attributes["high"]),
    "add": _sum,
    "concat": _concatenated,
    "average_pool": _kept,
    "global_average_pool": _kept,
    "flatten": _kept,
}
"""Operator -> `(node, moments of its inputs) -> moments of its output`."""
