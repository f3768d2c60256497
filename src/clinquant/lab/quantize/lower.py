"""Lowers a quantized network to the integer program that files are written from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from clinquant.core.affine import quantize, table_of
from clinquant.core.elementwise import ELEMENTWISE
from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Node
from clinquant.core.integer import (
    Add,
    Clip,
    Concat,
    Conv,
    GlobalAveragePool,
    Image,
    IntegerProgram,
    Linear,
    MaxPool,
    Mul,
    Table,
)
from clinquant.lab.quantize import lower_tokens
from clinquant.lab.quantize.execute import CLASS_MAP
from clinquant.lab.quantize.gates import hard_sigmoid_bounds, is_safe_sigmoid
from clinquant.lab.quantize.lowering import Lowering
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.stem import blocked_stem


def lower(quantized: QuantizedNetwork, *, temperature: float = 1.0) -> IntegerProgram:
    """The integer program of `quantized`, its logits divided by `temperature`.

    The temperature divides the last layer's weight scale after the bias was put on the accumulator's grid, so it costs
    nothing at run time and the bias is not rescaled twice.
    """
    return with_temperature(blocked_stem(_program(Lowering(quantized))), temperature)


def with_temperature(program: IntegerProgram, temperature: float) -> IntegerProgram:
    """`program` with its logits and class map divided by `temperature` (positive); no code changes."""
    linear = program.operators[-1]
    assert isinstance(linear, Linear)
    factor = np.float32(1.0 / temperature)
    operators = (*program.operators[:-1], replace(linear, weight_scale=linear.weight_scale * factor))
    if program.class_map is None:
        return replace(program, operators=operators)
    grid = program.tensors[program.class_map.name]
    tensors = dict(program.tensors) | {program.class_map.name: replace(grid, scale=np.asarray(grid.scale * factor, np.float32))}
    class_map = replace(program.class_map, weight_scale=program.class_map.weight_scale * factor)
    return replace(program, operators=operators, tensors=tensors, class_map=class_map)


def _program(lowering: Lowering) -> IntegerProgram:
    last = lowering.network.output
    if last.op != "linear":
        fix = "end the network in a Linear layer."
        if last.op == "softmax":
            fix = "return the logits: softmax is taken of them later."
        raise ClinquantError("operator-unsupported", f"{last.name}: the last layer is {last.op}, not Linear.", fix=fix)
    for node in lowering.network:
        if node.name not in lowering.activations:
            RULES[node.op](lowering, node)
    return IntegerProgram(
        operators=tuple(lowering.operators),
        tensors=lowering.tensors,
        size=lowering.quantized.card.preprocess.size,
        class_map=_class_map(lowering),
    )


def _image(lowering: Lowering, node: Node) -> None:
    grid, preprocess = lowering.quantized.activations["input"], lowering.quantized.card.preprocess
    table = None
    if not preprocess.is_affine_code:
        levels = np.arange(256)[None] - np.array(preprocess.mean)[:, None]
        table = quantize((levels / np.array(preprocess.std)[:, None]).astype(np.float32), grid).astype(np.uint8)
    lowering.emit(node, Image(name=node.name, inputs=("image",), table=table))


def _conv(lowering: Lowering, node: Node) -> None:
    a = node.attributes
    _convolution(lowering, node, node.params["weight"], a["stride"], a["pads"], a["dilation"], a["groups"])


def _convolution(
    lowering: Lowering,
    node: Node,
    weight: np.ndarray,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
) -> None:
    grid = lowering.quantized.weights[node.name]
    codes = quantize(weight, replace(grid, spec=replace(grid.spec, axis=0))).astype(np.int8)
    operator = Conv(
        name=node.name,
        inputs=lowering.sources(node),
        weight=codes,
        weight_scale=grid.scale,
        bias=lowering.bias(node),
        stride=stride,
        pads=pads,
        dilation=dilation,
        groups=groups,
        weight_bits=grid.spec.bits,
        weight_odd=grid.spec.odd,
    )
    lowering.emit(node, operator)


def _linear(lowering: Lowering, node: Node) -> None:
    """The last layer as such; a hidden one as a convolution over the whole plane that was flattened."""
    if node is lowering.network.output:
        grid = lowering.quantized.weights[node.name]
        codes = quantize(node.params["weight"], grid).astype(np.int8)
        lowering.operators.append(
            Linear(name=node.name, inputs=lowering.sources(node), weight=codes, weight_scale=grid.scale, bias=lowering.bias(node))
        )
        return
    if not lower_tokens.is_plane(lowering.network, node.inputs[0]):
        lower_tokens.dense(lowering, node)
        return
    channels, height, width = (*_plane_shape(lowering, node.inputs[0]), 1, 1)[:3]
    weight = node.params["weight"].reshape(-1, channels, height, width)
    _convolution(lowering, node, weight, (1, 1), (0, 0, 0, 0), (1, 1), 1)


def _plane_shape(lowering: Lowering, name: str) -> tuple[int, ...]:
    """Shape of the tensor that `name` flattens, or its own."""
    while lowering.network[name].op == "flatten":
        name = lowering.network[name].inputs[0]
    return lowering.quantized.shapes[name]


def _average_pool(lowering: Lowering, node: Node) -> None:
    """A depthwise convolution of ones: its integer sum is exact everywhere, which the runtimes' own pooling is not."""
    kernel, channels = node.attributes["kernel"], lowering.quantized.shapes[node.inputs[0]][0]
    share = np.full(channels, 1.0 / (kernel[0] * kernel[1]), np.float32)
    operator = Conv(
        name=node.name,
        inputs=lowering.sources(node),
        weight=np.ones((channels, 1, *kernel), np.int8),
        weight_scale=share,
        bias=np.zeros(channels, np.int32),
        stride=node.attributes["stride"],
        pads=node.attributes["pads"],
        dilation=(1, 1),
        groups=channels,
    )
    lowering.emit(node, operator)


