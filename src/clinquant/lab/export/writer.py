"""What every operator's writer shares: the graph it writes into, and the names of grids and weights."""

from __future__ import annotations

import numpy as np

from clinquant.core.affine import QParams
from clinquant.core.integer import Conv, Dense, IntegerProgram, Linear
from clinquant.lab.export.builder import GraphBuilder


class Writer:
    """The ONNX graph of an integer program while it is written; grids become two scalars each."""

    def __init__(self, graph: GraphBuilder, program: IntegerProgram) -> None:
        self.graph, self.program = graph, program

    def grid(self, tensor: str) -> list[str]:
        """Names of the scale and zero point of `tensor`."""
        q: QParams = self.program.tensors[tensor]
        scale = self.graph.constant(f"{tensor}.scale", np.float32(q.scale))
        return [scale, self.graph.constant(f"{tensor}.zero", np.uint8(q.zero_point))]

    def weights(self, operator: Conv | Linear | Dense) -> list[str]:
        """Names of the weight codes, their scales and zero points; the class map shares the classifier's codes."""
        name, rank = operator.name, operator.weight.ndim
        scale = self.graph.constant(f"{name}.weight_scale", operator.weight_scale)
        zero = self.graph.constant(f"{name}.weight_zero", np.zeros(len(operator.weight_scale), np.int8))
        if operator is self.program.class_map:
            linear = self.program.operators[-1].name
            shape = self.graph.constant("class_map.weight_shape", np.array([*operator.weight.shape], np.int64))
            return [self.graph.node("Reshape", [f"{linear}.weight", shape], f"{name}.weight"), scale, zero]
        assert rank in (2, 4)
        if isinstance(operator, Conv | Dense) and operator.weight_odd:
            return [self.graph.odd_codes(f"{name}.weight", operator.weight, operator.weight_bits), scale, zero]
        return [self.graph.codes(f"{name}.weight", operator.weight, operator.weight_bits), scale, zero]
