"""What a target costs and gains on trained networks: agreement with float on tune, and answers on emulated processors.

    python benchmarks/floats.py --data ../shared/data --runs runs
    python -m benchmarks.targets --runs runs --out benchmarks/results/targets.csv

Grids by least squared change (`mse`), w8a8. Agreement and divergence are of the exact simulation, which equals the exported file code by
code. The last columns count, of 16 tune images (2 of large inputs), those whose logits differ on an emulated x86 without VNNI, by
qemu-x86_64. The runs are only read.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.rows import Rows
from numpy.typing import NDArray

from clinquant.core.artifact import read_json, sha256_json
from clinquant.data.pixels import Pixels
from clinquant.data.split import Split, choosing_half
from clinquant.data.study import Study
from clinquant.edge.resize import model_pixels
from clinquant.edge.runtimes import runtime_module
from clinquant.evidence.reliability import divergence
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.simulate import Simulation
from clinquant.lab.quantize.target import TARGETS

COMPARED = ("portable", "x86-vnni")
"""`arm-dotprod` has the grids of `x86-vnni`, and its files the same bytes but for their card."""

PROCESSORS = ("Haswell", "Nehalem")
EMULATED = 16
ANSWER = "import sys, numpy as np; from pathlib import Path; from clinquant.edge.runtimes.onnxruntime import load; a = sys.argv; "
ANSWER += "np.save(a[3], load(Path(a[1])).run(np.load(a[2])).logits)"


def rows_of(run: Path, folder: Path) -> list[dict[str, Any]]:
    """One trained network at every target."""
    study, split = read_json(run / "study.json", Study, kind="study"), read_json(run / "split.json", Split, kind="split")
    classifier = Classifier.load(run)
    calibration, tune = (
        model_pixels(Pixels(study), ids, classifier.card.preprocess, cache=folder, key=sha256_json(study))
        for ids in (split.calibration, choosing_half(split))
    )
    with torch.no_grad():
        batches = [tune[at : at + 32] for at in range(0, len(tune), 32)]
        floats = torch.cat([classifier.module(normalised(batch, classifier.card.preprocess)) for batch in batches]).numpy()
    found = []
    for name in COMPARED:
        program = lower(quantize(classifier, calibration, recipes=("mse",), target=TARGETS[name])["mse"])
        file = export_integer(program, folder / f"{name}.onnx")
        logits = Simulation(program)(tune).numpy()
        row: dict[str, Any] = {"run": run.name, "target": name, "tune_images": len(tune)}
        row |= {
            "agreement": round(float((logits.argmax(1) == floats.argmax(1)).mean()), 5),
            "divergence": f"{divergence(floats, logits):.3g}",
        }
        for processor in PROCESSORS:
            row[f"{processor.lower()}_differ"] = differing(file, tune[: EMULATED if tune.shape[1] < 64 else 2], processor, folder)
        found.append(row | {"bytes": file.stat().st_size})
    return found


def differing(model: Path, pixels: NDArray[np.uint8], processor: str, folder: Path) -> str:
    """Images whose logits differ on the emulated processor, of all; empty without an emulator."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        return ""
    np.save(folder / "pixels.npy", pixels)
    here = runtime_module("onnxruntime").load(model, 1).run(pixels).logits
    program = [sys.executable, "-c", ANSWER, str(model), str(folder / "pixels.npy"), str(folder / "logits.npy")]
    subprocess.run([emulator, "-cpu", processor, *program], check=True)
    there = np.load(folder / "logits.npy")
    return f"{int((here != there).any(axis=1).sum())}/{len(pixels)}"


def main() -> None:
    """Makes the rows of every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    rows = Rows(asked.out, ("run", "target"))
    facts = {"runtime": runtime_module("onnxruntime").version()}
    for run in sorted(path for path in asked.runs.iterdir() if (path / "float.safetensors").exists() and (path / "study.json").exists()):
        with tempfile.TemporaryDirectory() as folder:
            for row in rows_of(run, Path(folder)):
                rows.add(row | facts)


if __name__ == "__main__":
    main()
