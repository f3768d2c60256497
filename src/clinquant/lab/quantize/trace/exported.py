"""Traces with torch.export what torch.fx cannot: control flow on shapes, attention, tensors reshaped.

Two programs, for two numbers of images, tell which axis holds them: it is written -1.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.trace.aten import ATEN
from clinquant.lab.quantize.trace.exported_tracer import ExportedTracer, Shape
from clinquant.lab.quantize.trace.factors import with_factors_in_products
from clinquant.lab.quantize.trace.refusal import no_integer_form

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
    return with_factors_in_products(_network(first, ExportedTracer(shapes, module)))


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


def _network(exported: torch.export.ExportedProgram, tracer: ExportedTracer) -> Network:
    signature, state = exported.graph_signature, {**exported.state_dict, **exported.constants}
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
    exported.graph.eliminate_dead_code()
    for fx_node in exported.graph.nodes:
        if fx_node.op == "placeholder" and fx_node.name in held:
            tracer.values[fx_node] = state[held[fx_node.name]]
        elif fx_node.op == "placeholder":
            tracer.nodes.append(Node(name="input", op="input"))
            tracer.names[fx_node] = "input"
        elif fx_node.op == "call_function" and isinstance(fx_node.target, torch._ops.OpOverload):
            _call(tracer, fx_node)
        elif fx_node.op == "call_function" and fx_node.args and fx_node.args[0] in tracer.parts:
            _part(tracer, fx_node)
    outputs = next(node for node in exported.graph.nodes if node.op == "output").args[0]
    if len(outputs) != 1 or tracer.names.get(outputs[0]) != tracer.nodes[-1].name:
        raise ClinquantError("trace-failed", "the network must return one tensor, its logits.", fix="return the logits alone.")
    return Network(nodes=tuple(tracer.nodes))


def _call(tracer: ExportedTracer, fx_node: fx.Node) -> None:
    kind = fx_node.target._schema.name.removeprefix("aten::").rstrip("_")  # type: ignore[union-attr]
    if kind in ("sym_size", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size"):
        return
    if kind not in ATEN:
        raise no_integer_form(tracer.name(fx_node), tracer.kind(fx_node) or kind)
    ATEN[kind](tracer, fx_node, _arguments(fx_node))


def _part(tracer: ExportedTracer, fx_node: fx.Node) -> None:
    """One tensor of those that chunk, split or unbind give."""
    op, attributes, source = tracer.parts[fx_node.args[0]][int(fx_node.args[1])]  # type: ignore[index, arg-type]
    tracer.add(fx_node, op, [source], **attributes)


def _arguments(fx_node: fx.Node) -> dict[str, Any]:
    """Arguments by the operator's own names, defaults filled in."""
    schema = fx_node.target._schema  # type: ignore[union-attr]
    found = {argument.name: argument.default_value for argument in schema.arguments}
    found |= {argument.name: value for argument, value in zip(schema.arguments, fx_node.args, strict=False)}
    return found | dict(fx_node.kwargs)
