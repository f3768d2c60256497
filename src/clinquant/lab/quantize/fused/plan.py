"""Which nodes of a network one kernel computes: batch norm, the sum it goes into, the activation, the quantizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clinquant.core.graph import ACTIVATIONS, Network, Node
from clinquant.lab.quantize.fused.operators import Clip


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Consecutive nodes, each the only reader of the one before; all but the last unquantized.

    Attributes:
        source: the tensor that goes in.
        norm: the batch norm's node, where the chain begins with one.
        skip: the tensor added to its output, where there is a sum.
        clip: the activation.
        members: its nodes; the last one's tensor comes out.
    """

    source: str
    norm: str | None
    skip: str | None
    clip: Clip
    members: tuple[Node, ...]

    @property
    def last(self) -> str:
        """The node whose tensor comes out."""
        return self.members[-1].name


def chains(network: Network, quantized: Mapping[str, str]) -> dict[str, Chain]:
    """Last node -> its chain: one from every batch norm, and from every sum or activation that no batch norm leads to.

    Args:
        network: with batch norm live.
        quantized: node -> its quantizer; nothing follows in a chain after such a node.
    """
    readers = {name: [node.name for node in nodes] for name, nodes in network.consumers().items()}
    nodes = {node.name: node for node in network}
    found: dict[str, Chain] = {}
    taken: set[str] = set()
    for kinds in (("batch_norm",), ("add",), ACTIVATIONS):
        for start in network:
            if start.op in kinds and start.name not in taken:
                members = _members(start, nodes, readers, quantized, taken)
                chain = _chain(members)
                taken |= {node.name for node in members}
                found[chain.last] = chain
    return found


def _members(
    start: Node, nodes: Mapping[str, Node], readers: Mapping[str, list[str]], quantized: Mapping[str, str], taken: set[str]
) -> list[Node]:
    members = [start]
    for kinds in (("add",), ACTIVATIONS):
        last = members[-1]
        if last.op in kinds or last.name in quantized or len(readers[last.name]) != 1:
            continue
        reader = nodes[readers[last.name][0]]
        if reader.op in kinds and reader.name not in taken and len(set(reader.inputs)) == len(reader.inputs) and last.op not in ACTIVATIONS:
            members.append(reader)
    return members


def _chain(members: list[Node]) -> Chain:
    start = members[0]
    norm = start.name if start.op == "batch_norm" else None
    total = next((node for node in members if node.op == "add"), None)
    source, skip = start.inputs[0], None
    if total is not None:
        before = start.name if norm else source
        skip = next((name for name in total.inputs if name != before), before)
    activation = next((node for node in members if node.op in ACTIVATIONS), None)
    return Chain(
        source=source,
        norm=norm,
        skip=skip,
        clip=_clip(activation),
        members=tuple(members),
    )


def _clip(node: Node | None) -> Clip:
    if node is None:
        return Clip()
    return Clip(low=0.0) if node.op == "relu" else Clip(low=node.attributes["low"], high=node.attributes["high"])
