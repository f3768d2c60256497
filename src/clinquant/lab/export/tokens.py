"""Writes what transformers need beside convolutions: integer products of matrices, moved codes, and float islands between Q and DQ."""

from __future__ import annotations

from typing import Any

import numpy as np

from clinquant.core.integer import Constant, Dense, LayerNorm, MatMul, Reshape, Select, Slice, Softmax, Transpose
from clinquant.core.tokens import factor_scale
from clinquant.lab.export.builder import MICROSOFT, GraphBuilder
from clinquant.lab.export.writer import Writer


def repeated(graph: GraphBuilder, name: str, value: np.ndarray, source: str) -> str:
    """`value` [1, ...] repeated as often as `source` has images; returns `name`."""
    count = graph.node("Shape", [source], f"{name}.images", start=0, end=1)
    sides = graph.constant(f"{name}.sides", np.array(value.shape[1:], np.int64))
    shape = graph.node("Concat", [count, sides], f"{name}.shape", axis=0)
    return graph.node("Expand", [graph.constant(f"{name}.once", value), shape], name)


def _constant(writer: Writer, operator: Constant) -> None:
    repeated(writer.graph, operator.name, operator.codes, operator.inputs[0])


def _dense(writer: Writer, operator: Dense) -> None:
    """QGemm over all tokens as rows."""
    graph, name, source = writer.graph, operator.name, operator.inputs[0]
    outputs, features = operator.weight.shape
    rows = graph.node("Reshape", [source, graph.constant(f"{name}.row", np.array([-1, features], np.int64))], f"{name}.rows")
    bias = graph.constant(f"{name}.bias", operator.bias)
    inputs = [rows, *writer.grid(source), *writer.weights(operator), bias, *writer.grid(name)]
    flat = graph.node("QGemm", inputs, f"{name}.flat", domain=MICROSOFT, transA=0, transB=1, alpha=1.0)
    sides = graph.constant(f"{name}.outputs", np.array([outputs], np.int64))
    before = graph.node("Shape", [source], f"{name}.before", start=0, end=-1)
    graph.node("Reshape", [flat, graph.node("Concat", [before, sides], f"{name}.shape", axis=0)], name)


def _matmul(writer: Writer, operator: MatMul) -> None:
    a, b = operator.inputs
    scale = writer.graph.constant(f"{operator.name}.factor_scale", factor_scale(operator, writer.program.tensors[a]))
    inputs = [a, scale, writer.grid(a)[1], b, *writer.grid(b), *writer.grid(operator.name)]
    writer.graph.node("QLinearMatMul", inputs, operator.name)


def _reshape(writer: Writer, operator: Reshape) -> None:
    write_reshape(writer.graph, operator.name, operator.inputs[0], operator.shape)


def _transpose(writer: Writer, operator: Transpose) -> None:
    writer.graph.node("Transpose", [operator.inputs[0]], operator.name, perm=operator.axes)


def _select(writer: Writer, operator: Select) -> None:
    write_select(writer.graph, operator.name, operator.inputs[0], operator.axis, operator.index)


def _part(writer: Writer, operator: Slice) -> None:
    write_slice(writer.graph, operator.name, operator.inputs[0], operator.axis, operator.start, operator.stop)


def _softmax(writer: Writer, operator: Softmax) -> None:
    _island(writer, operator, "Softmax", [], axis=-1)


def _layer_norm(writer: Writer, operator: LayerNorm) -> None:
    params = [writer.graph.constant(f"{operator.name}.{role}", getattr(operator, role)) for role in ("gamma", "beta")]
    _island(writer, operator, "LayerNormalization", params, axis=-1, epsilon=operator.epsilon)


def _island(writer: Writer, operator: Softmax | LayerNorm, op: str, params: list[str], **attributes: Any) -> None:
    graph, name, source = writer.graph, operator.name, operator.inputs[0]
    value = graph.node("DequantizeLinear", [source, *writer.grid(source)], f"{name}.read")
    result = graph.node(op, [value, *params], f"{name}.float", **attributes)
    graph.node("QuantizeLinear", [result, *writer.grid(name)], name)


def write_reshape(graph: GraphBuilder, name: str, source: str, shape: tuple[int, ...]) -> None:
    """Reshape; -1 for the axis that holds the images."""
    graph.node("Reshape", [source, graph.constant(f"{name}.shape", np.array(shape, np.int64))], name)


def write_select(graph: GraphBuilder, name: str, source: str, axis: int, index: int) -> None:
    """Gather of one index, which drops the axis."""
    graph.node("Gather", [source, graph.constant(f"{name}.index", np.int64(index))], name, axis=axis)


def write_slice(graph: GraphBuilder, name: str, source: str, axis: int, start: int, stop: int) -> None:
    """Slice of one axis."""
    ends = [
        graph.constant(f"{name}.{role}", np.array([value], np.int64)) for role, value in (("start", start), ("stop", stop), ("axis", axis))
    ]
    graph.node("Slice", [source, *ends], name)


WRITERS: dict[type, Any] = {
    Constant: _constant,
    Dense: _dense,
    MatMul: _matmul,
    Reshape: _reshape,
    Transpose: _transpose,
    Select: _select,
    Slice: _part,
    Softmax: _softmax,
    LayerNorm: _layer_norm,
}
"""Operator -> the function `(writer, operator)` that writes it."""
