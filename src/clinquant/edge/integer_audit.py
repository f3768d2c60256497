"""Which share of a file's arithmetic really runs in 8-bit integers: asked of the runtime, not of the file.

ONNX Runtime rewrites a graph before it runs it: a quantized layer that lacks what a rule needs stays float, and no one is told. So the
graph that it made is written out, run on one picture with its own profile, and every node is counted by the data that it got.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError
from clinquant.evidence.evidence import ElementType, IntegerAudit

INT8 = ("uint8", "int8")

INT8_INSIDE = ("DynamicQuantizeMatMul",)
"""Operators that take floats and multiply 8-bit integers."""

UNCOUNTED = {
    "Attention", "ConvTranspose", "Einsum", "GroupQueryAttention", "GRU",
    "If", "Loop", "LSTM", "MatMulNBits", "MultiHeadAttention",
    "PackedAttention", "QAttention", "QLinearConvTranspose", "RNN", "Scan",
}  # fmt: skip
"""Operators that multiply and accumulate in ways that are not counted here; an audit names them."""


def integer_audit(model: Path, size: int) -> IntegerAudit:
    """What ONNX Runtime computes in integers when it runs `model` on one picture of `size` pixels.

    Padding that its layout adds to channels is counted, since it is computed. Raises ClinquantError `model-unreadable`.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            optimised = optimised_graph(model, Path(folder))
            nodes = executed(optimised, {"image": np.zeros((1, size, size, 3), np.uint8)}, Path(folder))
        except Exception as error:  # the binding raises bare RuntimeErrors of many kinds
            raise ClinquantError(
                "model-unreadable", f"ONNX Runtime cannot run {model} ({str(error).splitlines()[0]}).", fix="export the model again."
            ) from error
    return summed(nodes, optimised)


@dataclass(frozen=True, kw_only=True)
class Executed:
    """A node as it ran: operator, element types of its data and result, shapes of both and of its weight (or None)."""

    operator: str
    kind: str
    output_kind: str
    data: tuple[int, ...]
    output: tuple[int, ...]
    weight: tuple[int, ...] | None
    transposed: bool

    @property
    def macs(self) -> int:
        """Multiply-accumulates; 0 for an operator that has none."""
        return MACS[self.operator](self) if self.operator in MACS else 0


def optimised_graph(model: Path, folder: Path) -> onnx.ModelProto:
    """The graph that ONNX Runtime makes of `model` on this machine, every node named by its place."""
    options = _options()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(options.optimized_model_filepath)
    for place, node in enumerate(optimised.graph.node):
        node.name = f"node{place}"
    return optimised


def executed(optimised: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]], folder: Path) -> list[Executed]:
    """Every node of an optimised graph as it ran on these inputs, in the runtime's own words."""
    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    session = onnxruntime.InferenceSession(optimised.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, dict(inputs))
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ran = {event["name"].removesuffix("_kernel_time"): event["args"] for event in events if event["name"].endswith("_kernel_time")}
    shapes = {constant.name: tuple(constant.dims) for constant in optimised.graph.initializer}
    found = []
    for node in optimised.graph.node:
        if node.name in ran:
            found.append(_as_it_ran(node, ran[node.name], shapes))
            shapes[node.output[0]] = found[-1].output
    return found


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return options


def _as_it_ran(node: onnx.NodeProto, told: Mapping[str, list[dict[str, list[int]]]], shapes: Mapping[str, tuple[int, ...]]) -> Executed:
    kind, data = _tensor(told["input_type_shape"])
    output_kind, output = _tensor(told["output_type_shape"])
    weight = WEIGHT.get(node.op_type)
    return Executed(
        operator=node.op_type,
        kind="int8" if node.op_type in INT8_INSIDE else kind,
        output_kind=output_kind,
        data=data,
        output=output,
        weight=None if weight is None else shapes[node.input[weight]],
        transposed=any(attribute.name == "transA" and attribute.i for attribute in node.attribute),
    )


def _tensor(told: list[dict[str, list[int]]]) -> tuple[str, tuple[int, ...]]:
    """Element type and shape of the first tensor that is told of, a scale or zero point apart; a node without any moves nothing."""
    found = [(kind, tuple(shape)) for tensor in told for kind, shape in tensor.items()]
    return next(((kind, shape) for kind, shape in found if shape), (found or [("none", (0,))])[0])


def _convolution(node: Executed) -> int:
    """Every output value sums over the weight's inputs and taps."""
    assert node.weight is not None
    return math.prod(node.output) * math.prod(node.weight[1:])


def _product(node: Executed) -> int:
    """Every output value sums over the data's last axis, or its first where that is transposed."""
    return math.prod(node.output) * node.data[-2 if node.transposed else -1]


WEIGHT = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Convolution -> the place of its weight among its inputs. A profile does not show weights that were packed."""

MACS: dict[str, Callable[[Executed], int]] = {
    **dict.fromkeys(WEIGHT, _convolution),
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "QLinearMatMul"), _product),
    **dict.fromkeys(("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _product),
}
"""Operator -> its multiply-accumulates."""


def summed(nodes: list[Executed], optimised: onnx.ModelProto) -> IntegerAudit:
    """The nodes and constants of an optimised graph by element type."""
    macs: Counter[str] = Counter()
    tensors: Counter[str] = Counter()
    held: Counter[str] = Counter()
    operators: dict[str, Counter[str]] = {}
    for node in nodes:
        macs[node.kind] += node.macs
        tensors[node.output_kind] += 1
        operators.setdefault(node.kind, Counter())[node.operator] += 1
    for constant in optimised.graph.initializer:
        array = onnx.numpy_helper.to_array(constant)
        held[onnx.TensorProto.DataType.Name(constant.data_type).lower()] += array.nbytes
    types = {
        kind: ElementType(
            macs=macs[kind],
            operators=dict(sorted(operators.get(kind, Counter()).items())),
            tensors=tensors[kind],
            constant_bytes=held[kind],
        )
        for kind in sorted({*operators, *tensors, *held})
    }
    total = sum(macs.values())
    return IntegerAudit(
        share_int8=sum(macs[kind] for kind in INT8) / total if total else None,
        types=types,
        uncounted=tuple(sorted({node.operator for node in nodes} & UNCOUNTED)),
        memory_bytes=sum(held.values()),
    )
