"""Simulation and ONNX Runtime against the numpy reference: every code, 500 real images, every network of the zoo, every width.

    python -m benchmarks.exactness --data ../shared/data --out benchmarks/results/exactness.csv

At each network's own size: chest X-rays and brain scans at 224 px, chest X-rays and fundus photographs at 28 px. Weights are random, batch
norm has the statistics of real images. Mixed 4/2 is every other inner layer at 4 bits and those between at 2, which puts more narrow copies
into the file than any search would.

The CSV is the resume key: a row that stands in it is not made again. Every count of differing codes must be 0.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from benchmarks.rows import Rows
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from clinquant.core.card import Card
from clinquant.core.edges import open_edges
from clinquant.core.graph import Network
from clinquant.core.integer import IntegerProgram
from clinquant.core.reference import execute
from clinquant.edge.runtimes import runtime_module
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.simulate import Simulation
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.quantize.widths import WIDTHS, Widths, inner_layers

IMAGES = 500
CHUNK = 2
"""Images whose every tensor is held at once: few, so that a tensor stays in the processor's cache."""

CALIBRATION = 32

MIX = "4/2"
"""By turns; `w42` is what the search of `clinquant.lab.mixed` finds."""
ALL = (*WIDTHS, MIX)

KEY = ("architecture", "bits")


def real_images(data: Path, size: int) -> NDArray[np.uint8]:
    """500 real images, uint8 [500, size, size, 3], of two data sets."""
    if size == 28:
        colour = np.load(data / "medmnist" / "retinamnist.npz")["train_images"][: IMAGES // 2]
        grey = np.load(data / "medmnist" / "pneumoniamnist_rebuilt.npz")["train_images"][: IMAGES // 2]
        return np.concatenate([colour, np.repeat(grey[..., None], 3, axis=3)])
    folders = (data / "kermany_cxr_224", data / "brain_mri4_224")
    found = [sorted(path for path in folder.rglob("*.jp*g")) for folder in folders]
    chosen = [paths[int(at)] for paths in found for at in np.linspace(0, len(paths) - 1, IMAGES // 2)]
    return np.stack([np.asarray(Image.open(path).convert("RGB").resize((size, size))) for path in chosen])


def network(name: str, pixels: NDArray[np.uint8]) -> Classifier:
    """A network of the zoo with random weights, its batch norm used to real images."""
    torch.manual_seed(0)
    architecture = ARCHITECTURES[name]
    module, preprocess = architecture.build(2), architecture.preprocess(architecture.size)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.2)
            layer.momentum = None
    with torch.no_grad():
        for start in range(0, CALIBRATION, 8):
            module.train()(normalised(pixels[start : start + 8], preprocess))
    return Classifier(module=module.eval(), card=Card(architecture=name, classes=("a", "b"), positive=1, preprocess=preprocess))


def every_other(network: Network) -> Widths:
    """4-bit and 2-bit inner layers by turns."""
    layers = [node.name for node in network if node.name in inner_layers(network)]
    widths = {layer: 4 if at % 2 else 2 for at, layer in enumerate(layers)}
    return Widths(weight=widths, activation=widths)


class Runtime:
    """The exported file in ONNX Runtime, every tensor of the program declared an output."""

    def __init__(self, program: IntegerProgram, path: Path) -> None:
        model = onnx.load(export_integer(program, path))
        for operator in program.operators[:-1]:
            model.graph.output.append(onnx.helper.make_tensor_value_info(operator.name, onnx.TensorProto.UINT8, None))
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]

    def tensors(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Name -> value."""
        return dict(zip(self.names, self.session.run(None, {"image": pixels}), strict=True))


def differing(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]], program: IntegerProgram) -> tuple[int, int]:
    """Values compared, and how many of them differ: of every tensor but the picture and the last sums, which are the logits.

    Raises:
        KeyError: `found` lacks a tensor.
    """
    names = expected.keys() - {"image", program.operators[-1].name}
    return sum(expected[name].size for name in names), sum(int((found[name] != expected[name]).sum()) for name in names)


def row(classifier: Classifier, bits: str, pixels: NDArray[np.uint8], folder: Path) -> dict[str, Any]:
    """One network at one width."""
    began, size = time.monotonic(), classifier.card.preprocess.size
    widths = every_other(trace(classifier.module)) if bits == MIX else None
    calibration = pixels[:: len(pixels) // CALIBRATION]
    program = lower(quantize(classifier, calibration, bits=bits, recipes=("mse",), widths=widths)["mse"])
    runtime, simulation = Runtime(program, folder / "model.onnx"), Simulation(program)
    values, of_runtime, of_simulation, alive = 0, 0, 0, 0
    for chunk in (pixels[start : start + CHUNK] for start in range(0, len(pixels), CHUNK)):
        expected, seen = execute(program, chunk), dict[str, NDArray[Any]]()
        simulation.batch(chunk, lambda name, value, seen=seen: seen.__setitem__(name, value.numpy()))
        compared, unequal = differing(runtime.tensors(chunk), expected, program)
        values, of_runtime = values + compared, of_runtime + unequal
        of_simulation += differing(seen, expected, program)[1]
        alive = max(alive, sum(len(np.unique(value)) > 2 for value in seen.values()))
    return {
        "architecture": classifier.card.architecture,
        "bits": bits,
        "size": size,
        "images": len(pixels),
        "tensors": len(expected),
        "tensors_alive": alive,
        "values": values,
        "runtime": of_runtime,
        "simulation": of_simulation,
        "open_edges": len(open_edges(program)),
        "seconds": round(time.monotonic() - began, 1),
    }


def wanted(rows: Rows, names: list[str]) -> Iterator[tuple[str, str]]:
    """(architecture, width) of the rows that are missing, the quick ones first."""
    for name in sorted(names, key=lambda name: (ARCHITECTURES[name].size, name)):
        yield from ((name, bits) for bits in ALL if {"architecture": name, "bits": bits} not in rows)


def main() -> None:
    """Makes the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--architectures", nargs="*", default=list(ARCHITECTURES))
    asked = parser.parse_args()
    rows = Rows(asked.out, KEY)
    facts = {"onnxruntime": runtime_module("onnxruntime").version(), "torch": torch.__version__}
    for name, bits in wanted(rows, asked.architectures):
        pixels = real_images(asked.data, ARCHITECTURES[name].size)
        with tempfile.TemporaryDirectory() as folder:
            rows.add(row(network(name, pixels), bits, pixels, Path(folder)) | facts)


if __name__ == "__main__":
    main()
