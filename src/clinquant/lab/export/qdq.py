"""Writes a quantized network as QDQ: float operators between QuantizeLinear and DequantizeLinear, for compilers that want that form.

Compilers fuse it each in their own way, so its integers are not bit-identical between devices; evidence is never measured on it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from clinquant.core.affine import QParams, quantize, quantize_bias
from clinquant.core.graph import Node
from clinquant.lab.export import float as float_export
from clinquant.lab.export.builder import GraphBuilder
from clinquant.lab.quantize.grids import fusions, grid_of
from clinquant.lab.quantize.quantized import QuantizedNetwork


def export_qdq(quantized: QuantizedNetwork, path: Path, *, temperature: float = 1.0, description: str = "") -> Path:
    """Writes `quantized` to `path`; logits divided by `temperature`, no class map."""
    network, preprocess = quantized.network, quantized.card.preprocess
    writer = _Writer(quantized)
    float_export.write_input(writer.graph, network.nodes[0], preprocess)
    writer.requantized(network.nodes[0])
    for node in network.nodes[1:-1]:
        writer.write(node)
    writer.logits(network.output, temperature)
    return writer.graph.write(path, description)


class _Writer:
    """`value` maps a node to the dequantized tensor that stands for its output."""

    def __init__(self, quantized: QuantizedNetwork) -> None:
        self.quantized = quantized
        self.graph = GraphBuilder(quantized.card.preprocess.size)
        self.fused, self.grids = fusions(quantized.network), grid_of(quantized.network)
        self.value: dict[str, str] = {}

    def write(self, node: Node) -> None:
        read = replace(node, inputs=tuple(self.value[name] for name in node.inputs))
        if "weight" in node.params:
            self.weighted(read)
        else:
            float_export.WRITERS[node.op](self.graph, read)
        if node.name in self.fused:
            self.value[node.name] = node.name
        else:
            self.requantized(node)

    def requantized(self, node: Node) -> None:
        """QuantizeLinear and DequantizeLinear behind `node`."""
        scale, zero = self.grid(self.grids[node.name])
        codes = self.graph.node("QuantizeLinear", [node.name, scale, zero], f"{node.name}.codes")
        self.value[node.name] = self.graph.node("DequantizeLinear", [codes, scale, zero], f"{node.name}.value")

    def grid(self, name: str) -> tuple[str, str]:
        q: QParams = self.quantized.activations[name]
        scale = self.graph.constant(f"{name}.scale", np.float32(q.scale))
        return scale, self.graph.constant(f"{name}.zero", np.uint8(q.zero_point))

    def weighted(self, node: Node, divisor: float = 1.0, output: str | None = None) -> None:
        """A convolution or linear layer on dequantized weights and bias."""
        name = node.name
        grid, source = self.quantized.weights[name], self.quantized.network[name].inputs[0]
        input_scale = self.quantized.activations[self.grids[source]].scale
        factor = np.float32(1.0 / divisor)
        weight_scale = self.graph.constant(f"{name}.weight_scale", grid.scale * factor)
        codes = self.graph.constant(f"{name}.weight", quantize(node.params["weight"], grid).astype(np.int8))
        weight = self.graph.node("DequantizeLinear", [codes, weight_scale], f"{name}.weight_value", axis=0)
        bias_codes = quantize_bias(node.params.get("bias", np.zeros(len(grid.scale), np.float32)), input_scale, grid.scale)
        bias_scale = self.graph.constant(f"{name}.bias_scale", input_scale * grid.scale * factor)
        bias = self.graph.node(
            "DequantizeLinear", [self.graph.constant(f"{name}.bias", bias_codes), bias_scale], f"{name}.bias_value", axis=0
        )
        a = node.attributes
        if node.op == "linear":
            float_export.linear(self.graph, node, [weight, bias], output or name)
        else:
            self.graph.node(
                "Conv",
                [node.inputs[0], weight, bias],
                name,
                strides=a["stride"],
                pads=a["pads"],
                dilations=a["dilation"],
                group=a["groups"],
            )

    def logits(self, node: Node, temperature: float) -> None:
        """The last layer, divided by the temperature."""
        self.weighted(replace(node, inputs=(self.value[node.inputs[0]],)), temperature, "logits")
        self.graph.output("logits", ["n", len(node.params["weight"])])
