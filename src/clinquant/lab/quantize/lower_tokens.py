"""Lowers what transformers need beside convolutions: constants, tensors of tokens, products of matrices, float islands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clinquant.core.affine import quantize
from clinquant.core.graph import FLOAT_ISLANDS, MOVES, Network, Node
from clinquant.core.integer import Constant, Dense, LayerNorm, MatMul, Operator, Reshape, Select, Slice, Softmax, Transpose
from clinquant.lab.quantize.lowering import Lowering

PLANES = ("input", "conv", "max_pool", "average_pool", "global_average_pool")
TOKENS = ("constant", "matmul", *MOVES, *FLOAT_ISLANDS)


def is_plane(network: Network, name: str) -> bool:
    """Whether a tensor, or what it flattens, is [n, c, h, w] rather than one of tokens."""
    while network[name].op not in (*PLANES, *TOKENS):
        name = network[name].inputs[0]
    return network[name].op in PLANES


def dense(lowering: Lowering, node: Node) -> None:
    """A linear layer over the last axis of tokens."""
    grid = lowering.quantized.weights[node.name]
    lowering.emit(
        node,
        Dense(
            name=node.name,
            inputs=lowering.sources(node),
            weight=quantize(node.params["weight"], grid).astype(np.int8),
            weight_scale=grid.scale,
            bias=lowering.bias(node),
            weight_bits=grid.spec.bits,
            weight_odd=grid.spec.odd,
        ),
    )


def _constant(lowering: Lowering, node: Node) -> None:
    codes = quantize(node.params["value"], lowering.quantized.activations[node.name]).astype(np.uint8)
    lowering.emit(node, Constant(name=node.name, inputs=lowering.sources(node), codes=codes))


def _matmul(lowering: Lowering, node: Node) -> None:
    lowering.emit(node, MatMul(name=node.name, inputs=lowering.sources(node), factor=float(node.attributes["factor"])))


def _softmax(lowering: Lowering, node: Node) -> None:
    lowering.emit(node, Softmax(name=node.name, inputs=lowering.sources(node)))


def _layer_norm(lowering: Lowering, node: Node) -> None:
    p, epsilon = node.params, float(node.attributes["epsilon"])
    lowering.emit(node, LayerNorm(name=node.name, inputs=lowering.sources(node), gamma=p["gamma"], beta=p["beta"], epsilon=epsilon))


def moved(kind: Callable[..., Operator]) -> Callable[[Lowering, Node], None]:
    """The rule of an operator that moves codes: its attributes are the integer operator's."""

    def rule(lowering: Lowering, node: Node) -> None:
        lowering.keep(node, kind(name=node.name, inputs=lowering.sources(node), **node.attributes))

    return rule


RULES: dict[str, Callable[[Lowering, Node], None]] = {
    "constant": _constant,
    "matmul": _matmul,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "reshape": moved(Reshape),
    "transpose": moved(Transpose),
    "select": moved(Select),
    "slice": moved(Slice),
}
"""Operator of a network -> how it becomes integer operators."""
