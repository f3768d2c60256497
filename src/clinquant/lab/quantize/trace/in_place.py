"""Layers that write their result over the tensor that they read."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx, nn

ASSIGNMENTS = ("iadd", "imul", "isub", "itruediv")
"""x += y and its like, by the names of Python's functions."""


def changes_what_others_read(fx_node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a call writes over a tensor that is read after it: torch.fx takes that tensor for what it was before."""
    module = modules.get(str(fx_node.target)) if fx_node.op == "call_module" else None
    asked = getattr(module, "inplace", False) or fx_node.kwargs.get("inplace", False)
    name = getattr(fx_node.target, "__name__", str(fx_node.target))
    named = fx_node.op in ("call_function", "call_method") and (name.endswith("_") or name in ASSIGNMENTS)
    if not (asked or named) or not fx_node.args or not isinstance(fx_node.args[0], fx.Node):
        return False
    order = list(fx_node.graph.nodes)
    return any(order.index(reader) > order.index(fx_node) for reader in fx_node.args[0].users)
