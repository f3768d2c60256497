"""The network in the making while an exported program's nodes are read one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Node
from clinquant.lab.quantize.trace.shared import Pads, array_of, free_name

Shape = tuple[int, ...]
"""Of a tensor, -1 for the axis (alone, or times a number) that holds the images."""


class ExportedTracer:
    """Our nodes so far. `names` maps an fx node to the node that holds its value, `values` to the module's own tensor that it is,
    `pads` to zeros that its reader must add first, `parts` to how each of the tensors that it gives is taken.
    """

    def __init__(self, shapes: dict[fx.Node, Shape], module: nn.Module) -> None:
        self.shapes = shapes
        self.containers = {name for name, child in module.named_modules() if next(child.children(), None) is not None}
        self.nodes: list[Node] = []
        self.names: dict[fx.Node, str] = {}
        self.values: dict[fx.Node, torch.Tensor] = {}
        self.pads: dict[fx.Node, Pads] = {}
        self.parts: dict[fx.Node, list[tuple[str, dict[str, Any], fx.Node]]] = {}

    def kind(self, fx_node: fx.Node) -> str:
        """The class of the layer that a call is, "" where it is a function."""
        stack = list((fx_node.meta.get("nn_module_stack") or {}).values())
        path, kind = stack[-1] if stack else ("", "")
        return str(getattr(kind, "__name__", kind)).rpartition(".")[2] if path and path not in self.containers else ""

    def name(self, fx_node: fx.Node) -> str:
        """The user's name of the layer, or that of the module it stands in and torch's name of the call."""
        stack = list((fx_node.meta.get("nn_module_stack") or {}).values())
        path = str(stack[-1][0]) if stack and not str(stack[-1][0]).startswith("_empty") else ""
        if path and path not in self.containers:
            return path
        return f"{path}.{fx_node.name}" if path else fx_node.name

    def append(self, name: str, op: str, inputs: list[str], **attributes: Any) -> str:
        """Appends a node; returns its name."""
        params, name = attributes.pop("params", {}), free_name(name, self.nodes)
        self.nodes.append(Node(name=name, op=op, inputs=tuple(inputs), params=params, attributes=attributes))
        return name

    def add(self, fx_node: fx.Node, op: str, inputs: list[Any], **attributes: Any) -> None:
        """Appends the node that stands for `fx_node`."""
        self.names[fx_node] = self.append(self.name(fx_node), op, [self.read(source, fx_node) for source in inputs], **attributes)

    def read(self, source: Any, reader: fx.Node) -> str:
        """The name of a tensor; one that is part of the module becomes a constant that has the shape of the reader's result."""
        if source in self.pads and "conv" not in str(reader.target):
            raise self.refusal(reader, "zero padding before it", "pad only before a convolution.")
        if source in self.names:
            return self.names[source]
        if source not in self.values:
            raise self.refusal(reader, f"it reads {source}", "combine tensors and numbers only.")
        return self.constant(source, self.shapes[reader], reader)

    def constant(self, source: fx.Node, shape: Shape, reader: fx.Node) -> str:
        """A tensor of the module, repeated for every image."""
        if shape[0] != -1:
            raise ClinquantError(
                "operator-unsupported", f"{self.name(reader)}: a tensor without an axis of images.", fix="put the images first."
            )
        value = np.broadcast_to(array_of(self.values[source]), (1, *shape[1:]))
        return self.append(str(source.name).removeprefix("p_"), "constant", ["input"], params={"value": np.ascontiguousarray(value)})

    def array(self, source: Any) -> NDArray[np.float32]:
        """float32 array of a parameter, which must be part of the module."""
        if source not in self.values:
            raise ClinquantError("operator-unsupported", f"{source}: a weight that is computed.", fix="use plain parameters.")
        return array_of(self.values[source])

    def refusal(self, fx_node: fx.Node, what: str, fix: str) -> ClinquantError:
        """The error that names the layer."""
        return ClinquantError("operator-unsupported", f"{self.name(fx_node)}: {what}.", fix=fix)
