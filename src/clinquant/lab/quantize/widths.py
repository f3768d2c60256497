"""Widths: how many bits weights and activations have, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.lab.quantize.grids import grid_of


@dataclass(frozen=True)
class Widths:
    """Bits of weights and activations inside a network; its first and last layers keep 8 (as DoReFa, PACT and LSQ do)."""

    weight: int
    activation: int


WIDTHS: dict[str, Widths] = {
    "w8a8": Widths(8, 8),
    "w4a8": Widths(4, 8),
    "w4a4": Widths(4, 4),
    "w2a2": Widths(2, 2),
}
"""What `--bits` takes."""


def widths_of(bits: str) -> Widths:
    """The widths called `bits`. Raises ClinquantError `bits-unsupported`."""
    if bits not in WIDTHS:
        raise ClinquantError("bits-unsupported", f"--bits {bits} is not available.", fix=f"use one of: {', '.join(WIDTHS)}.")
    return WIDTHS[bits]


def inner_layers(network: Network) -> set[str]:
    """Names of the weighted nodes that are neither first (they read the image) nor last."""
    weighted = {node.name for node in network if "weight" in node.params}
    first = {node.name for node in network if node.inputs and grid_of(network)[node.inputs[0]] == "input"}
    return weighted - first - {network.output.name}


def narrow_name(grid: str) -> str:
    """Name of the narrow copy of a grid or tensor."""
    return f"{grid}.narrow"


def narrow_grids(network: Network) -> tuple[set[str], set[str]]:
    """Grids that only inner layers read, and grids that others read as well.

    The first get the narrow width themselves. The others (sums that go on as a skip connection, what is pooled for the last layer)
    keep 8 bits, and inner layers read a narrow copy of them.
    """
    inner, grids = inner_layers(network), grid_of(network)
    shared = {node.name for node in network if node.name in grids and node.inputs and grids[node.name] == grids[node.inputs[0]]}
    readers: dict[str, set[bool]] = {}
    for node in network:
        if node.name in shared:
            continue
        for source in node.inputs:
            readers.setdefault(grids[source], set()).add(node.name in inner)
    own = {grid for grid, kinds in readers.items() if kinds == {True}}
    return own - {"input"}, {grid for grid, kinds in readers.items() if kinds == {True, False}} - {"input"}
