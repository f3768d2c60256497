"""Lowers a quantized network to the integer program that files are written from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from clinquant.core.affine import QParams, quantize, quantize_bias, table_of
from clinquant.core.elementwise import ELEMENTWISE
from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Node
from clinquant.core.integer import (
    BYTE,
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
    Operator,
    Requantize,
    Table,
)
from clinquant.lab.quantize import lower_tokens
from clinquant.lab.quantize.execute import CLASS_MAP
from clinquant.lab.quantize.gates import hard_sigmoid_bounds, is_safe_sigmoid
from clinquant.lab.quantize.grids import fusions
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.stem import blocked_stem
from clinquant.lab.quantize.widths import narrow_name


def lower(quantized: QuantizedNetwork, *, temperature: float = 1.0) -> IntegerProgram:
    """The integer program of `quantized`, its logits divided by `temperature`.

    The temperature divides the last layer's weight scale after the bias was put on the accumulator's grid, so it costs
    nothing at run time and the bias is not rescaled twice.
    """
    return with_temperature(blocked_stem(_Lowering(quantized).program()), temperature)


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


class _Lowering:
    """Walks the network once; `tensor` maps a node to the program's tensor that holds its output."""

    def __init__(self, quantized: QuantizedNetwork) -> None:
        self.quantized = quantized
        self.network = quantized.network
        self.fused = fusions(self.network)
        self.activations = set(self.fused.values())
        self.tensor: dict[str, str] = {}
        self.grid_names: dict[str, str] = {}
        self.tensors: dict[str, QParams] = {}
        self.operators: list[Operator] = []

    def program(self) -> IntegerProgram:
        last = self.network.output
        if last.op != "linear":
            fix = "end the network in a Linear layer."
            if last.op == "softmax":
                fix = "return the logits: softmax is taken of them later."
            raise ClinquantError("operator-unsupported", f"{last.name}: the last layer is {last.op}, not Linear.", fix=fix)
        for node in self.network:
            if node.name not in self.activations:
                RULES[node.op](self, node)
        return IntegerProgram(
            operators=tuple(self.operators), tensors=self.tensors, size=self.quantized.card.preprocess.size, class_map=self.class_map()
        )

    def emit(self, node: Node, operator: Operator) -> None:
        """Appends `operator`, and the bound that its fused activation needs beyond the grid's own ends."""
        grid = self.quantized.activations[node.name]
        self.operators.append(operator)
        self.tensor[node.name] = operator.name
        self.tensors[operator.name], self.grid_names[operator.name] = grid, node.name
        if node.name in self.fused:
            activation = self.network[self.fused[node.name]]
            self.bound(activation, operator.name, grid)
        elif grid.spec.qmax < BYTE[1]:
            self.tensor[node.name] = self.clip(f"{operator.name}.bounded", operator.name, grid.spec.qmin, grid.spec.qmax)

    def keep(self, node: Node, operator: Operator) -> None:
        """Appends `operator`, whose codes mean what its input's do."""
        (source,) = operator.inputs
        self.operators.append(operator)
        self.tensor[node.name], self.tensors[node.name] = node.name, self.tensors[source]
        self.grid_names[node.name] = self.grid_names[source]

    def bound(self, activation: Node, source: str, grid: QParams) -> None:
        """A Clip where the activation's ends lie inside the grid's."""
        low = int(quantize(np.asarray(activation.attributes.get("low", 0.0), np.float32), grid))
        high = grid.spec.qmax
        if activation.op == "clip":
            high = int(quantize(np.asarray(activation.attributes["high"], np.float32), grid))
        self.tensor[activation.name] = source
        if low > grid.spec.qmin or high < BYTE[1]:
            self.tensor[activation.name] = self.clip(activation.name, source, low, high)

    def clip(self, name: str, source: str, low: int, high: int) -> str:
        """Appends a bound on the codes of `source`; returns its name."""
        self.operators.append(Clip(name=name, inputs=(source,), low=low, high=high))
        self.tensors[name], self.grid_names[name] = self.tensors[source], self.grid_names[source]
        return name

    def sources(self, node: Node) -> tuple[str, ...]:
        bits = self.quantized.widths.read_by(node.name)
        return tuple(self.narrowed(self.tensor[name], bits) for name in node.inputs)

    def narrowed(self, tensor: str, bits: int) -> str:
        """`tensor`, or the copy of it that layers of fewer bits read, made when first asked for."""
        grid = self.quantized.activations.get(narrow_name(self.grid_names[tensor], bits))
        if grid is None:
            return tensor
        name = narrow_name(tensor, bits)
        if name not in self.tensors:
            self.operators.append(Requantize(name=name, inputs=(tensor,)))
            self.tensors[name], self.grid_names[name] = grid, name
            self.clip(f"{name}.bounded", name, grid.spec.qmin, grid.spec.qmax)
        return f"{name}.bounded"

    def image(self, node: Node) -> None:
        grid, preprocess = self.quantized.activations["input"], self.quantized.card.preprocess
        table = None
        if not preprocess.is_affine_code:
            levels = np.arange(256)[None] - np.array(preprocess.mean)[:, None]
            table = quantize((levels / np.array(preprocess.std)[:, None]).astype(np.float32), grid).astype(np.uint8)
        self.emit(node, Image(name=node.name, inputs=("image",), table=table))

    def conv(self, node: Node) -> None:
        a = node.attributes
        self._conv(node, node.params["weight"], a["stride"], a["pads"], a["dilation"], a["groups"])

    def _conv(
        self,
        node: Node,
        weight: np.ndarray,
        stride: tuple[int, int],
        pads: tuple[int, int, int, int],
        dilation: tuple[int, int],
        groups: int,
    ) -> None:
        grid = self.quantized.weights[node.name]
        codes = quantize(weight, replace(grid, spec=replace(grid.spec, axis=0))).astype(np.int8)
        operator = Conv(
            name=node.name,
            inputs=self.sources(node),
            weight=codes,
            weight_scale=grid.scale,
            bias=self.bias(node),
            stride=stride,
            pads=pads,
            dilation=dilation,
            groups=groups,
            weight_bits=grid.spec.bits,
            weight_odd=grid.spec.odd,
        )
        self.emit(node, operator)

    def bias(self, node: Node) -> np.ndarray:
        grid = self.quantized.weights[node.name]
        bias = node.params.get("bias", np.zeros(len(grid.scale), np.float32))
        return quantize_bias(bias, self.tensors[self.sources(node)[0]].scale, grid.scale)

    def linear(self, node: Node) -> None:
        """The last layer as such; a hidden one as a convolution over the whole plane that was flattened."""
        if node is self.network.output:
            grid = self.quantized.weights[node.name]
            codes = quantize(node.params["weight"], grid).astype(np.int8)
            self.operators.append(
                Linear(name=node.name, inputs=self.sources(node), weight=codes, weight_scale=grid.scale, bias=self.bias(node))
            )
            return
        if not lower_tokens.is_plane(self.network, node.inputs[0]):
            lower_tokens.dense(self, node)
            return
        channels, height, width = (*self._plane(node.inputs[0]), 1, 1)[:3]
        weight = node.params["weight"].reshape(-1, channels, height, width)
        self._conv(node, weight, (1, 1), (0, 0, 0, 0), (1, 1), 1)

    def _plane(self, name: str) -> tuple[int, ...]:
        """Shape of the tensor that `name` flattens, or its own."""
        while self.network[name].op == "flatten":
            name = self.network[name].inputs[0]
        return self.quantized.shapes[name]

    def average_pool(self, node: Node) -> None:
        """A depthwise convolution of ones: its integer sum is exact everywhere, which the runtimes' own pooling is not."""
        kernel, channels = node.attributes["kernel"], self.quantized.shapes[node.inputs[0]][0]
        share = np.full(channels, 1.0 / (kernel[0] * kernel[1]), np.float32)
        operator = Conv(
            name=node.name,
            inputs=self.sources(node),
            weight=np.ones((channels, 1, *kernel), np.int8),
            weight_scale=share,
            bias=np.zeros(channels, np.int32),
            stride=node.attributes["stride"],
            pads=node.attributes["pads"],
            dilation=(1, 1),
            groups=channels,
        )
        self.emit(node, operator)

    def add(self, node: Node) -> None:
        self.emit(node, Add(name=node.name, inputs=self.sources(node)))

    def mul(self, node: Node) -> None:
        self.emit(node, Mul(name=node.name, inputs=self.sources(node)))

    def elementwise(self, node: Node) -> None:
        """A table from the input's grid to the output's; its entries lie in the output's width, so no bound follows. See `gates`."""
        (source,) = self.sources(node)
        read, grid = self.tensors[source], self.quantized.activations[node.name]
        bounds = hard_sigmoid_bounds(read, grid) if node.op == "hard_sigmoid" else None
        if bounds:
            self.operators.append(Clip(name=node.name, inputs=(source,), low=bounds[0], high=bounds[1]))
        else:
            table = table_of(partial(ELEMENTWISE[node.op], **node.attributes), read, grid)
            function = "sigmoid" if node.op == "sigmoid" and is_safe_sigmoid(read, grid) else None
            self.operators.append(Table(name=node.name, inputs=(source,), table=table, function=function))
        self.tensor[node.name] = node.name
        self.tensors[node.name], self.grid_names[node.name] = grid, node.name

    def concat(self, node: Node) -> None:
        self.emit(node, Concat(name=node.name, inputs=self.sources(node)))

    def global_average_pool(self, node: Node) -> None:
        self.emit(node, GlobalAveragePool(name=node.name, inputs=self.sources(node)))

    def max_pool(self, node: Node) -> None:
        a = node.attributes
        self.keep(node, MaxPool(name=node.name, inputs=self.sources(node), kernel=a["kernel"], stride=a["stride"], pads=a["pads"]))

    def activation(self, node: Node) -> None:
        """An activation that no producer performs: a bound on its input's codes."""
        (source,) = self.sources(node)
        self.bound(node, source, self.tensors[source])

    def flatten(self, node: Node) -> None:
        self.tensor[node.name] = self.sources(node)[0]

    def unflatten(self, node: Node) -> None:
        if self._plane(node.inputs[0])[1:] not in ((), (1, 1)):
            raise ClinquantError("operator-unsupported", f"{node.name}: a flattened plane as channels.", fix="pool the plane first.")
        self.flatten(node)

    def class_map(self) -> Conv | None:
        """The classifier's codes as a 1x1 convolution over the feature map; its mean over the plane plus bias is the logits."""
        found = self.network.classifier()
        if found is None:
            return None
        feature, linear = self.tensor[found[0]], self.operators[-1]
        assert isinstance(linear, Linear)
        self.tensors[CLASS_MAP] = self.quantized.activations[CLASS_MAP]
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


RULES: dict[str, Callable[[_Lowering, Node], None]] = {
    "input": _Lowering.image,
    "conv": _Lowering.conv,
    "linear": _Lowering.linear,
    "relu": _Lowering.activation,
    "clip": _Lowering.activation,
    "add": _Lowering.add,
    "mul": _Lowering.mul,
    "concat": _Lowering.concat,
    "max_pool": _Lowering.max_pool,
    "average_pool": _Lowering.average_pool,
    "global_average_pool": _Lowering.global_average_pool,
    "flatten": _Lowering.flatten,
    "unflatten": _Lowering.unflatten,
    **dict.fromkeys(ELEMENTWISE, _Lowering.elementwise),
    **lower_tokens.RULES,
}
"""Operator of a folded network -> how it becomes integer operators."""
