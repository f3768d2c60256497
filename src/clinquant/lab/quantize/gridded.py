"""A network that learns on grids: which tensor is on which, and the nodes in turn, by torch's operators or by the kernels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Set
from functools import cached_property

import torch
from torch import Tensor, nn

from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.fused.build import arithmetic
from clinquant.lab.quantize.fused.execute import FusedStep
from clinquant.lab.quantize.naming import child_name
from clinquant.lab.quantize.widths import Widths, narrow_name


class Gridded(nn.Module):
    """What networks that learn on grids have in common; `FusedStep` computes them.

    Attributes:
        network: the nodes, batch norm apart where it is live.
        inner: names of the nodes whose weights are on grids.
        widths: of the layers.
        grids: node -> name of the grid of its tensor.
        weight_quantizers, activation_quantizers: key -> quantizer.
        write_points: node -> key of the quantizer of its output, which is there where that is rounded.
        norms: node -> the batch norm that it is.
    """

    network: Network
    inner: Set[str]
    widths: Widths
    grids: Mapping[str, str]
    weight_quantizers: nn.ModuleDict
    activation_quantizers: nn.ModuleDict
    write_points: Mapping[str, str]
    norms: Mapping[str, nn.BatchNorm2d]

    @cached_property
    def fused(self) -> FusedStep | None:
        """The plan of a training step on the kernels, which are compiled when it is first asked for."""
        return FusedStep.of(self)

    @property
    def arithmetic(self) -> str:
        """What computes a training step: its last bits depend on it, so that it belongs to a run's key."""
        return arithmetic()

    def plain(self, x: Tensor) -> Tensor:
        """Logits [n, k] of normalised images [n, 3, s, s] by torch's own operators."""
        values: dict[str, Tensor] = {}
        for node in self.network:
            inputs = [self.read(values[name], name, node) for name in node.inputs] or [x]
            values[node.name] = self.written(node, self.compute(node, inputs))
        return self.answered(values)

    def written(self, node: Node, value: Tensor) -> Tensor:
        """The node's tensor on its own grid, where this node decides one that is rounded."""
        grid = self.write_points.get(node.name, "")
        return torch.as_tensor(self.activation_quantizers[grid](value)) if grid in self.activation_quantizers else value

    def read(self, value: Tensor, source: str, reader: Node) -> Tensor:
        """The output of node `source` as `reader` sees it: layers of fewer bits see the narrow copy where there is one."""
        narrow = self.narrow(source, reader)
        return value if narrow is None else torch.as_tensor(self.activation_quantizers[narrow](value))

    def narrow(self, name: str, reader: Node) -> str | None:
        """Key of the quantizer of the copy of a tensor that `reader` sees, where it sees a copy."""
        key = child_name(narrow_name(self.grids[name], self.widths.read_by(reader.name)))
        return key if key in self.activation_quantizers else None

    @staticmethod
    def key(name: str) -> str:
        """A node's name as torch takes it for a module."""
        return child_name(name)

    @abstractmethod
    def tensors(self, name: str) -> dict[str, Tensor]:
        """Role -> tensor of a node that is no batch norm."""

    @abstractmethod
    def compute(self, node: Node, inputs: list[Tensor], weight: Tensor | None = None) -> Tensor:
        """The node's operator, its weight on its grid where it has one: `weight`, if it was computed already."""

    @abstractmethod
    def answered(self, values: Mapping[str, Tensor]) -> Tensor:
        """The logits among all tensors."""
