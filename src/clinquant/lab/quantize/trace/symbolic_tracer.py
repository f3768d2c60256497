"""The network in the making while torch.fx's nodes are read one by one."""

from __future__ import annotations

from typing import Any

from torch import fx

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Node
from clinquant.lab.quantize.trace.shared import Pads, free_name


class SymbolicTracer:
    """Our nodes so far. `names` maps an fx node to the node that holds its value, `pads` to zeros that its reader must add first.

    With `dropout`, layers of that are nodes too, which change nothing.
    """

    def __init__(self, graph_module: fx.GraphModule, *, dropout: bool = False) -> None:
        self.graph, self.dropout = graph_module.graph, dropout
        self.modules = dict(graph_module.named_modules())
        self.nodes: list[Node] = []
        self.names: dict[fx.Node, str] = {}
        self.pads: dict[fx.Node, Pads] = {}

    def add(self, fx_node: fx.Node, op: str, inputs: list[fx.Node], **attributes: Any) -> None:
        """Appends our node for `fx_node`."""
        params = attributes.pop("params", {})
        name = str(fx_node.target) if fx_node.op == "call_module" else fx_node.name
        self.append(fx_node, free_name(name, self.nodes), op, inputs, params, attributes)

    def alias(self, fx_node: fx.Node) -> None:
        """`fx_node` changes nothing at inference."""
        source = source_of(fx_node)
        self.names[fx_node] = self.names[source]
        if source in self.pads:
            self.pads[fx_node] = self.pads[source]

    def append(
        self, fx_node: fx.Node, name: str, op: str, inputs: list[fx.Node], params: Any = None, attributes: dict[str, Any] | None = None
    ) -> None:
        """Appends a node named `name` that holds the value of `fx_node`.

        Raises:
            ClinquantError: `operator-unsupported` where it reads zeros that only a convolution adds, or no whole tensor.
        """
        padded = [source for source in inputs if source in self.pads]
        if padded and op != "conv":
            raise ClinquantError("operator-unsupported", f"{name}: zero padding before {op}.", fix="pad only before a convolution.")
        unknown = [source.name for source in inputs if source not in self.names]
        if unknown:
            raise ClinquantError(
                "operator-unsupported", f"{name}: it reads {unknown[0]}, a part of a tensor or its shape.", fix="read whole tensors only."
            )
        self.nodes.append(
            Node(name=name, op=op, inputs=tuple(self.names[source] for source in inputs), params=params or {}, attributes=attributes or {})
        )
        self.names[fx_node] = name


def source_of(fx_node: fx.Node) -> fx.Node:
    """The one tensor that a call reads."""
    source = fx_node.args[0]
    assert isinstance(source, fx.Node)
    return source
