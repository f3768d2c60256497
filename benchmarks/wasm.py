"""Every zoo network's files on WebAssembly, one thread: float, integer, and integer with short sums in float kernels; and natively.

Weights are random: time does not depend on them. The three files take turns in one page of headless Chromium, on the runtime that the app
ships; natively two of them do in another process. Each integer file must answer the same bits on every image, natively and on WebAssembly.

    python -m benchmarks.wasm --out benchmarks/results/wasm.csv

Needs playwright and chromium, and the app's files (`python web/assemble.py`).
"""

from __future__ import annotations

import argparse
import hashlib
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from benchmarks.rows import Rows

from clinquant.core.card import Card
from clinquant.edge import agree
from clinquant.edge.app.write import STATIC
from clinquant.edge.bench import bench
from clinquant.edge.kernels import SHORT_SUM, exact_in_float, with_float_kernels
from clinquant.edge.runtimes.onnxruntime import OnnxRuntimeSession
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from chromium import chromium, serving

WARM_UP = 10
"""Runs of every file before any is timed: by then Chromium has compiled what is called often."""

FILES = {"float": True, "integer": True, "mixed": False}
"""File -> whether the runtime may optimise its graph."""

MEASURE = """async (asked) => {
  const { measure } = await import(new URL("wasm.mjs", location.href).href);
  return measure(asked);
}"""


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


def site(folder: Path) -> Path:
    """A folder that can be served: a blank page, the module that measures, the runtime, and room for the models."""
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>wasm</title>\n")
    shutil.copy(Path(__file__).with_suffix(".mjs"), folder)
    shutil.copy(Path(agree.__file__).with_name("replay.mjs"), folder)
    shutil.copytree(STATIC / "vendor", folder / "vendor")
    return folder


def in_a_page(browser: Any, url: str, name: str, size: int, runs: int) -> dict[str, Any]:
    """File -> milliseconds, the hash of its answers and the runtime's version, all of one fresh page."""
    page = browser.new_page()
    page.goto(url)
    files = [{"file": f"{name}.{file}.onnx", "optimise": optimise} for file, optimise in FILES.items()]
    found = page.evaluate(MEASURE, {"files": files, "size": size, "warmUp": WARM_UP, "runs": runs})
    page.close()
    return dict(zip(FILES, found, strict=True))


def row(name: str, browser: Any, url: str, runs: int, folder: Path) -> dict[str, object]:
    """One network's figures."""
    files, size = exported(name, folder), ARCHITECTURES[name].size
    web = in_a_page(browser, url, name, size, runs)
    session, digest = OnnxRuntimeSession(files["integer"]), hashlib.sha256()
    for seed in range(WARM_UP + runs):
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
    found |= {f"wasm_{file}_ms": round(float(np.median(web[file]["milliseconds"])), 2) for file in FILES}
    found |= {f"native_{file}_ms": round(native[file].median_ms, 2) for file in native}
    where = f"Chromium {browser.version}, headless"
    return found | {"runs": runs, "where": where, "runtime": f"onnxruntime-web {web['float']['version']}, {session.runtime}"}


def main() -> None:
    """Makes the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--architectures", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--runs", type=int, default=30)
    asked = parser.parse_args()
    rows = Rows(asked.out, ("architecture", "size"))
    with tempfile.TemporaryDirectory() as place, chromium() as browser, serving(folder := site(Path(place) / "site")) as server:
        for name in asked.architectures:
            key = {"architecture": name, "size": ARCHITECTURES[name].size}
            if key not in rows:
                rows.add(key | row(name, browser, server.url, asked.runs, folder))


if __name__ == "__main__":
    main()
