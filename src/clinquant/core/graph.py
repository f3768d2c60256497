"""A network as data: the float classifier after tracing, free of any framework.

Passes rewrite it, exporters write it, executors run it. Tensors are NCHW float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError

OPERATORS: dict[str, str] = {
    "input": "the normalised image, [n, 3, size, size]",
    "conv": "weight [o, i/groups, kh, kw], optional bias [o]; stride, pads (top, left, bottom, right), dilation, groups; "
    "with batch norm folded also output_mean, output_deviation [o]",
    "batch_norm": "gamma, beta, mean, variance [c]; epsilon",
    "relu": "max(x, 0)",
    "clip": "min(max(x, low), high)",
    "add": "a + b, equal shapes",
    "mul": "a b, equal shapes, or one of them [n, c, 1, 1]",
    "concat": "along channels, or tokens",
    "max_pool": "kernel, stride, pads (top, left, bottom, right)",
    "average_pool": "kernel, stride, pads; count_include_pad",
    "global_average_pool": "[n, c, h, w] to [n, c, 1, 1]",
    "flatten": "[n, c, h, w] to [n, c h w]",
    "unflatten": "[n, c] to [n, c, 1, 1]",
    "linear": "weight [o, i], optional bias [o]; tokens where it reads more than two axes, of which it takes the last",
    "constant": "value [1, ...], repeated for every image; reads the input for their number",
    "reshape": "shape, -1 for the axis that holds the images",
    "transpose": "axes",
    "select": "axis, index; the axis is dropped",
    "slice": "axis, start, stop",
    "matmul": "factor a b, [..., t, d] by [..., d, u]",
    "softmax": "over the last axis",
    "layer_norm": "gamma, beta [c], epsilon; over the last axis",
    "sigmoid": "1 / (1 + exp(-x))",
    "silu": "x sigmoid(x)",
    "hard_sigmoid": "min(max(x / 6 + 1/2, 0), 1)",
    "hard_swish": "x hard_sigmoid(x)",
    "gelu": "x Phi(x)",
    "gelu_tanh": "gelu approximated by tanh",
    "tanh": "hyperbolic tangent",
    "mish": "x tanh(log(1 + exp(x)))",
    "leaky_relu": "x, times slope where negative",
    "elu": "x, or alpha (exp(x) - 1) where negative",
    "affine": "factor x + term, two constants",
}
"""Every operator a `Network` may hold, with its parameters."""

ACTIVATIONS = ("relu", "clip")
"""Operators that only bound values, which a requantization can do on the way."""

MOVES = ("reshape", "transpose", "select", "slice")
"""Operators that only move values; the images need not be along axis 0 of what they read or give."""

FLOAT_ISLANDS = ("softmax", "layer_norm")
"""Operators that an integer file computes in float."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One operator; its output tensor bears its name.

    Attributes:
        name: unique, as in the source model (`layer1.0.conv1`).
        op: a key of `OPERATORS`.
        inputs: names of the nodes it reads.
        params: float32 arrays by role (`weight`, `bias`, `gamma` ...).
        attributes: integers, floats or tuples of them.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    params: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise ClinquantError(
                "operator-unsupported", f"{self.name}: {self.op!r} is not an operator of a network.", fix="see `clinquant methods`."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Nodes in execution order; the first is the input, the last gives the logits."""

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            if node.name in seen or not set(node.inputs) <= seen:
                raise ClinquantError(
                    "network-invalid", f"{node.name} stands twice or before its input.", fix="give nodes in execution order."
                )
            seen.add(node.name)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    @property
    def output(self) -> Node:
        """The node that gives the logits."""
        return self.nodes[-1]

    def consumers(self) -> dict[str, list[Node]]:
        """Node name -> the nodes that read it."""
        found: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                found[name].append(node)
        return found

    def replaced(self, changes: Mapping[str, Node | None]) -> Network:
        """With some nodes exchanged by name, or removed (None): readers of a removed node read its first input."""
        renamed: dict[str, str] = {}
        kept: list[Node] = []
        for node in self.nodes:
            new = changes.get(node.name, node)
            if new is None:
                renamed[node.name] = renamed.get(node.inputs[0], node.inputs[0])
            else:
                kept.append(replace(new, inputs=tuple(renamed.get(name, name) for name in new.inputs)))
        return Network(nodes=tuple(kept))

    @property
    def parameter_count(self) -> int:
        """Number of learnt values (running statistics not counted)."""
        learnt = ("weight", "bias", "gamma", "beta")
        return sum(array.size for node in self.nodes for role, array in node.params.items() if role in learnt)

    def classifier(self) -> tuple[str, Node] | None:
        """(feature map, last linear layer) where the network ends in global pooling and a linear layer, else None."""
        tail = [node.op for node in self.nodes[-3:]]
        if tail != ["global_average_pool", "flatten", "linear"]:
            return None
        pool, flatten, linear = self.nodes[-3:]
        if flatten.inputs != (pool.name,) or linear.inputs != (flatten.name,):
            return None
        return pool.inputs[0], linear
