"""Which tensors of a network get a grid of their own, and which share one."""

from __future__ import annotations

from clinquant.core.graph import ACTIVATIONS, MOVES, Network
from clinquant.lab.quantize.execute import CLASS_MAP

SHARES_ITS_INPUTS_GRID = ("flatten", "unflatten", *MOVES, "max_pool", *ACTIVATIONS)
REQUANTIZES = ("conv", "linear", "add", "mul")
"""Operators whose requantization can perform the activation that follows."""


def fusions(network: Network) -> dict[str, str]:
    """Producer -> the activation that its requantization performs: its only reader."""
    consumers = network.consumers()
    found = {}
    for node in network:
        readers = consumers[node.name]
        if node.op in REQUANTIZES and len(readers) == 1 and readers[0].op in ACTIVATIONS:
            found[node.name] = readers[0].name
    return found


def grid_of(network: Network) -> dict[str, str]:
    """Node name -> name of the grid its output is on: the producer's for a fused activation, the input's for pooling by maximum."""
    fused = {activation: producer for producer, activation in fusions(network).items()}
    grids: dict[str, str] = {}
    for node in network:
        if node is network.output and node.op == "linear":
            continue
        if node.name in fused:
            grids[node.name] = fused[node.name]
        elif node.op in SHARES_ITS_INPUTS_GRID:
            grids[node.name] = grids[node.inputs[0]]
        else:
            grids[node.name] = node.name
    return grids


def watch_points(network: Network) -> dict[str, str]:
    """Node whose values decide a grid -> that grid's name: the fused activation rather than its producer."""
    fused = fusions(network)
    own = {name for name, grid in grid_of(network).items() if name == grid and network[name].op != "input"}
    points = {fused.get(name, name): name for name in sorted(own)}
    return points | ({CLASS_MAP: CLASS_MAP} if network.classifier() else {})
