"""Widths: how many bits weights and activations have, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.lab.quantize.grids import grid_of
from clinquant.lab.quantize.trace.norms import is_scale

WHOLE = 8
"""Bits of every layer that is not named: the first and the last one always (as DoReFa, PACT and LSQ do)."""

WIDTHS: dict[str, tuple[int, int]] = {
    "w8a8": (8, 8),
    "w4a8": (4, 8),
    "w4a4": (4, 4),
    "w2a8": (2, 8),
    "w2a2": (2, 2),
}
"""What `--bits` takes where all inner layers are alike: bits of their weights, and of the activations they read."""

MIXED: dict[str, tuple[str, ...]] = {
    "w84": ("w8a8", "w4a4"),
    "w42": ("w4a4", "w2a2"),
    "auto": ("w8a8", "w4a8", "w2a8"),
}
"""What `--bits` takes where every inner layer gets the one of these that it bears best: under half the difference in bytes, or a budget."""


BITS: dict[str, str] = {
    "w8a8": "8-bit weights and activations (7-bit weights on the portable target).",
    "w4a8": "4-bit weights, 8-bit activations: the file shrinks, and activations lose nothing.",
    "w4a4": "4-bit weights and activations.",
    "w2a8": "2-bit weights, 8-bit activations; wants training.",
    "w2a2": "2-bit weights and activations; wants training.",
    "w84": "Mixed: every layer w8a8 or w4a4, whichever it bears, at half the difference in bytes.",
    "w42": "Mixed: every layer w4a4 or w2a2, whichever it bears, at half the difference in bytes.",
    "auto": "Mixed: weights of 8, 4 or 2 bits under --max-bytes or --max-ms.",
}
"""What each is, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Bits of inner layers by name; layers that are not named have 8.

    Attributes:
        weight: layer -> bits of its weight.
        activation: layer -> bits of the activation that it reads.
    """

    weight: Mapping[str, int] = field(default_factory=dict)
    activation: Mapping[str, int] = field(default_factory=dict)

    def of_weight(self, layer: str) -> int:
        """Bits of a layer's weight."""
        return self.weight.get(layer, WHOLE)

    def read_by(self, node: str) -> int:
        """Bits of the activations that a node reads."""
        return self.activation.get(node, WHOLE)


def uniform(network: Network, weight: int, activation: int) -> Widths:
    """The same widths for every inner layer of `network`."""
    layers = sorted(inner_layers(network))
    return Widths(weight=dict.fromkeys(layers, weight), activation=dict.fromkeys(layers, activation))


def widths_of(bits: str, network: Network) -> Widths:
    """The uniform widths called `bits` for `network`; of mixed ones the narrowest.

    Raises:
        ClinquantError: `bits-unsupported` as `check_bits`, and where `network` has no inner layer.
    """
    check_bits(bits)
    if bits != "w8a8" and not inner_layers(network):
        raise ClinquantError(
            "bits-unsupported",
            f"--bits {bits} would narrow nothing: no layer lies between the first and the last one, which keep 8 bits.",
            fix="use --bits w8a8, or a deeper network.",
        )
    return uniform(network, *WIDTHS[MIXED[bits][-1] if bits in MIXED else bits])


def check_bits(bits: str) -> None:
    """Raises ClinquantError `bits-unsupported` where `bits` is no name of `WIDTHS` or `MIXED`."""
    if bits not in WIDTHS and bits not in MIXED:
        raise ClinquantError("bits-unsupported", f"--bits {bits} is not available.", fix=f"use one of: {', '.join((*WIDTHS, *MIXED))}.")


def inner_layers(network: Network) -> set[str]:
    """Names of the weighted nodes that are neither first (they read the image) nor last, nor hold one number a channel alone."""
    weighted = {node.name for node in network if "weight" in node.params and not is_scale(node)}
    grids = grid_of(network)
    scaled = {node.name for node in network if is_scale(node) and grids[node.inputs[0]] == "input"}
    first = {node.name for node in network if node.inputs and grids[node.inputs[0]] in {"input"} | scaled}
    return weighted - first - {network.output.name}


def narrow_name(grid: str, bits: int) -> str:
    """Name of the copy of a grid or tensor that layers of fewer bits read."""
    return f"{grid}.{bits}bit"


def grid_widths(network: Network, widths: Widths) -> dict[str, tuple[int, ...]]:
    """Grid -> the widths at which it is read, widest first: its own, then those of the copies that narrower readers need.

    A sum that goes on as a skip connection is read at 8 bits by the next addition, what is pooled for the last layer as well; inner
    layers read a narrow copy of them.
    """
    grids = grid_of(network)
    shared = {node.name for node in network if node.name in grids and node.inputs and grids[node.name] == grids[node.inputs[0]]}
    readers: dict[str, set[int]] = {grid: set() for grid in grids.values()}
    for node in network:
        if node.name not in shared:
            for source in node.inputs:
                readers[grids[source]].add(widths.read_by(node.name))
    readers["input"] = {WHOLE}
    return {grid: tuple(sorted(found, reverse=True)) or (WHOLE,) for grid, found in readers.items()}
