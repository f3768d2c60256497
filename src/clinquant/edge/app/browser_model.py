"""The model as ONNX Runtime Web runs it best: the same codes and the same outputs, from another file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from clinquant.core.artifact import replacing
from clinquant.edge.app.kernels import quicker_in_float, with_float_kernels

PACKED = (TensorProto.INT4, TensorProto.UINT4, getattr(TensorProto, "INT2", -1), getattr(TensorProto, "UINT2", -1))
WIDE_OPSET = 21
"""The opset of the unpacked form; INT2 needs 25, which fewer runtimes know."""


@dataclass(frozen=True, kw_only=True)
class BrowserModel:
    """What a browser shall run.

    Attributes:
        own_file: whether that is another file than the bundle's.
        optimise: whether the runtime may rewrite the graph; not where float kernels compute integers.
    """

    own_file: bool
    optimise: bool


def write_browser_model(model: Path, out: Path) -> BrowserModel:
    """Writes to `out` the file that a browser shall run in place of `model`, unless `model` itself is best.

    Packed weights become int8, and convolutions of short sums run in float kernels, proven exact, in networks where that was measured
    faster. The bundle's golden vectors are replayed on the file before a browser answers anything.
    """
    proto = onnx.load(str(model))
    expanded, short = expand(proto), quicker_in_float(proto)
    if short:
        proto = with_float_kernels(proto, short)
    if expanded or short:
        with replacing(out) as temporary:
            temporary.write_bytes(proto.SerializeToString(deterministic=True))
    return BrowserModel(own_file=expanded or bool(short), optimise=not short)


def expand(model: onnx.ModelProto) -> bool:
    """Makes packed initializers int8 in place, without the Casts that widened them; False where none is packed."""
    graph = model.graph
    packed = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type in PACKED}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in packed]
    for node in casts:
        codes = numpy_helper.to_array(packed[node.input[0]]).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(codes, node.output[0]))
        graph.node.remove(node)
    for tensor in packed.values():
        graph.initializer.remove(tensor)
    for opset in model.opset_import:
        if packed and opset.domain in ("", "ai.onnx"):
            opset.version = min(opset.version, WIDE_OPSET)
    return bool(packed)
