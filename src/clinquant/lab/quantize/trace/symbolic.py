"""Traces with torch.fx."""

from __future__ import annotations

from typing import Any

from torch import fx, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.lab.quantize.trace.in_place import changes_what_others_read
from clinquant.lab.quantize.trace.refusal import no_integer_form
from clinquant.lab.quantize.trace.symbolic_rules import FUNCTIONS, MODULES, SHAPE_QUERIES
from clinquant.lab.quantize.trace.symbolic_tracer import SymbolicTracer


def trace_symbolically(module: nn.Module, *, dropout: bool = False) -> Network:
    """The network that `module` (in eval mode) computes, batch norm still apart; with `dropout` its layers of that are
    nodes too, which change nothing.

    Raises as `trace`.
    """
    try:
        graph_module = fx.symbolic_trace(module.eval())
    except Exception as error:  # fx raises many kinds, all meaning the same to the user
        raise ClinquantError(
            "trace-failed",
            f"torch.fx cannot trace {type(module).__name__} ({str(error).splitlines()[0]}).",
            fix="remove control flow that depends on tensor values.",
        ) from error
    return _network(SymbolicTracer(graph_module, dropout=dropout))


def _network(tracer: SymbolicTracer) -> Network:
    for fx_node in tracer.graph.nodes:
        _visit(tracer, fx_node)
    last = next(node for node in reversed(tracer.graph.nodes) if node.op == "output").args[0]
    if not isinstance(last, fx.Node) or tracer.names[last] != tracer.nodes[-1].name:
        raise ClinquantError("trace-failed", "the network must return one tensor, its logits.", fix="return the logits alone.")
    return Network(nodes=tuple(tracer.nodes))


def _visit(tracer: SymbolicTracer, fx_node: fx.Node) -> None:
    if changes_what_others_read(fx_node, tracer.modules):
        raise ClinquantError("trace-failed", f"{fx_node.name} changes in place what others read.", fix="leave inplace=True out there.")
    if fx_node.op == "placeholder":
        if tracer.nodes:
            raise ClinquantError("trace-failed", "the network takes more than one input.", fix="take the image alone.")
        tracer.append(fx_node, "input", "input", [])
    elif fx_node.op == "call_module":
        module = tracer.modules[str(fx_node.target)]
        kind = type_before_parametrizations(module)
        rule = _rule(MODULES, kind, str(fx_node.target), kind.__name__)
        rule(tracer, fx_node, module)
    elif fx_node.op in ("call_function", "call_method"):
        key = fx_node.target
        if key in SHAPE_QUERIES:
            return
        rule = _rule(FUNCTIONS, key, fx_node.name, getattr(key, "__name__", str(key)))
        rule(tracer, fx_node)
    elif fx_node.op == "get_attr":
        raise ClinquantError(
            "operator-unsupported", f"{fx_node.target}: a free tensor cannot be made integer.", fix="put it into a Conv2d or Linear."
        )


def _rule(rules: dict[Any, Any], key: Any, layer: str, kind: str) -> Any:
    if key not in rules:
        raise no_integer_form(layer, kind)
    return rules[key]
