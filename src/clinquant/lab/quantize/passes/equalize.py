"""Evens out the ranges of channels between two layers, before grids are found (Nagel et al. 2019, arXiv 1906.04721, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.execute import Executor
from clinquant.lab.quantize.model import Calibration, Model

Array = NDArray[np.float64]
EQUIVARIANT = ("relu", "max_pool", "average_pool", "global_average_pool", "flatten")
"""f(s x) = s f(x) for a positive s a channel."""

BATCH = 32
SWEEPS = 100
SETTLED = 1e-4
"""Sweeps at most, and the largest relative change of a sweep that ends them."""


@dataclass(frozen=True)
class Pair:
    """Two weighted nodes where the second alone reads the first, through scale-equivariant nodes only.

    Attributes:
        first, second: names of the nodes.
        between: names of the nodes from one to the other.
    """

    first: str
    second: str
    between: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Equalize:
    """W1 <- W1 / s, b1 <- b1 / s, W2 <- W2 s with s_i = sqrt(r1_i r2_i) / r2_i, pair after pair until settled (eq. 11).

    The float function stays, but for two things that are checked or bounded: ReLU6 becomes ReLU where that changes no more than
    `tolerance` of the decisions on calibration images, and biases are absorbed beyond three deviations.

    Attributes:
        by: what r1 is. `activations`: the largest activation of a channel on calibration images, which is what counts where weights have a
            scale a channel and activations one for all. `weights`: the largest weight of an output channel, as in the paper, whose weights
            have one scale for all; no image is looked at. r2 is the largest weight of an input channel.
        unbound: replace clip(x, 0, high) by ReLU, which such scaling needs.
        absorb: c = max(0, mean - 3 deviation) of the first layer's output in training goes from b1 into b2 (eq. 13 to 15); only where
            batch norm was folded, and where the second layer does not pad, because padding is not shifted with the rest.
        tolerance: share of calibration images whose class may change without the bounds.
    """

    by: Literal["activations", "weights"] = "activations"
    unbound: bool = True
    absorb: bool = True
    tolerance: float = 0.005

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """`model` with its folded network equalized.

        Raises:
            ClinquantError: `pass-order` before batch norm is folded, and after ranges were seen.
        """
        model.needs_folded(by="Equalize")
        if model.histograms:
            raise ClinquantError("pass-order", "Equalize changes ranges that were already seen.", fix="put Equalize before Calibrate.")
        network = without_bounds(model.network, calibration, self.tolerance) if self.unbound else model.network
        found = pairs(network)
        largest = channel_ranges(network, calibration) if self.by == "activations" else {}
        nodes = equalized({node.name: node for node in network}, found, largest)
        if self.absorb:
            for pair in found:
                if any(nodes[name].op == "relu" for name in pair.between):
                    nodes[pair.first], nodes[pair.second] = absorbed(nodes[pair.first], nodes[pair.second])
        return replace(model, network=Network(nodes=tuple(nodes[node.name] for node in network)))


def pairs(network: Network) -> list[Pair]:
    """Every pair of `network`, in order."""
    readers = network.consumers()
    found = []
    for node in network:
        if "weight" not in node.params:
            continue
        between: list[str] = []
        reader = readers[node.name]
        while len(reader) == 1 and reader[0].op in EQUIVARIANT:
            between.append(reader[0].name)
            reader = readers[reader[0].name]
        if len(reader) == 1 and "weight" in reader[0].params:
            found.append(Pair(node.name, reader[0].name, tuple(between)))
    return found


def equalized(nodes: dict[str, Node], found: list[Pair], largest: dict[str, Array]) -> dict[str, Node]:
    """`nodes` by name with every pair's ranges evened out.

    Args:
        largest: first node of a pair -> largest activation of each channel behind it; where it lacks one, its weights are asked.
    """
    nodes, largest = dict(nodes), dict(largest)
    for _ in range(SWEEPS):
        change = 0.0
        for pair in found:
            first, second = nodes[pair.first], nodes[pair.second]
            r1 = largest[pair.first] if pair.first in largest else output_ranges(first)
            s = factors(r1, input_ranges(second, len(r1)))
            nodes[pair.first], nodes[pair.second] = rescaled(first, second, s)
            if pair.first in largest:
                largest[pair.first] = largest[pair.first] / s
            change = max(change, float(np.abs(np.log(s)).max()))
        if change < SETTLED:
            break
    return nodes


def factors(r1: Array, r2: Array) -> Array:
    """s = sqrt(r1 r2) / r2, which makes both ranges sqrt(r1 r2); 1 where a channel is dead on either side.

    >>> factors(np.array([4.0, 1.0, 0.0]), np.array([1.0, 4.0, 3.0]))
    array([2. , 0.5, 1. ])
    """
    alive = (r1 > 0) & (r2 > 0)
    return np.sqrt(np.where(alive, r1, 1.0) / np.where(alive, r2, 1.0))


def output_ranges(node: Node) -> Array:
    """[o] largest weight of every output channel."""
    weight = node.params["weight"].astype(np.float64)
    return np.asarray(np.abs(weight).reshape(len(weight), -1).max(axis=1), np.float64)


def input_ranges(node: Node, channels: int) -> Array:
    """[channels] largest weight that reads each input channel."""
    return np.asarray(np.abs(by_input(node, channels)).max(axis=(1, 3)).reshape(-1), np.float64)


def by_input(node: Node, channels: int) -> Array:
    """A weight as [groups, o / groups, channels / groups, taps]; a linear layer's taps are the plane that was flattened."""
    weight, groups = node.params["weight"].astype(np.float64), int(node.attributes.get("groups", 1))
    return np.asarray(weight.reshape(groups, len(weight) // groups, channels // groups, -1), np.float64)


def rescaled(first: Node, second: Node, s: Array) -> tuple[Node, Node]:
    """The first node's output divided by `s` [channels] and the second's weight multiplied with it."""
    own = {role: array / s.reshape(-1, *[1] * (array.ndim - 1)) for role, array in first.params.items()}
    groups = int(second.attributes.get("groups", 1))
    read = (by_input(second, len(s)) * s.reshape(groups, 1, -1, 1)).reshape(second.params["weight"].shape)
    return with_params(first, own), with_params(second, {**second.params, "weight": read})


def absorbed(first: Node, second: Node) -> tuple[Node, Node]:
    """max(0, mean - 3 deviation) of the first node's output taken out of its bias and, through the weights, into the second's."""
    if "output_mean" not in first.params or any(second.attributes.get("pads", ())):
        return first, second
    mean, deviation = (first.params[role].astype(np.float64) for role in ("output_mean", "output_deviation"))
    c = np.maximum(mean - 3 * deviation, 0.0)
    groups = int(second.attributes.get("groups", 1))
    through = (by_input(second, len(c)).sum(axis=3) * c.reshape(groups, 1, -1)).sum(axis=2).reshape(-1)
    own: dict[str, NDArray[Any]] = {"bias": first.params["bias"] - c, "output_mean": mean - c}
    bias = second.params.get("bias", np.zeros(len(through), np.float32)) + through
    return with_params(first, {**first.params, **own}), with_params(second, {**second.params, "bias": bias})


def with_params(node: Node, params: Mapping[str, NDArray[Any]]) -> Node:
    """`node` with those arrays, as float32."""
    return replace(node, params={role: np.asarray(array, np.float32) for role, array in params.items()})


def channel_ranges(network: Network, calibration: Calibration) -> dict[str, Array]:
    """Weighted node -> [o] largest size of each channel of its output on the calibration images, behind ReLU where only that reads it."""
    readers = network.consumers()
    points = {}
    for node in network:
        if "weight" in node.params:
            behind = readers[node.name]
            points[behind[0].name if len(behind) == 1 and behind[0].op == "relu" else node.name] = node.name
    largest: dict[str, Array] = {}

    def watch(name: str, tensor: torch.Tensor) -> None:
        if name in points:
            axis = -1 if network[points[name]].op == "linear" else 1
            seen = tensor.abs().movedim(axis, 0).flatten(1).amax(1).double().numpy()
            largest[points[name]] = np.maximum(largest.get(points[name], seen), seen)

    run(network, calibration, watch)
    return largest


def without_bounds(network: Network, calibration: Calibration, tolerance: float) -> Network:
    """`network` with ReLU for every clip(x, 0, high), if the class of no more than `tolerance` of the images changes by that."""
    changes: dict[str, Node | None] = {
        node.name: replace(node, op="relu", attributes={}) for node in network if node.op == "clip" and node.attributes["low"] == 0.0
    }
    if not changes:
        return network
    unbound = network.replaced(changes)
    before, after = (run(tried, calibration).argmax(1) for tried in (network, unbound))
    return unbound if float((before != after).float().mean()) <= tolerance else network


def run(network: Network, calibration: Calibration, watch: Callable[[str, torch.Tensor], None] | None = None) -> torch.Tensor:
    """Logits of all calibration images."""
    execute = Executor(network)
    return torch.cat([execute(batch, watch) for batch in calibration.batches(BATCH)])
