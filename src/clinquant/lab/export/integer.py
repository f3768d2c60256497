"""Writes an integer program as one ONNX file in the portable form: QOperators on uint8 codes, one node an operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from clinquant.core.affine import QParams
from clinquant.core.edges import open_edges
from clinquant.core.integer import (
    Add,
    Clip,
    Concat,
    Conv,
    Dense,
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
from clinquant.lab.export import tokens
from clinquant.lab.export.builder import MICROSOFT, GraphBuilder


def export_integer(program: IntegerProgram, path: Path, *, description: str = "") -> Path:
    """Writes `program` to `path`; the file's every tensor equals `core.reference.execute` code by code."""
    linear = program.operators[-1]
    assert isinstance(linear, Linear)
    assert not open_edges(program), open_edges(program)
    graph = GraphBuilder(program.size)
    writer = _Writer(graph, program)
    for operator in program.operators:
        WRITERS[type(operator)](writer, operator)
    graph.output("logits", ["n", len(linear.weight)])
    if program.class_map is not None:
        writer.conv(program.class_map)
        scale, zero = writer.grid(program.class_map.name)
        graph.node("DequantizeLinear", [program.class_map.name, scale, zero], "class_map")
        graph.output("class_map", ["n", len(linear.weight), "h_map", "w_map"])
    return graph.write(path, description)


