"""Writes an integer program as one ONNX file in the portable form: QOperators on uint8 codes, one node an operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from clinquant.core.edges import open_edges
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
    Operator,
    Requantize,
    Table,
)
from clinquant.lab.export import tokens
from clinquant.lab.export.builder import MICROSOFT, GraphBuilder
from clinquant.lab.export.writer import Writer


def export_integer(program: IntegerProgram, path: Path, *, description: str = "") -> Path:
    """Writes `program` to `path`; the file's every tensor equals `core.reference.execute` code by code."""
    linear = program.operators[-1]
    assert isinstance(linear, Linear)
    assert not open_edges(program), open_edges(program)
    graph = GraphBuilder(program.size)
    writer = Writer(graph, program)
    for operator in program.operators:
        WRITERS[type(operator)](writer, operator)
    graph.output("logits", ["n", len(linear.weight)])
    if program.class_map is not None:
        _conv(writer, program.class_map)
        scale, zero = writer.grid(program.class_map.name)
        graph.node("DequantizeLinear", [program.class_map.name, scale, zero], "class_map")
        graph.output("class_map", ["n", len(linear.weight), "h_map", "w_map"])
    return graph.write(path, description)


def _image(writer: Writer, operator: Image) -> None:
    codes = writer.graph.pixels()
    if operator.table is not None:
        codes = _looked_up(writer, codes, operator.table)
    if operator.block > 1:
        writer.graph.node("SpaceToDepth", [codes], operator.name, blocksize=operator.block)
    else:
        writer.graph.node("Identity", [codes], operator.name)


def _looked_up(writer: Writer, pixels: str, tables: np.ndarray) -> str:
    """Each colour's pixels through its own table."""
    index = writer.graph.node("Cast", [pixels], "preprocess.index", to=onnx.TensorProto.INT32)
    planes = ["preprocess.red", "preprocess.green", "preprocess.blue"]
    writer.graph.nodes("Split", [index], planes, axis=1, num_outputs=3)
    for plane, table in zip(planes, tables, strict=True):
        writer.graph.node("Gather", [writer.graph.constant(f"{plane}.table", table), plane], f"{plane}.codes")
    return writer.graph.node("Concat", [f"{plane}.codes" for plane in planes], "preprocess.codes", axis=1)


def _conv(writer: Writer, operator: Conv) -> None:
    name, weights = operator.name, writer.weights(operator)
    bias = writer.graph.constant(f"{name}.bias", operator.bias)
    writer.graph.node(
        "QLinearConv",
        [operator.inputs[0], *writer.grid(operator.inputs[0]), *weights, *writer.grid(name), bias],
        name,
        strides=operator.stride,
        pads=operator.pads,
        dilations=operator.dilation,
        group=operator.groups,
    )


def _linear(writer: Writer, operator: Linear) -> None:
    source = operator.inputs[0]
    flat = writer.graph.node("Flatten", [source], f"{source}.flat")
    bias = writer.graph.constant(f"{operator.name}.bias", operator.bias)
    writer.graph.node(
        "QGemm", [flat, *writer.grid(source), *writer.weights(operator), bias], "logits", domain=MICROSOFT, transA=0, transB=1, alpha=1.0
    )


def _clip(writer: Writer, operator: Clip) -> None:
    low = writer.graph.constant(f"{operator.name}.low", np.uint8(operator.low))
    high = writer.graph.constant(f"{operator.name}.high", np.uint8(operator.high))
    writer.graph.node("Clip", [operator.inputs[0], low, high], operator.name)


def _add(writer: Writer, operator: Add) -> None:
    a, b = operator.inputs
    writer.graph.node("QLinearAdd", [a, *writer.grid(a), b, *writer.grid(b), *writer.grid(operator.name)], operator.name, domain=MICROSOFT)


def _mul(writer: Writer, operator: Mul) -> None:
    a, b = operator.inputs
    writer.graph.node("QLinearMul", [a, *writer.grid(a), b, *writer.grid(b), *writer.grid(operator.name)], operator.name, domain=MICROSOFT)


def _table(writer: Writer, operator: Table) -> None:
    """The runtime's own sigmoid, or Gather out of the 256 entries: the codes become its int32 indices."""
    (source,) = operator.inputs
    if operator.function == "sigmoid":
        writer.graph.node("QLinearSigmoid", [source, *writer.grid(source), *writer.grid(operator.name)], operator.name, domain=MICROSOFT)
        return
    index = writer.graph.node("Cast", [source], f"{operator.name}.index", to=onnx.TensorProto.INT32)
    writer.graph.node("Gather", [writer.graph.constant(f"{operator.name}.table", operator.table), index], operator.name)


def _concat(writer: Writer, operator: Concat) -> None:
    parts = [name for source in operator.inputs for name in (source, *writer.grid(source))]
    writer.graph.node("QLinearConcat", [*writer.grid(operator.name), *parts], operator.name, domain=MICROSOFT, axis=1)


def _requantize(writer: Writer, operator: Requantize) -> None:
    """A concatenation of one: the one portable operator that is a table of codes."""
    (source,) = operator.inputs
    parts = [*writer.grid(operator.name), source, *writer.grid(source)]
    writer.graph.node("QLinearConcat", parts, operator.name, domain=MICROSOFT, axis=1)


def _max_pool(writer: Writer, operator: MaxPool) -> None:
    writer.graph.node(
        "MaxPool", [operator.inputs[0]], operator.name, kernel_shape=operator.kernel, strides=operator.stride, pads=operator.pads
    )


def _global_average_pool(writer: Writer, operator: GlobalAveragePool) -> None:
    source = operator.inputs[0]
    writer.graph.node(
        "QLinearGlobalAveragePool",
        [source, *writer.grid(source), *writer.grid(operator.name)],
        operator.name,
        domain=MICROSOFT,
        channels_last=0,
    )


WRITERS: dict[type[Operator], Callable[..., None]] = {
    Image: _image,
    Conv: _conv,
    Linear: _linear,
    Clip: _clip,
    Add: _add,
    Mul: _mul,
    Table: _table,
    Concat: _concat,
    MaxPool: _max_pool,
    Requantize: _requantize,
    GlobalAveragePool: _global_average_pool,
    **tokens.WRITERS,
}
"""Operator -> the function `(writer, operator)` that writes it."""
