"""SiLU and hard-swish as a map times its gate, in operators that run as fast as a copy.

A 256-entry table is exact for any function, but no runtime looks codes up fast: `Gather` took 3.5 ns a code where `QLinearMul` and
`QLinearSigmoid` took 0.24 (`benchmarks/results/look_ups.csv`). So x sigmoid(x) and x hard_sigmoid(x) become products, and

- a sigmoid may be the runtime's own table, which it computes in float: its scale grows a little until no entry comes near a half, so that
  every processor rounds alike;
- a hard sigmoid becomes a mere bound: on a grid whose step is a sixth of its input's, its zero point at the code of -3,
  min(max(x / 6 + 1/2, 0), 1) has the input's own codes between those of -3 and 3. For that 3 must be a whole number of the input's steps.

Where scales are bound otherwise, the tables stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clinquant.core.affine import QParams, qparams_from_scale
from clinquant.core.elementwise import sigmoid
from clinquant.core.graph import Network, Node

GATES = {"silu": "sigmoid", "hard_swish": "hard_sigmoid"}

MARGIN = 1e-3
"""Distance from halves, in codes, of every entry of a table that a runtime computes itself: its float32 sigmoid errs by some 1e-7, so at
most by 1e-4 codes."""

CANDIDATES = 1.0 + 1e-5 * np.arange(1000)
"""Growth of a scale that is tried; of 256 entries at random all keep `MARGIN` with a chance of 0.6."""

LARGEST_GROWTH = 1.25
"""Of the step of what a hard sigmoid reads: a third of a bit, for a bound where a look-up takes fifteen times as long."""

KNEE = 3.0
"""Where the hard sigmoid reaches 0 and 1."""


def with_gates(network: Network) -> Network:
    """`network` with every SiLU and hard-swish as two nodes: the gate, called `NAME.gate`, and the product, which keeps the name."""
    nodes: list[Node] = []
    for node in network:
        if node.op in GATES:
            gate = Node(name=f"{node.name}.gate", op=GATES[node.op], inputs=node.inputs)
            nodes += [gate, Node(name=node.name, op="mul", inputs=(*node.inputs, gate.name))]
        else:
            nodes.append(node)
    return Network(nodes=tuple(nodes))


def gated(network: Network, product: Node) -> str | None:
    """The function, SiLU or hard-swish, that a product is: of a map and its own gate; None where it is another product."""
    x, gate = product.inputs
    own = network[gate].inputs == (x,)
    return next((function for function, kind in GATES.items() if own and network[gate].op == kind), None)


def settled_gates(network: Network, activations: Mapping[str, QParams], grid_of: Mapping[str, str], fixed: Set[str]) -> dict[str, QParams]:
    """New grids of sigmoids, hard sigmoids and what the latter read, so that they need no table; none of those in `fixed`."""
    grids, changed = dict(activations), dict[str, QParams]()
    for node in network:
        if node.op not in GATES.values() or node.name in fixed:
            continue
        source = grid_of[node.inputs[0]]
        if node.op == "sigmoid":
            found = {node.name: settled_sigmoid(grids[source], grids[node.name])}
        else:
            found = {} if source in fixed | {"input"} or source in changed else settled_hard_sigmoid(grids[source], source, node.name)
        grids |= found
        changed |= found
    return changed


def settled_sigmoid(source: QParams, grid: QParams) -> QParams:
    """`grid` with the smallest scale tried at which the runtime's own table of the sigmoid is safe."""
    for growth in CANDIDATES:
        candidate = replace(grid, scale=np.asarray(grid.scale * np.float32(growth), np.float32))
        if is_safe_sigmoid(source, candidate):
            return candidate
    return grid


def settled_hard_sigmoid(source: QParams, source_name: str, name: str) -> dict[str, QParams]:
    """The grids of a hard sigmoid and of its input at which it is a bound; none where the input's would have to grow too much.

    The input's grid has to reach down to -3, which becomes the gate's zero point.
    """
    scale, codes = float(source.scale), source.spec.qmax
    lowest, highest = (scale * float(end - source.zero_point) for end in (0, codes))
    lowest = min(lowest, -KNEE)
    steps = int(KNEE / max((highest - lowest) / codes, scale))
    if steps < 1 or KNEE / steps > LARGEST_GROWTH * scale:
        return {}
    read = qparams_from_scale(np.float32(KNEE / steps), lowest, source.spec)
    zero = np.asarray(int(read.zero_point) - steps, np.int32)
    return {source_name: read, name: replace(read, scale=np.asarray(read.scale / np.float32(6.0), np.float32), zero_point=zero)}


def is_safe_sigmoid(source: QParams, grid: QParams) -> bool:
    """Whether every entry of the sigmoid's table keeps its distance from halves, and the grid is a whole byte's."""
    inputs = np.asarray((np.arange(256) - int(source.zero_point)) * float(source.scale), np.float64)
    return grid.spec.bits == 8 and bool((_from_halves(sigmoid(inputs) / float(grid.scale)) > MARGIN).all())


def hard_sigmoid_bounds(source: QParams, grid: QParams) -> tuple[int, int] | None:
    """The lowest and highest code where a hard sigmoid is a bound on its input's codes, else None."""
    steps = int(source.zero_point) - int(grid.zero_point)
    is_bound = np.float32(source.scale / np.float32(6.0)) == grid.scale and abs(steps * float(source.scale) - KNEE) < 1e-5
    return (int(grid.zero_point), min(int(source.zero_point) + steps, 255)) if is_bound else None


def _from_halves(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each value from the nearest number that ends in a half."""
    return np.asarray(np.abs(values - np.floor(values) - 0.5))
