"""What each choice of quantization is worth, one at a time, on exported files.

    python -m benchmarks.ablation --data ../shared/data --runs runs --work work --out benchmarks/results/ablation.csv

ResNet-20 at 28 px: nearest rounding against bias correction, GPTQ and AdaRound, a scale a channel against a scale a layer, ranges, and ReLU
against SiLU and hard-swish (networks trained alike). The CSV is the resume key.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from benchmarks.floats import SMALL, options_of, run_directory
from benchmarks.peers.case import Case
from benchmarks.rows import Rows, paired

from clinquant.core.affine import QParams
from clinquant.evidence.reliability import divergence
from clinquant.lab.build import prepare, run_train
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration, Model, Pass
from clinquant.lab.quantize.recipes import RECIPES, begin, run_recipes
from clinquant.lab.quantize.weights import weight_grid
from clinquant.lab.run import Run, Silent


@dataclass(frozen=True)
class OneScale:
    """One scale a layer: every channel gets the scale that changes the whole layer's weights least."""

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """`model` with weight grids a layer."""
        return replace(model, weights={name: shared(model, name, grid) for name, grid in model.weights.items()})


def shared(model: Model, name: str, grid: QParams) -> QParams:
    """The grid of a layer with one scale."""
    weight = model.network[name].params["weight"]
    found = weight_grid(weight.reshape(1, -1), None, np.float32(1.0), grid.spec).scale
    return replace(grid, scale=np.full_like(grid.scale, found[0]))


WAYS: dict[str, tuple[Pass, ...]] = {
    **RECIPES,
    "mse, a scale a layer": (*RECIPES["mse"], OneScale()),
}
BITS: dict[str, tuple[str, ...]] = {
    "w8a8": ("minmax", "percentile", "mse", "entropy", "mse, a scale a layer", "bias_correction", "gptq"),
    "w4a8": ("mse", "mse, a scale a layer", "bias_correction", "equalize", "gptq", "adaround"),
    "w4a4": ("minmax", "mse", "gptq", "adaround", "qdrop"),
    "w2a8": ("mse", "gptq", "adaround"),
    "w2a2": ("mse", "gptq", "qdrop"),
}
ACTIVATIONS = ("relu", "silu", "hard_swish")
OF_ACTIVATIONS = (
    ("w8a8", "minmax"),
    ("w8a8", "mse"),
    ("w8a8", "gptq"),
    ("w4a8", "mse"),
    ("w4a8", "gptq"),
    ("w4a4", "mse"),
    ("w4a4", "gptq"),
)
SLOW = ("qdrop",)
"""Ways that are left for the end."""
KEY = ("set", "arch", "seed", "bits", "way")


def answers(case: Case, bits: str, way: str) -> Path:
    """The exported file."""
    calibration = Calibration(pixels=case.pixels(case.split.calibration), preprocess=case.classifier.card.preprocess)
    model = run_recipes(begin(case.classifier, bits), calibration, {way: WAYS[way]})[way]
    return export_integer(lower(model.quantized(way)), case.folder / f"{bits}-{way.replace(' ', '-')}.onnx")


def add(rows: Rows, case: Case, bits: str, way: str) -> None:
    """Makes a row unless it stands."""
    row = {"set": case.name, "arch": case.arch, "seed": case.seed, "bits": bits, "way": way}
    if row in rows:
        return
    case.folder.mkdir(parents=True, exist_ok=True)
    logits = [case.answers(file, case.split.test) for file in (case.float_file, answers(case, bits, way))]
    tables = [case.predictions(found, "onnxruntime") for found in logits]
    rows.add(row | {"divergence": round(divergence(*logits), 6)} | paired(*tables))


def trained(data: Path, runs: Path, name: str, arch: str, seed: int) -> None:
    """Trains a network that no other benchmark needs."""
    run, options = Run(run_directory(runs, name, arch, seed), Silent()), replace(options_of(data, name, arch, seed), size=28)
    with run.locked():
        prepare(run, options)
        run_train(run, options)


def main() -> None:
    """Makes the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--runs", "--work", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    asked = parser.parse_args()
    rows = Rows(asked.out, KEY)
    places = (asked.runs, asked.work)
    for slow in (False, True):
        for seed in asked.seeds:
            for name in SMALL:
                for bits, way in ((bits, way) for bits, ways in BITS.items() for way in ways if (way in SLOW) == slow):
                    add(rows, Case(name, "resnet20", seed, *places), bits, way)
            for activation in () if slow else ACTIVATIONS:
                arch = f"benchmarks.activations:{activation}"
                trained(asked.data, asked.runs, SMALL[0], arch, seed)
                for bits, way in OF_ACTIVATIONS:
                    add(rows, Case(SMALL[0], arch, seed, *places), bits, way)


if __name__ == "__main__":
    main()