def _add(lowering: Lowering, node: Node) -> None:
    lowering.emit(node, Add(name=node.name, inputs=lowering.sources(node)))


def _mul(lowering: Lowering, node: Node) -> None:
    lowering.emit(node, Mul(name=node.name, inputs=lowering.sources(node)))


def _elementwise(lowering: Lowering, node: Node) -> None:
    """A table from the input's grid to the output's; its entries lie in the output's width, so no bound follows. See `gates`."""
    (source,) = lowering.sources(node)
    read, grid = lowering.tensors[source], lowering.quantized.activations[node.name]
    bounds = hard_sigmoid_bounds(read, grid) if node.op == "hard_sigmoid" else None
    if bounds:
        lowering.operators.append(Clip(name=node.name, inputs=(source,), low=bounds[0], high=bounds[1]))
    else:
        table = table_of(partial(ELEMENTWISE[node.op], **node.attributes), read, grid)
        function = "sigmoid" if node.op == "sigmoid" and is_safe_sigmoid(read, grid) else None
        lowering.operators.append(Table(name=node.name, inputs=(source,), table=table, function=function))
    lowering.tensor[node.name] = node.name
    lowering.tensors[node.name], lowering.grid_names[node.name] = grid, node.name


def _concat(lowering: Lowering, node: Node) -> None:
    lowering.emit(node, Concat(name=node.name, inputs=lowering.sources(node)))


def _global_average_pool(lowering: Lowering, node: Node) -> None:
    lowering.emit(node, GlobalAveragePool(name=node.name, inputs=lowering.sources(node)))


def _max_pool(lowering: Lowering, node: Node) -> None:
    a = node.attributes
    lowering.keep(node, MaxPool(name=node.name, inputs=lowering.sources(node), kernel=a["kernel"], stride=a["stride"], pads=a["pads"]))


def _activation(lowering: Lowering, node: Node) -> None:
    """An activation that no producer performs: a bound on its input's codes."""
    (source,) = lowering.sources(node)
    lowering.bound(node, source, lowering.tensors[source])


def _flatten(lowering: Lowering, node: Node) -> None:
    lowering.tensor[node.name] = lowering.sources(node)[0]


def _unflatten(lowering: Lowering, node: Node) -> None:
    if _plane_shape(lowering, node.inputs[0])[1:] not in ((), (1, 1)):
        raise ClinquantError("operator-unsupported", f"{node.name}: a flattened plane as channels.", fix="pool the plane first.")
    _flatten(lowering, node)


def _class_map(lowering: Lowering) -> Conv | None:
    """The classifier's codes as a 1x1 convolution over the feature map; its mean over the plane plus bias is the logits."""
    found = lowering.network.classifier()
    if found is None:
        return None
    feature, linear = lowering.tensor[found[0]], lowering.operators[-1]
    assert isinstance(linear, Linear)
    lowering.tensors[CLASS_MAP] = lowering.quantized.activations[CLASS_MAP]
    return Conv(
        name=CLASS_MAP,
        inputs=(feature,),
        weight=linear.weight[:, :, None, None],
        weight_scale=linear.weight_scale,
        bias=np.zeros(len(linear.weight), np.int32),
        stride=(1, 1),
        pads=(0, 0, 0, 0),
        dilation=(1, 1),
        groups=1,
    )


RULES: dict[str, Callable[[Lowering, Node], None]] = {
    "input": _image,
    "conv": _conv,
    "linear": _linear,
    "relu": _activation,
    "clip": _activation,
    "add": _add,
    "mul": _mul,
    "concat": _concat,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_average_pool": _global_average_pool,
    "flatten": _flatten,
    "unflatten": _unflatten,
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **lower_tokens.RULES,
}
"""Operator of a folded network -> how it becomes integer operators."""
