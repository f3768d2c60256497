"""Integer arithmetic in float kernels: another file with the same answer, for runtimes whose integer kernels are slow.

A sum of integers below 2^24 is exact in float32, whatever the order. So a `QLinearConv` none of whose sums can reach that bound may
run as a float convolution of its codes: DequantizeLinear (scale 1), Conv, Mul by the layer's own float32 multiplier, QuantizeLinear
(scale 1), which is what the integer operator does to its int32 sums. The graph must be opened with optimisation off: merging Mul into
Conv would round weights.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

BOUND = 2**24
"""The first integer after which float32 skips one."""

SHORT_SUM = 128
"""Products a sum up to which convolutions run in float kernels: of 32, 64, 128, 200 and 1,000, tried by hand on MobileNetV2 and
EfficientNet-Lite0, 64 and 128 were quickest. What 128 gives stands in `benchmarks/results/wasm.csv`."""

ONE = "kernels.one"


def exact_in_float(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the convolutions whose sums stay below `BOUND` for any codes, in every output channel: proven, not tried.

    Args:
        model: an integer file with int8 weights as initializers (expanded, where it was packed).
    """
    held = _constants(model)
    return frozenset(node.name for node in model.graph.node if node.op_type == "QLinearConv" and _largest_sum(node, held) < BOUND)


def largest_sum(model: onnx.ModelProto, names: Collection[str]) -> int:
    """The largest absolute sum that any of these convolutions can have, for any codes."""
    held = _constants(model)
    return max((_largest_sum(node, held) for node in model.graph.node if node.name in names), default=0)


def _largest_sum(node: onnx.NodeProto, held: Mapping[str, NDArray[np.generic]]) -> int:
    """The largest absolute value that a partial or whole sum of the convolution can have; `BOUND` where its constants are not at hand."""
    if node.input[3] not in held:
        return BOUND
    weight, zero = held[node.input[3]].astype(np.int64), int(held[node.input[2]])
    reach = np.abs(weight).reshape(len(weight), -1).sum(1) * max(zero, 255 - zero)
    bias = held[node.input[8]].astype(np.int64) if len(node.input) > 8 else np.zeros(len(weight), np.int64)
    return int((reach + np.abs(bias)).max())


def quicker_in_float(model: onnx.ModelProto) -> frozenset[str]:
    """Of `exact_in_float`, those that ONNX Runtime Web computes faster in float: of at most `SHORT_SUM` products, as depthwise ones are.

    None in a network without depthwise convolutions: what its few short sums gain is less than graph optimisation, which float kernels
    forbid (ResNets in `benchmarks/results/wasm.csv`).
    """
    dims = {constant.name: tuple(constant.dims) for constant in model.graph.initializer}
    proven, found = exact_in_float(model), (node for node in model.graph.node if node.op_type == "QLinearConv")
    sums = {node.name: math.prod(dims[node.input[3]][1:]) for node in found if node.input[3] in dims}
    depthwise = any(dims[node.input[3]][1] == 1 and dims[node.input[3]][0] > 1 for node in model.graph.node if node.name in sums)
    return frozenset(name for name, products in sums.items() if products <= SHORT_SUM and name in proven) if depthwise else frozenset()


def with_float_kernels(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """A copy of `model` in which these convolutions, each of `exact_in_float`, compute their integers in float kernels.

    Raises:
        ValueError: a convolution that is not proven exact.
    """
    if not_proven := set(names) - exact_in_float(model):
        raise ValueError(f"not proven exact in float32: {', '.join(sorted(not_proven))}")
    found = onnx.ModelProto()
    found.CopyFrom(model)
    held, nodes = _constants(model), list[onnx.NodeProto]()
    constants: dict[str, NDArray[np.generic]] = {ONE: np.array(1, np.float32)}
    for node in model.graph.node:
        if node.name not in names:
            nodes.append(node)
            continue
        made, needed = _in_float(node, held)
        nodes += made
        constants |= needed
    read = {name for node in nodes for name in node.input}
    kept = [constant for constant in model.graph.initializer if constant.name in read]
    del found.graph.node[:], found.graph.initializer[:]
    found.graph.node.extend(nodes)
    found.graph.initializer.extend([*kept, *(numpy_helper.from_array(array, name) for name, array in constants.items())])
    return found


def _in_float(node: onnx.NodeProto, held: Mapping[str, NDArray[np.generic]]) -> tuple[list[onnx.NodeProto], dict[str, NDArray[np.generic]]]:
    """The four nodes, and the constants they need."""
    source, _, zero, weight, weight_scale, _, _, out_zero = node.input[:8]
    x_scale, y_scale = (held[node.input[place]].astype(np.float32) for place in (1, 6))
    multiplier = (x_scale * held[weight_scale].astype(np.float32)) / y_scale
    names = {part: f"{node.name}.{part}" for part in ("codes", "sums", "scaled", "weight_float", "bias_float", "multiplier")}
    constants: dict[str, NDArray[np.generic]] = {
        names["weight_float"]: held[weight].astype(np.float32),
        names["multiplier"]: multiplier.reshape(1, -1, 1, 1),
    }
    read = [names["codes"], names["weight_float"]]
    if len(node.input) > 8:
        constants[names["bias_float"]] = held[node.input[8]].astype(np.float32)
        read.append(names["bias_float"])
    convolution = helper.make_node("Conv", read, [names["sums"]], names["sums"])
    convolution.attribute.extend(node.attribute)
    return [
        helper.make_node("DequantizeLinear", [source, ONE, zero], [names["codes"]], names["codes"]),
        convolution,
        helper.make_node("Mul", [names["sums"], names["multiplier"]], [names["scaled"]], names["scaled"]),
        helper.make_node("QuantizeLinear", [names["scaled"], ONE, out_zero], list(node.output), node.name),
    ], constants


def _constants(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    return {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}