class _Writer:
    """One method an operator; grids become two scalars each."""

    def __init__(self, graph: GraphBuilder, program: IntegerProgram) -> None:
        self.graph, self.program = graph, program

    def grid(self, tensor: str) -> list[str]:
        """Names of the scale and zero point of `tensor`."""
        q: QParams = self.program.tensors[tensor]
        scale = self.graph.constant(f"{tensor}.scale", np.float32(q.scale))
        return [scale, self.graph.constant(f"{tensor}.zero", np.uint8(q.zero_point))]

    def image(self, operator: Image) -> None:
        codes = self.graph.pixels()
        if operator.table is not None:
            codes = self.looked_up(codes, operator.table)
        if operator.block > 1:
            self.graph.node("SpaceToDepth", [codes], operator.name, blocksize=operator.block)
        else:
            self.graph.node("Identity", [codes], operator.name)

    def looked_up(self, pixels: str, tables: np.ndarray) -> str:
        """Each colour's pixels through its own table."""
        index = self.graph.node("Cast", [pixels], "preprocess.index", to=onnx.TensorProto.INT32)
        planes = ["preprocess.red", "preprocess.green", "preprocess.blue"]
        self.graph.nodes("Split", [index], planes, axis=1, num_outputs=3)
        for plane, table in zip(planes, tables, strict=True):
            self.graph.node("Gather", [self.graph.constant(f"{plane}.table", table), plane], f"{plane}.codes")
        return self.graph.node("Concat", [f"{plane}.codes" for plane in planes], "preprocess.codes", axis=1)

    def conv(self, operator: Conv) -> None:
        name, weights = operator.name, self.weights(operator)
        bias = self.graph.constant(f"{name}.bias", operator.bias)
        self.graph.node(
            "QLinearConv",
            [operator.inputs[0], *self.grid(operator.inputs[0]), *weights, *self.grid(name), bias],
            name,
            strides=operator.stride,
            pads=operator.pads,
            dilations=operator.dilation,
            group=operator.groups,
        )

    def weights(self, operator: Conv | Linear | Dense) -> list[str]:
        """Names of the weight codes, their scales and zero points; the class map shares the classifier's codes."""
        name, rank = operator.name, operator.weight.ndim
        scale = self.graph.constant(f"{name}.weight_scale", operator.weight_scale)
        zero = self.graph.constant(f"{name}.weight_zero", np.zeros(len(operator.weight_scale), np.int8))
        if operator is self.program.class_map:
            linear = self.program.operators[-1].name
            shape = self.graph.constant("class_map.weight_shape", np.array([*operator.weight.shape], np.int64))
            return [self.graph.node("Reshape", [f"{linear}.weight", shape], f"{name}.weight"), scale, zero]
        assert rank in (2, 4)
        if isinstance(operator, Conv | Dense) and operator.weight_odd:
            return [self.graph.odd_codes(f"{name}.weight", operator.weight, operator.weight_bits), scale, zero]
        return [self.graph.codes(f"{name}.weight", operator.weight, operator.weight_bits), scale, zero]

    def linear(self, operator: Linear) -> None:
        source = operator.inputs[0]
        flat = self.graph.node("Flatten", [source], f"{source}.flat")
        bias = self.graph.constant(f"{operator.name}.bias", operator.bias)
        self.graph.node(
            "QGemm", [flat, *self.grid(source), *self.weights(operator), bias], "logits", domain=MICROSOFT, transA=0, transB=1, alpha=1.0
        )

    def clip(self, operator: Clip) -> None:
        low = self.graph.constant(f"{operator.name}.low", np.uint8(operator.low))
        high = self.graph.constant(f"{operator.name}.high", np.uint8(operator.high))
        self.graph.node("Clip", [operator.inputs[0], low, high], operator.name)

    def add(self, operator: Add) -> None:
        a, b = operator.inputs
        self.graph.node("QLinearAdd", [a, *self.grid(a), b, *self.grid(b), *self.grid(operator.name)], operator.name, domain=MICROSOFT)

    def mul(self, operator: Mul) -> None:
        a, b = operator.inputs
        self.graph.node("QLinearMul", [a, *self.grid(a), b, *self.grid(b), *self.grid(operator.name)], operator.name, domain=MICROSOFT)

    def table(self, operator: Table) -> None:
        """The runtime's own sigmoid, or Gather out of the 256 entries: the codes become its int32 indices."""
        (source,) = operator.inputs
        if operator.function == "sigmoid":
            self.graph.node("QLinearSigmoid", [source, *self.grid(source), *self.grid(operator.name)], operator.name, domain=MICROSOFT)
            return
        index = self.graph.node("Cast", [source], f"{operator.name}.index", to=onnx.TensorProto.INT32)
        self.graph.node("Gather", [self.graph.constant(f"{operator.name}.table", operator.table), index], operator.name)

    def concat(self, operator: Concat) -> None:
        parts = [name for source in operator.inputs for name in (source, *self.grid(source))]
        self.graph.node("QLinearConcat", [*self.grid(operator.name), *parts], operator.name, domain=MICROSOFT, axis=1)

    def requantize(self, operator: Requantize) -> None:
        """A concatenation of one: the one portable operator that is a table of codes."""
        (source,) = operator.inputs
        parts = [*self.grid(operator.name), source, *self.grid(source)]
        self.graph.node("QLinearConcat", parts, operator.name, domain=MICROSOFT, axis=1)

    def max_pool(self, operator: MaxPool) -> None:
        self.graph.node(
            "MaxPool", [operator.inputs[0]], operator.name, kernel_shape=operator.kernel, strides=operator.stride, pads=operator.pads
        )

    def global_average_pool(self, operator: GlobalAveragePool) -> None:
        source = operator.inputs[0]
        self.graph.node(
            "QLinearGlobalAveragePool",
            [source, *self.grid(source), *self.grid(operator.name)],
            operator.name,
            domain=MICROSOFT,
            channels_last=0,
        )


WRITERS: dict[type[Operator], Callable[..., None]] = {
    Image: _Writer.image,
    Conv: _Writer.conv,
    Linear: _Writer.linear,
    Clip: _Writer.clip,
    Add: _Writer.add,
    Mul: _Writer.mul,
    Table: _Writer.table,
    Concat: _Writer.concat,
    MaxPool: _Writer.max_pool,
    Requantize: _Writer.requantize,
    GlobalAveragePool: _Writer.global_average_pool,
    **tokens.WRITERS,
}
"""Operator -> the method that writes it."""
