"""The model as ONNX Runtime Web runs it best: the same codes and the same outputs, from another file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from clinquant.core.artifact import replacing
from clinquant.edge.kernels import largest_sum, quicker_in_float, with_float_kernels

NAME = "model.wasm.onnx"
"""In a bundle, beside `model.onnx`, where a browser runs another file."""

PACKED = (TensorProto.INT4, TensorProto.UINT4, getattr(TensorProto, "INT2", -1), getattr(TensorProto, "UINT2", -1))
WIDE_OPSET = 21
"""The opset of the unpacked form; INT2 needs 25, which fewer runtimes know."""


@dataclass(frozen=True, kw_only=True)
class BrowserModel:
    """What a browser shall run in place of the integer file.

    Attributes:
        optimise: whether the runtime may rewrite the graph; not where float kernels compute integers.
        in_float: convolutions whose integers float kernels compute.
        largest_sum: the largest absolute sum that one of these can have for any codes: below 2^24, up to where float32 is exact.
    """

    optimise: bool
    in_float: int
    largest_sum: int


def write_browser_model(model: Path, out: Path) -> BrowserModel | None:
    """Writes to `out` the file that a browser shall run in place of `model`; None, and nothing written, where `model` itself is best.

    Packed weights become int8, and convolutions of short sums run in float kernels, proven exact, in networks where that was measured
    faster. The same `model` gives the same bytes.
    """
    proto = onnx.load(str(model))
    expanded, short = expand(proto), quicker_in_float(proto)
    if not expanded and not short:
        return None
    found = BrowserModel(optimise=not short, in_float=len(short), largest_sum=largest_sum(proto, short))
    with replacing(out) as temporary:
        temporary.write_bytes((with_float_kernels(proto, short) if short else proto).SerializeToString(deterministic=True))
    return found


def expand(model: onnx.ModelProto) -> bool:
    """Makes packed initializers int8 in place, without what widened them, a Cast, or of odd codes a Cast and a look-up; False where none
    is packed.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    packed = {name: tensor for name, tensor in constants.items() if tensor.data_type in PACKED}
    look_ups = {node.input[1]: node for node in graph.node if node.op_type == "Gather" and node.input[0] in constants}
    tables: set[str] = set()
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in packed]:
        codes, last = numpy_helper.to_array(packed[node.input[0]]).astype(np.int8), node
        if node.output[0] in look_ups:
            last = look_ups[node.output[0]]
            codes = numpy_helper.to_array(constants[last.input[0]])[codes]
            tables.add(last.input[0])
            graph.node.remove(last)
        graph.initializer.append(numpy_helper.from_array(codes, last.output[0]))
        graph.node.remove(node)
    for name in (*packed, *tables):
        graph.initializer.remove(constants[name])
    for opset in model.opset_import:
        if packed and opset.domain in ("", "ai.onnx"):
            opset.version = min(opset.version, WIDE_OPSET)
    return bool(packed)
