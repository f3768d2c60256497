"""Collects nodes and initializers and writes one checked, deterministic ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from clinquant.core.artifact import write_bytes
from clinquant.core.card import Card
from clinquant.edge.resize import IR_VERSION, OPSET, resize_node

MICROSOFT = "com.microsoft"
PACKED = {4: (TensorProto.INT4, 21, 10), 2: (TensorProto.INT2, 25, 13)}
"""Bits -> element type, and the opset and IR version that brought it."""


CONTRACT = "uint8 RGB image [n, h, w, 3] in; float32 logits and class_map out. " + Card.limits
"""What every shipped file says of itself."""


class GraphBuilder:
    """An ONNX graph in the making. Equal calls give equal bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._opset, self._ir_version = OPSET, IR_VERSION
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._outputs: list[onnx.ValueInfoProto] = []
        self._last_outputs: list[onnx.ValueInfoProto] = []

    def node(self, op: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Adds an operator; returns its output's name."""
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def nodes(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> list[str]:
        """Adds an operator with several outputs."""
        self._nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], **attributes))
        return outputs

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Adds an initializer; returns its name."""
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name)
        return name

    def codes(self, name: str, value: NDArray[np.int8], bits: int) -> str:
        """Adds int8 codes, packed where they fit in `bits` 4 or 2 (INT4, INT2 and a Cast); returns the name of the int8 tensor."""
        if bits not in PACKED:
            return self.constant(name, value)
        return self.node("Cast", [self.packed(f"{name}.packed", value, bits)], name, to=TensorProto.INT8)

    def odd_codes(self, name: str, value: NDArray[np.int8], bits: int) -> str:
        """Adds odd int8 codes from -2^bits + 1 to 2^bits - 1; where packed, their halves (rounded down) index a table of them."""
        if bits not in PACKED:
            return self.constant(name, value)
        half = 1 << (bits - 1)
        index = self.node("Cast", [self.packed(f"{name}.packed", (value - 1) // 2, bits)], f"{name}.index", to=TensorProto.INT32)
        place = np.arange(2 * half)
        table = self.constant(f"odd{bits}.table", (2 * np.where(place < half, place, place - 2 * half) + 1).astype(np.int8))
        return self.node("Gather", [table, index], name)

    def packed(self, name: str, value: NDArray[np.integer[Any]], bits: int) -> str:
        """Adds an INT4 or INT2 initializer, and asks for the opset that has it."""
        kind, opset, ir_version = PACKED[bits]
        self._opset, self._ir_version = max(self._opset, opset), max(self._ir_version, ir_version)
        return self.constant(name, value.astype(helper.tensor_dtype_to_np_dtype(kind)))

    def pixels(self) -> str:
        """The contract's entrance: `image` uint8 [n, h, w, 3] of any size to `preprocess.pixels` uint8 [n, 3, size, size].

        The resized picture is also an output, `pixels` uint8 [n, size, size, 3]: what `core.scope` looks at.
        """
        sizes = self.constant("preprocess.size", np.array([self.size, self.size], np.int64))
        self._nodes.append(resize_node("image", "pixels", sizes))
        self._last_outputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", self.size, self.size, 3])]
        return self.node("Transpose", ["pixels"], "preprocess.pixels", perm=[0, 3, 1, 2])

    def output(self, name: str, shape: list[str | int]) -> None:
        """Declares the float32 tensor `name` an output."""
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def model(self, description: str) -> onnx.ModelProto:
        """The finished model, checked by ONNX's own checker."""
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])
        graph = helper.make_graph(
            self._nodes, "clinquant", [image], [*self._outputs, *self._last_outputs], list(self._initializers.values())
        )
        opsets = [helper.make_opsetid("", self._opset)]
        if any(node.domain == MICROSOFT for node in self._nodes):
            opsets.append(helper.make_opsetid(MICROSOFT, 1))
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=self._ir_version, producer_name="clinquant", doc_string=description
        )
        onnx.checker.check_model(model)
        return model

    def write(self, path: Path, description: str) -> Path:
        """Writes the model to `path` atomically; returns `path`."""
        write_bytes(path, self.model(description).SerializeToString(deterministic=True))
        return path
