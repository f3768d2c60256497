"""Time and size of every zoo network's exported files: integer over float, one thread, batch 1, in one process, interleaved.

Weights are random: time and bytes do not depend on them. Run by hand, on a quiet machine:

    python -m benchmarks.latency --out benchmarks/results/latency.csv
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from benchmarks.rows import Rows

from clinquant.core.card import Card
from clinquant.edge.bench import bench
from clinquant.edge.runtimes import runtime_module
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize


def row(name: str, size: int, runs: int, folder: Path) -> dict[str, object]:
    """One network's figures."""
    architecture = ARCHITECTURES[name]
    torch.manual_seed(0)
    preprocess = architecture.preprocess(size)
    card = Card(architecture=name, classes=("a", "b"), positive=1, preprocess=preprocess)
    classifier = Classifier(module=architecture.build(2).eval(), card=card)
    images = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    quantized = quantize(classifier, images, recipes=("minmax",))["minmax"]
    files = {
        "float": export_float(quantized.network, preprocess, folder / f"{name}.float.onnx"),
        "integer": export_integer(lower(quantized), folder / f"{name}.integer.onnx"),
    }
    times = bench(files, size, runs=runs)
    found: dict[str, object] = {"architecture": name, "size": size, "runs": runs}
    for file, path in files.items():
        t = times[file]
        found |= {f"{file}_ms": round(t.median_ms, 3), f"{file}_min": round(t.minimum_ms, 3), f"{file}_max": round(t.maximum_ms, 3)}
        found |= {f"{file}_bytes": path.stat().st_size, f"{file}_megapixel_ms": round(t.megapixel_median_ms or 0.0, 3)}
    found["ratio"] = round(times["integer"].median_ms / times["float"].median_ms, 3)
    found["bytes_ratio"] = round(files["integer"].stat().st_size / files["float"].stat().st_size, 4)
    return found


def main() -> None:
    """Writes the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    rows = Rows(arguments.out, ("architecture", "size"))
    with tempfile.TemporaryDirectory() as folder:
        for name, architecture in ARCHITECTURES.items():
            found = row(name, architecture.size, arguments.runs, Path(folder))
            rows.add(found | {"runtime": runtime_module("onnxruntime").version()})


if __name__ == "__main__":
    main()
