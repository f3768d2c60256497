"""The same model with weights of 8 bits where a file packs them narrower: what a runtime without INT4 and INT2 can open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from clinquant.core.artifact import replacing

PACKED = (TensorProto.INT4, TensorProto.UINT4, getattr(TensorProto, "INT2", -1), getattr(TensorProto, "UINT2", -1))
WIDE_OPSET = 21
"""The opset of the unpacked form; INT2 needs 25, which fewer runtimes know."""


def expand(model: Path, out: Path) -> bool:
    """Writes `model` to `out` with its packed initializers as int8 and without the Casts that widened them; False if none is packed.

    The codes are the same, so every output bit is: golden vectors are replayed on the result.
    """
    graph = (proto := onnx.load(str(model))).graph
    packed = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type in PACKED}
    if not packed:
        return False
    wide = {node.output[0]: packed[node.input[0]] for node in graph.node if node.op_type == "Cast" and node.input[0] in packed}
    for name, tensor in wide.items():
        graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.int8), name))
    for tensor in packed.values():
        graph.initializer.remove(tensor)
    for node in [node for node in graph.node if node.op_type == "Cast" and node.output[0] in wide]:
        graph.node.remove(node)
    for opset in proto.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = min(opset.version, WIDE_OPSET)
    with replacing(out) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
    return True
