"""Every zoo network's files on WebAssembly, one thread: float, integer, and integer with short sums in float kernels; and natively.

Weights are random: time does not depend on them. `--package` is where npm put onnxruntime-web. Interleaved in one process of node,
natively in another. Each integer file must answer the same bits on every image, natively and on WebAssembly.

    python benchmarks/wasm.py --package web/node_modules/onnxruntime-web --out benchmarks/results/wasm.csv
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from benchmarks.rows import Rows

from clinquant.core.card import Card
from clinquant.edge.bench import bench
from clinquant.edge.kernels import SHORT_SUM, exact_in_float, with_float_kernels
from clinquant.edge.runtimes.onnxruntime import OnnxRuntimeSession
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize

WEB = Path(__file__).with_suffix(".mjs")


def exported(name: str, folder: Path) -> dict[str, Path]:
    """The float file, the integer file, and that with short sums in float kernels."""
    architecture = ARCHITECTURES[name]
    torch.manual_seed(0)
    preprocess = architecture.preprocess()
    card = Card(architecture=name, classes=("a", "b"), positive=1, preprocess=preprocess)
    classifier = Classifier(module=architecture.build(2).eval(), card=card)
    images = np.random.default_rng(0).integers(0, 256, (8, preprocess.size, preprocess.size, 3), dtype=np.uint8)
    quantized = quantize(classifier, images, recipes=("minmax",))["minmax"]
    files = {
        "float": export_float(quantized.network, preprocess, folder / f"{name}.float.onnx"),
        "integer": export_integer(lower(quantized), folder / f"{name}.integer.onnx"),
        "mixed": folder / f"{name}.mixed.onnx",
    }
    model = onnx.load(files["integer"])
    onnx.save(with_float_kernels(model, short_sums(model)), files["mixed"])
    return files


def short_sums(model: onnx.ModelProto) -> set[str]:
    """All convolutions of short sums that are exact in float."""
    products = {constant.name: math.prod(constant.dims[1:]) for constant in model.graph.initializer}
    proven = exact_in_float(model)
    return {node.name for node in model.graph.node if node.name in proven and products[node.input[3]] <= SHORT_SUM}


def image(size: int, seed: int) -> np.ndarray:
    """The pixels that `wasm.mjs` makes: uint8 [1, size, size, 3]."""
    places = (np.arange(size * size * 3, dtype=np.uint64) + 7919 * seed) * 2654435761 % 2**32
    return ((places >> 13) & 255).astype(np.uint8).reshape(1, size, size, 3)


def row(name: str, package: Path, runs: int, folder: Path) -> dict[str, object]:
    """One network's figures."""
    files, size = exported(name, folder), ARCHITECTURES[name].size
    asked = {"float": "all", "integer": "all", "mixed": "disabled"}
    command = ["node", str(WEB), str(package), str(size), str(runs), *(f"{level}:{files[file]}" for file, level in asked.items())]
    lines = [json.loads(line) for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()]
    web = dict(zip(asked, lines, strict=True))
    session, digest = OnnxRuntimeSession(files["integer"]), hashlib.sha256()
    for seed in range(runs + 2):
        digest.update(session.run(image(size, seed)).logits.tobytes())
    model = onnx.load(files["integer"])
    native = bench({file: files[file] for file in ("float", "integer")}, size, runs=runs)
    found: dict[str, object] = {"convolutions": sum(node.op_type == "QLinearConv" for node in model.graph.node)}
    found |= {"proven": len(exact_in_float(model)), "in_float": len(short_sums(model))}
    for file in ("integer", "mixed"):
        ratios = np.array(web[file]["milliseconds"]) / np.array(web["float"]["milliseconds"])
        found |= {f"wasm_{file}_over_float": round(float(np.median(ratios)), 3)}
        found |= {f"wasm_{file}_{end}": round(float(np.quantile(ratios, share)), 3) for end, share in (("q10", 0.1), ("q90", 0.9))}
        found |= {f"wasm_{file}_same_bits": web[file]["answered"] == digest.hexdigest()}
    found |= {"native_integer_over_float": round(native["integer"].median_ms / native["float"].median_ms, 3)}
    found |= {f"wasm_{file}_ms": round(float(np.median(web[file]["milliseconds"])), 2) for file in asked}
    found |= {f"native_{file}_ms": round(native[file].median_ms, 2) for file in native}
    return found | {"runs": runs, "runtime": f"onnxruntime-web {web['float']['version']}, {session.runtime}"}


def main() -> None:
    """Makes the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=30)
    asked = parser.parse_args()
    rows = Rows(asked.out, ("architecture", "size"))
    with tempfile.TemporaryDirectory() as folder:
        for name, architecture in ARCHITECTURES.items():
            key = {"architecture": name, "size": architecture.size}
            if key not in rows:
                rows.add(key | row(name, asked.package, asked.runs, Path(folder)))


if __name__ == "__main__":
    main()
