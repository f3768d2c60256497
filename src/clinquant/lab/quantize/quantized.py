"""A quantized network: the folded float network and the table of grids that makes it integer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.affine import QParams, TensorSpec
from clinquant.core.artifact import from_json, read_body, replacing, write_json
from clinquant.core.card import Card
from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.widths import Widths


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizedNetwork:
    """What `quantize` gives and `export` writes.

    Attributes:
        network: batch norm folded, weights still float32.
        activations: grid name -> grid (see `grids.grid_of`), narrow copies among them (`widths.narrow_name`).
        weights: node name -> grid, one scale an output channel.
        widths: bits, layer by layer.
        shapes: node name -> (channels, height, width) at the card's size.
        card: bits, target and parents filled in.
        recipe: name of the recipe that was used.
    """

    network: Network
    activations: Mapping[str, QParams]
    weights: Mapping[str, QParams]
    widths: Widths
    shapes: Mapping[str, tuple[int, ...]]
    card: Card
    recipe: str

    @property
    def mean_weight_bits(self) -> float:
        """Bits a weight as stored, over all layers: 7-bit codes take a byte."""
        sizes = {name: self.network[name].params["weight"].size for name in self.weights}
        stored = {name: grid.spec.bits if grid.spec.bits in (2, 4) else 8 for name, grid in self.weights.items()}
        return sum(stored[name] * size for name, size in sizes.items()) / sum(sizes.values())

    def save(self, directory: Path) -> None:
        """Writes `quantized.safetensors` and `quantized.json`, each atomically, the JSON last."""
        from safetensors.numpy import save_file

        arrays: dict[str, NDArray[Any]] = {}
        for node in self.network:
            arrays |= {f"param/{node.name}/{role}": np.ascontiguousarray(array) for role, array in node.params.items()}
        for kind, grids in (("activation", self.activations), ("weight", self.weights)):
            for name, grid in grids.items():
                arrays |= {f"{kind}/{name}/scale": np.atleast_1d(grid.scale), f"{kind}/{name}/zero": np.atleast_1d(grid.zero_point)}
        with replacing(directory / "quantized.safetensors") as temporary:
            save_file(arrays, str(temporary))
        write_json(directory / "quantized.json", _description(self), kind="quantized")

    @classmethod
    def load(cls, directory: Path) -> QuantizedNetwork:
        """What `save` wrote in `directory`. Raises as `core.artifact.read_body`."""
        from safetensors.numpy import load_file

        body = read_body(directory / "quantized.json", kind="quantized")
        arrays = load_file(str(directory / "quantized.safetensors"))
        nodes = tuple(
            Node(
                name=item["name"],
                op=item["op"],
                inputs=tuple(item["inputs"]),
                params={role: arrays[f"param/{item['name']}/{role}"] for role in item["params"]},
                attributes={key: tuple(value) if isinstance(value, list) else value for key, value in item["attributes"].items()},
            )
            for item in body["nodes"]
        )
        return cls(
            network=Network(nodes=nodes),
            activations=_grids("activation", body["activations"], arrays),
            weights=_grids("weight", body["weights"], arrays),
            widths=from_json(Widths, body["widths"], where="quantized.json: widths"),
            shapes={name: tuple(shape) for name, shape in body["shapes"].items()},
            card=from_json(Card, body["card"], where="quantized.json: card"),
            recipe=body["recipe"],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What quantization-aware training leaves.

    Attributes:
        network: batch norm folded, inner weights on their grids.
        weights: grids of the inner weights.
        activations: grids of the narrow activations.
        latents: inner weights before rounding, on the scale of their grids.
    """

    network: Network
    weights: Mapping[str, QParams]
    activations: Mapping[str, QParams]
    latents: Mapping[str, NDArray[np.float32]]


def _description(quantized: QuantizedNetwork) -> dict[str, Any]:
    nodes = [
        {"name": node.name, "op": node.op, "inputs": node.inputs, "params": sorted(node.params), "attributes": node.attributes}
        for node in quantized.network
    ]
    return {
        "recipe": quantized.recipe,
        "card": quantized.card,
        "nodes": nodes,
        "widths": quantized.widths,
        "shapes": quantized.shapes,
        "activations": {name: grid.spec for name, grid in quantized.activations.items()},
        "weights": {name: grid.spec for name, grid in quantized.weights.items()},
    }


def _grids(kind: str, specs: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, QParams]:
    grids = {}
    for name, value in specs.items():
        spec = from_json(TensorSpec, value, where=f"quantized.json: {name}")
        scale, zero = arrays[f"{kind}/{name}/scale"], arrays[f"{kind}/{name}/zero"]
        if spec.axis is None:
            scale, zero = scale.reshape(()), zero.reshape(())
        grids[name] = QParams(spec=spec, scale=scale, zero_point=zero)
    return grids
