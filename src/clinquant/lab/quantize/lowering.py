"""What every lowering rule shares: the operators of the integer program so far, and the grid behind each tensor."""

from __future__ import annotations

import numpy as np

from clinquant.core.affine import QParams, quantize, quantize_bias
from clinquant.core.graph import Node
from clinquant.core.integer import BYTE, Clip, Operator, Requantize
from clinquant.lab.quantize.grids import fusions
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.widths import narrow_name


class Lowering:
    """An integer program in the making; `tensor` maps a node to the program's tensor that holds its output."""

    def __init__(self, quantized: QuantizedNetwork) -> None:
        self.quantized = quantized
        self.network = quantized.network
        self.fused = fusions(self.network)
        self.activations = set(self.fused.values())
        self.tensor: dict[str, str] = {}
        self.grid_names: dict[str, str] = {}
        self.tensors: dict[str, QParams] = {}
        self.operators: list[Operator] = []

    def emit(self, node: Node, operator: Operator) -> None:
        """Appends `operator`, and the bound that its fused activation needs beyond the grid's own ends."""
        grid = self.quantized.activations[node.name]
        self.operators.append(operator)
        self.tensor[node.name] = operator.name
        self.tensors[operator.name], self.grid_names[operator.name] = grid, node.name
        if node.name in self.fused:
            activation = self.network[self.fused[node.name]]
            self.bound(activation, operator.name, grid)
        elif grid.spec.qmax < BYTE[1]:
            self.tensor[node.name] = self.clip(f"{operator.name}.bounded", operator.name, grid.spec.qmin, grid.spec.qmax)

    def keep(self, node: Node, operator: Operator) -> None:
        """Appends `operator`, whose codes mean what its input's do."""
        (source,) = operator.inputs
        self.operators.append(operator)
        self.tensor[node.name], self.tensors[node.name] = node.name, self.tensors[source]
        self.grid_names[node.name] = self.grid_names[source]

    def bound(self, activation: Node, source: str, grid: QParams) -> None:
        """A Clip where the activation's ends lie inside the grid's."""
        low = int(quantize(np.asarray(activation.attributes.get("low", 0.0), np.float32), grid))
        high = grid.spec.qmax
        if activation.op == "clip":
            high = int(quantize(np.asarray(activation.attributes["high"], np.float32), grid))
        self.tensor[activation.name] = source
        if low > grid.spec.qmin or high < BYTE[1]:
            self.tensor[activation.name] = self.clip(activation.name, source, low, high)

    def clip(self, name: str, source: str, low: int, high: int) -> str:
        """Appends a bound on the codes of `source`; returns its name."""
        self.operators.append(Clip(name=name, inputs=(source,), low=low, high=high))
        self.tensors[name], self.grid_names[name] = self.tensors[source], self.grid_names[source]
        return name

    def sources(self, node: Node) -> tuple[str, ...]:
        """The program's tensors that `node` reads, in its layers' width."""
        bits = self.quantized.widths.read_by(node.name)
        return tuple(self.narrowed(self.tensor[name], bits) for name in node.inputs)

    def narrowed(self, tensor: str, bits: int) -> str:
        """`tensor`, or the copy of it that layers of fewer bits read, made when first asked for."""
        grid = self.quantized.activations.get(narrow_name(self.grid_names[tensor], bits))
        if grid is None:
            return tensor
        name = narrow_name(tensor, bits)
        if name not in self.tensors:
            self.operators.append(Requantize(name=name, inputs=(tensor,)))
            self.tensors[name], self.grid_names[name] = grid, name
            self.clip(f"{name}.bounded", name, grid.spec.qmin, grid.spec.qmax)
        return f"{name}.bounded"

    def bias(self, node: Node) -> np.ndarray:
        """int32 codes of the bias [c_out] on the accumulator's grid, zeros where the layer has none."""
        grid = self.quantized.weights[node.name]
        bias = node.params.get("bias", np.zeros(len(grid.scale), np.float32))
        return quantize_bias(bias, self.tensors[self.sources(node)[0]].scale, grid.scale)
