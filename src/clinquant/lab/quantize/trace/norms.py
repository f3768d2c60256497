"""Gives every batch norm a convolution of its own to be folded into: one that leaves channels as they are."""

from __future__ import annotations

import numpy as np

from clinquant.core.graph import Network, Node


def with_own_convolutions(network: Network) -> Network:
    """`network` with a 1x1 depthwise convolution of ones, `NAME.conv`, before every batch norm that no convolution of its own leads to.

    Such a batch norm stands before its activation and convolution (ResNet v2, DenseNet), or behind an activation or a linear layer. Folded,
    the convolution holds its factor and shift, one a channel, and keeps 8 bits at every width (`widths.inner_layers`).
    """
    consumers = network.consumers()
    nodes: list[Node] = []
    for node in network:
        if node.op == "batch_norm" and not _has_its_own(network[node.inputs[0]], consumers):
            scale = _scale(node)
            nodes.append(scale)
            node = Node(name=node.name, op=node.op, inputs=(scale.name,), params=node.params, attributes=node.attributes)
        nodes.append(node)
    return Network(nodes=tuple(nodes))


def is_scale(node: Node) -> bool:
    """Whether a node multiplies every channel by a number and adds one, and does nothing else: a 1x1 depthwise convolution."""
    weight = node.params.get("weight")
    return node.op == "conv" and weight is not None and weight.shape[1:] == (1, 1, 1) and node.attributes["groups"] == len(weight)


def _has_its_own(source: Node, consumers: dict[str, list[Node]]) -> bool:
    return source.op == "conv" and len(consumers[source.name]) == 1


def _scale(norm: Node) -> Node:
    channels = len(norm.params["gamma"])
    settings = {"stride": (1, 1), "pads": (0, 0, 0, 0), "dilation": (1, 1), "groups": channels}
    weight = np.ones((channels, 1, 1, 1), np.float32)
    return Node(name=f"{norm.name}.conv", op="conv", inputs=norm.inputs, params={"weight": weight}, attributes=settings)
