"""Makes a last 1x1 convolution the linear layer that it is, as in SqueezeNet's and MobileNet's kin."""

from __future__ import annotations

from dataclasses import replace

from clinquant.core.graph import Network, Node


def with_linear_head(network: Network) -> Network:
    """`network` with its last layer, a 1x1 convolution before or behind the global pooling, as a linear layer behind it; else as it is.

    The mean of a plane and a 1x1 convolution commute.
    """
    tail = network.nodes[-3:]
    flat = tail[-1]
    if flat.op != "flatten" or [node.name for node in tail[:2]] != [tail[1].inputs[0], flat.inputs[0]]:
        return network
    pool, conv = (tail[0], tail[1]) if tail[1].op == "conv" else (tail[1], tail[0])
    if pool.op != "global_average_pool" or conv.op != "conv" or not _is_linear(conv) or _read_twice(network, tail):
        return network
    source = tail[0].inputs[0] if conv is tail[0] else pool.inputs[0]
    weight = conv.params["weight"]
    linear = Node(
        name=conv.name, op="linear", inputs=(flat.name,), params={**conv.params, "weight": weight.reshape(len(weight), weight.shape[1])}
    )
    return Network(nodes=(*network.nodes[:-3], replace(pool, inputs=(source,)), replace(flat, inputs=(pool.name,)), linear))


def _is_linear(conv: Node) -> bool:
    a = conv.attributes
    plain = (tuple(a["stride"]), tuple(a["pads"]), a["groups"]) == ((1, 1), (0, 0, 0, 0), 1)
    return plain and conv.params["weight"].shape[2:] == (1, 1)


def _read_twice(network: Network, tail: tuple[Node, ...]) -> bool:
    consumers = network.consumers()
    return any(len(consumers[node.name]) != 1 for node in tail[:-1])
