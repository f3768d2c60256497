"""Writes the float baseline to the same contract as the integer file: uint8 pixels of any size in, logits and class map out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from clinquant.core.graph import Network, Node
from clinquant.core.preprocess import Preprocess
from clinquant.lab.export import tokens
from clinquant.lab.export.builder import GraphBuilder


def export_float(network: Network, preprocess: Preprocess, path: Path, *, temperature: float = 1.0, description: str = "") -> Path:
    """Writes `network` (batch norm folded) to `path` in float32, its logits divided by `temperature`."""
    classes = len(network.output.params["weight"])
    graph = GraphBuilder(preprocess.size)
    write_input(graph, network.nodes[0], preprocess)
    for node in network.nodes[1:-1]:
        WRITERS[node.op](graph, node)
    write_logits(graph, network.output, temperature)
    graph.output("logits", ["n", classes])
    found = network.classifier()
    if found:
        feature, linear = found
        weight = linear.params["weight"][:, :, None, None] / np.float32(temperature)
        graph.node("Conv", [feature, graph.constant("class_map.weight", weight)], "class_map")
        graph.output("class_map", ["n", classes, "h_map", "w_map"])
    return graph.write(path, description)


def write_input(graph: GraphBuilder, node: Node, preprocess: Preprocess) -> None:
    """Resize, then (pixel - mean) / std."""
    pixels = graph.node("Cast", [graph.pixels()], "preprocess.float", to=onnx.TensorProto.FLOAT)
    mean = graph.constant("preprocess.mean", np.array(preprocess.mean, np.float32).reshape(1, 3, 1, 1))
    std = graph.constant("preprocess.std", np.array(preprocess.std, np.float32).reshape(1, 3, 1, 1))
    graph.node("Div", [graph.node("Sub", [pixels, mean], "preprocess.centred"), std], node.name)


def write_conv(graph: GraphBuilder, node: Node) -> None:
    """Conv with its bias."""
    a = node.attributes
    inputs = [
        node.inputs[0],
        *(graph.constant(f"{node.name}.{role}", node.params[role]) for role in ("weight", "bias") if role in node.params),
    ]
    graph.node("Conv", inputs, node.name, strides=a["stride"], pads=a["pads"], dilations=a["dilation"], group=a["groups"])


def write_linear(graph: GraphBuilder, node: Node, divisor: float = 1.0, output: str | None = None) -> None:
    """Gemm, or MatMul and Add over the last axis of tokens."""
    roles = [role for role in ("weight", "bias") if role in node.params]
    params = [graph.constant(f"{node.name}.{role}", node.params[role] / np.float32(divisor)) for role in roles]
    linear(graph, node, params, output or node.name)


def linear(graph: GraphBuilder, node: Node, params: list[str], output: str) -> None:
    """Gemm of the tensors `params` (weight [o, i], bias), or over tokens MatMul and Add."""
    if not node.attributes.get("tokens"):
        graph.node("Gemm", [node.inputs[0], *params], output, transB=1)
        return
    turned = graph.node("Transpose", [params[0]], f"{node.name}.turned", perm=[1, 0])
    product = graph.node("MatMul", [node.inputs[0], turned], f"{node.name}.product" if params[1:] else output)
    if params[1:]:
        graph.node("Add", [product, params[1]], output)


def write_logits(graph: GraphBuilder, node: Node, temperature: float) -> None:
    """The last layer, divided by the temperature."""
    write_linear(graph, node, temperature, "logits")


def write_clip(graph: GraphBuilder, node: Node) -> None:
    """Clip between two constants."""
    ends = [graph.constant(f"{node.name}.{end}", np.float32(node.attributes[end])) for end in ("low", "high")]
    graph.node("Clip", [node.inputs[0], *ends], node.name)


def write_pool(op: str) -> Callable[[GraphBuilder, Node], None]:
    """The writer of a windowed pooling operator."""

    def write(graph: GraphBuilder, node: Node) -> None:
        a = node.attributes
        extra: dict[str, Any] = {"count_include_pad": 1} if op == "AveragePool" else {}
        graph.node(op, [node.inputs[0]], node.name, kernel_shape=a["kernel"], strides=a["stride"], pads=a["pads"], **extra)

    return write


def write_plain(op: str, **attributes: Any) -> Callable[[GraphBuilder, Node], None]:
    """The writer of an operator that has inputs only."""

    def write(graph: GraphBuilder, node: Node) -> None:
        graph.node(op, list(node.inputs), node.name, **attributes)

    return write


def write_silu(graph: GraphBuilder, node: Node) -> None:
    """x sigmoid(x)."""
    gate = graph.node("Sigmoid", [node.inputs[0]], f"{node.name}.gate")
    graph.node("Mul", [node.inputs[0], gate], node.name)


def write_mish(graph: GraphBuilder, node: Node) -> None:
    """x tanh(softplus(x))."""
    gate = graph.node("Tanh", [graph.node("Softplus", [node.inputs[0]], f"{node.name}.softplus")], f"{node.name}.gate")
    graph.node("Mul", [node.inputs[0], gate], node.name)


def write_slope(op: str, attribute: str) -> Callable[[GraphBuilder, Node], None]:
    """The writer of an activation whose only parameter ONNX calls alpha."""

    def write(graph: GraphBuilder, node: Node) -> None:
        graph.node(op, [node.inputs[0]], node.name, alpha=node.attributes[attribute])

    return write


def write_affine(graph: GraphBuilder, node: Node) -> None:
    """factor x + term."""
    factor, term = (graph.constant(f"{node.name}.{role}", np.float32(node.attributes[role])) for role in ("factor", "term"))
    graph.node("Add", [graph.node("Mul", [node.inputs[0], factor], f"{node.name}.scaled"), term], node.name)


def write_unflatten(graph: GraphBuilder, node: Node) -> None:
    """[n, c] to [n, c, 1, 1]."""
    axes = graph.constant(f"{node.name}.axes", np.array([2, 3], np.int64))
    graph.node("Unsqueeze", [node.inputs[0], axes], node.name)


def write_constant(graph: GraphBuilder, node: Node) -> None:
    """A tensor of the network, repeated for every image."""
    tokens.repeated(graph, node.name, node.params["value"], node.inputs[0])


def write_reshape(graph: GraphBuilder, node: Node) -> None:
    """Reshape."""
    tokens.write_reshape(graph, node.name, node.inputs[0], node.attributes["shape"])


def write_transpose(graph: GraphBuilder, node: Node) -> None:
    """Transpose."""
    graph.node("Transpose", [node.inputs[0]], node.name, perm=node.attributes["axes"])


def write_select(graph: GraphBuilder, node: Node) -> None:
    """One slice of an axis."""
    tokens.write_select(graph, node.name, node.inputs[0], node.attributes["axis"], node.attributes["index"])


def write_slice(graph: GraphBuilder, node: Node) -> None:
    """A range of an axis."""
    a = node.attributes
    tokens.write_slice(graph, node.name, node.inputs[0], a["axis"], a["start"], a["stop"])


def write_matmul(graph: GraphBuilder, node: Node) -> None:
    """MatMul, times its factor."""
    product = graph.node("MatMul", list(node.inputs), f"{node.name}.product")
    graph.node("Mul", [product, graph.constant(f"{node.name}.factor", np.float32(node.attributes["factor"]))], node.name)


def write_layer_norm(graph: GraphBuilder, node: Node) -> None:
    """LayerNormalization over the last axis."""
    params = [graph.constant(f"{node.name}.{role}", node.params[role]) for role in ("gamma", "beta")]
    graph.node("LayerNormalization", [node.inputs[0], *params], node.name, axis=-1, epsilon=node.attributes["epsilon"])


WRITERS: dict[str, Callable[[GraphBuilder, Node], None]] = {
    "conv": write_conv,
    "linear": write_linear,
    "relu": write_plain("Relu"),
    "clip": write_clip,
    "add": write_plain("Add"),
    "mul": write_plain("Mul"),
    "concat": write_plain("Concat", axis=1),
    "max_pool": write_pool("MaxPool"),
    "average_pool": write_pool("AveragePool"),
    "global_average_pool": write_plain("GlobalAveragePool"),
    "flatten": write_plain("Flatten"),
    "unflatten": write_unflatten,
    "constant": write_constant,
    "reshape": write_reshape,
    "transpose": write_transpose,
    "select": write_select,
    "slice": write_slice,
    "matmul": write_matmul,
    "softmax": write_plain("Softmax", axis=-1),
    "layer_norm": write_layer_norm,
    "sigmoid": write_plain("Sigmoid"),
    "silu": write_silu,
    "hard_sigmoid": write_plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_swish": write_plain("HardSwish"),
    "gelu": write_plain("Gelu"),
    "gelu_tanh": write_plain("Gelu", approximate="tanh"),
    "tanh": write_plain("Tanh"),
    "mish": write_mish,
    "leaky_relu": write_slope("LeakyRelu", "slope"),
    "elu": write_slope("Elu", "alpha"),
    "affine": write_affine,
}
"""Operator of a folded network -> how it is written."""
