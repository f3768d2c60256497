"""Traces with torch.export what torch.fx cannot: control flow on shapes, attention, tensors reshaped.

Two programs, for two numbers of images, tell which axis holds them: it is written -1.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.aten import ATEN, array_of, refusal
from clinquant.lab.quantize.factors import with_factors_in_products

Shape = tuple[int, ...]
"""Of a tensor, -1 for the axis (alone, or times a number) that holds the images."""

EXAMPLES = (3, 5)
"""Images in the examples that torch.export runs: a side that differs between the two holds the images. A symbol would say the same, but
`len(x)` makes a number of it."""


def trace_exported(module: nn.Module, size: int) -> Network:
    """The network that `module` (in eval mode) computes for images of `size` pixels, batch norm still apart.

    Raises:
        ClinquantError: `trace-failed` where torch.export fails, `operator-unsupported` naming the layer.
    """
    try:
        with silence():
            first, second = (torch.export.export(module.eval(), (torch.zeros(count, 3, size, size),), strict=False) for count in EXAMPLES)
        shapes = _shapes(first, second)
    except Exception as error:  # torch.export raises many kinds, all meaning the same to the user
        raise ClinquantError(
            "trace-failed",
            f"torch.export cannot trace {type(module).__name__} ({str(error).strip().splitlines()[0]}).",
            fix="remove control flow that depends on tensor values.",
        ) from error
    return with_factors_in_products(_Tracer(first, shapes, module).network())


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """What torch.export prints of a module that it cannot trace, pages of graphs on both streams, goes nowhere: its error is enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(before)


def _shapes(first: torch.export.ExportedProgram, second: torch.export.ExportedProgram) -> dict[fx.Node, Shape]:
    """Shape of every tensor of the first program, told by both."""
    found = {}
    for one, other in zip(first.graph.nodes, second.graph.nodes, strict=True):
        if isinstance(one.meta.get("val"), torch.Tensor):
            sides = zip(one.meta["val"].shape, other.meta["val"].shape, strict=True)
            found[one] = tuple(int(a) if a == b else -1 for a, b in sides)
    return found


class _Tracer:
    """Turns nodes of an exported program into ours, one at a time. `values` holds the tensors that are part of the module."""

    def __init__(self, exported: torch.export.ExportedProgram, shapes: dict[fx.Node, Shape], module: nn.Module) -> None:
        self.exported, self.shapes = exported, shapes
        self.containers = {name for name, child in module.named_modules() if next(child.children(), None) is not None}
        self.nodes: list[Node] = []
        self.names: dict[fx.Node, str] = {}
        self.values: dict[fx.Node, torch.Tensor] = {}
        self.pads: dict[fx.Node, tuple[int, int, int, int]] = {}
        self.parts: dict[fx.Node, list[tuple[str, dict[str, Any], fx.Node]]] = {}

    def network(self) -> Network:
        signature, state = self.exported.graph_signature, {**self.exported.state_dict, **self.exported.constants}
        held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
        self.exported.graph.eliminate_dead_code()
        for fx_node in self.exported.graph.nodes:
            if fx_node.op == "placeholder" and fx_node.name in held:
                self.values[fx_node] = state[held[fx_node.name]]
            elif fx_node.op == "placeholder":
                self.nodes.append(Node(name="input", op="input"))
                self.names[fx_node] = "input"
            elif fx_node.op == "call_function" and isinstance(fx_node.target, torch._ops.OpOverload):
                self._call(fx_node)
            elif fx_node.op == "call_function" and fx_node.args and fx_node.args[0] in self.parts:
                self._part(fx_node)
        outputs = next(node for node in self.exported.graph.nodes if node.op == "output").args[0]
        if len(outputs) != 1 or self.names.get(outputs[0]) != self.nodes[-1].name:
            raise ClinquantError("trace-failed", "the network must return one tensor, its logits.", fix="return the logits alone.")
        return Network(nodes=tuple(self.nodes))

    def _call(self, fx_node: fx.Node) -> None:
        kind = fx_node.target._schema.name.removeprefix("aten::").rstrip("_")  # type: ignore[union-attr]
        if kind in ("sym_size", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size"):
            return
        if kind not in ATEN:
            raise ClinquantError(
                "operator-unsupported",
                f"{self.name(fx_node)}: {self.kind(fx_node) or kind} has no integer form here.",
                fix="replace it by a layer that docs/methods/architectures.md names, or choose an --arch of the zoo.",
            )
        ATEN[kind](self, fx_node, _arguments(fx_node))

    def _part(self, fx_node: fx.Node) -> None:
        """One tensor of those that chunk, split or unbind give."""
        op, attributes, source = self.parts[fx_node.args[0]][int(fx_node.args[1])]  # type: ignore[index, arg-type]
        self.add(fx_node, op, [source], **attributes)

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

    def free(self, name: str) -> str:
        """`name`, with a number behind it where it is taken."""
        taken = {node.name for node in self.nodes} | {"image", "logits", "class_map", "input"}
        names = (name, *(f"{name}.{count}" for count in range(2, len(taken) + 3)))
        return next(candidate for candidate in names if candidate not in taken)

    def append(self, name: str, op: str, inputs: list[str], **attributes: Any) -> str:
        """Appends a node; returns its name."""
        params, name = attributes.pop("params", {}), self.free(name)
        self.nodes.append(Node(name=name, op=op, inputs=tuple(inputs), params=params, attributes=attributes))
        return name

    def add(self, fx_node: fx.Node, op: str, inputs: list[Any], **attributes: Any) -> None:
        """Appends the node that stands for `fx_node`."""
        self.names[fx_node] = self.append(self.name(fx_node), op, [self.read(source, fx_node) for source in inputs], **attributes)

    def read(self, source: Any, reader: fx.Node) -> str:
        """The name of a tensor; one that is part of the module becomes a constant that has the shape of the reader's result."""
        if source in self.pads and "conv" not in str(reader.target):
            raise refusal(self, reader, "zero padding before it", "pad only before a convolution.")
        if source in self.names:
            return self.names[source]
        if source not in self.values:
            raise refusal(self, reader, f"it reads {source}", "combine tensors and numbers only.")
        return self.constant(source, self.shapes[reader], reader)

    def constant(self, source: fx.Node, shape: Shape, reader: fx.Node) -> str:
        """A tensor of the module, repeated for every image."""
        if shape[0] != -1:
            raise ClinquantError(
                "operator-unsupported", f"{self.name(reader)}: a tensor without an axis of images.", fix="put the images first."
            )
        value = np.broadcast_to(array_of(self.values[source]), (1, *shape[1:]))
        return self.append(str(source.name).removeprefix("p_"), "constant", ["input"], params={"value": np.ascontiguousarray(value)})

    def array(self, source: Any) -> Any:
        """float32 array of a parameter, which must be part of the module."""
        if source not in self.values:
            raise ClinquantError("operator-unsupported", f"{source}: a weight that is computed.", fix="use plain parameters.")
        return array_of(self.values[source])


def _arguments(fx_node: fx.Node) -> dict[str, Any]:
    """Arguments by the operator's own names, defaults filled in."""
    schema = fx_node.target._schema  # type: ignore[union-attr]
    found = {argument.name: argument.default_value for argument in schema.arguments}
    found |= {argument.name: value for argument, value in zip(schema.arguments, fx_node.args, strict=False)}
    return found | dict(fx_node.kwargs)
