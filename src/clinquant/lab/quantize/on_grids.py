"""Runs a network in torch with its tensors and weights on their grids, summing in floating point: quick, for passes that measure or learn.

Not bit-exact: an ordinary float sum now and then falls on the other side of a tie than the integer sum does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from clinquant.core.affine import QParams
from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.execute import RULES
from clinquant.lab.quantize.fake_quant.affine import broadcast, codes
from clinquant.lab.quantize.grids import grid_of, watch_points
from clinquant.lab.quantize.widths import Widths, narrow_name

Params = dict[str, Tensor]


def on_grid(x: Tensor, grid: QParams) -> Tensor:
    """`x` rounded to `grid`."""
    low, high = (int(end - grid.zero_point.flat[0]) for end in (grid.spec.qmin, grid.spec.qmax))
    scale = broadcast(torch.from_numpy(np.asarray(grid.scale)), x, grid.spec.axis)
    return codes(x, scale, low, high, odd=grid.spec.odd) * scale


class OnGrids:
    """One node at a time, so that whoever walks the network may look at, or change, what lies between.

    Args:
        network: batch norm folded.
        activations: grid name -> grid.
        weights: node name -> grid of its weight; symmetric, so that codes are what they stand for.
        widths: bits that every node reads.
    """

    def __init__(self, network: Network, activations: Mapping[str, QParams], weights: Mapping[str, QParams], widths: Widths) -> None:
        self.activations, self.weights, self.widths = activations, weights, widths
        self.grids, self.points = grid_of(network), watch_points(network)

    def params(self, node: Node) -> Params:
        """The node's arrays, its weight on its grid."""
        held = {role: torch.from_numpy(np.array(array)) for role, array in node.params.items()}
        return held | {"weight": on_grid(held["weight"], self.weights[node.name])} if node.name in self.weights else held

    def read(self, tensor: Tensor, source: str, reader: Node) -> Tensor:
        """The output of node `source` as `reader` sees it: on the narrow copy of its grid where there is one."""
        grid = self.activations.get(narrow_name(self.grids[source], self.widths.read_by(reader.name)))
        return tensor if grid is None else on_grid(tensor, grid)

    def write(self, tensor: Tensor, node: Node) -> Tensor:
        """What `node` computed, on its grid where this node decides one."""
        name = "input" if node.op == "input" else self.points.get(node.name)
        return tensor if name is None else on_grid(tensor, self.activations[name])

    def compute(self, node: Node, inputs: list[Tensor], params: Params) -> Tensor:
        """The node's output on its grid, of inputs as they were written."""
        seen = [self.read(tensor, source, node) for tensor, source in zip(inputs, node.inputs, strict=True)] if node.inputs else inputs
        return self.write(RULES[node.op](node, seen, params), node)
