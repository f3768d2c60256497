"""Fewer bits on real images: rounding after training against quantization-aware training, and float given the same extra epochs.

    python -m benchmarks.low_bits --data ../shared/data --runs runs --work work --out benchmarks/results/low_bits.csv

On the baselines of `benchmarks/floats.py`. Every figure is of an exported file on the locked test set, in ONNX Runtime; nothing is chosen
by it. The CSV is the resume key: a row that stands in it is not made again.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.floats import SMALL
from benchmarks.peers.case import Case
from benchmarks.rows import Rows, paired

from clinquant.data.split import choosing_half
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.fit import fit
from clinquant.lab.mixed import TunedOn, mix
from clinquant.lab.options import BuildOptions
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.guidance import Learning
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.passes import FineTune
from clinquant.lab.quantize.passes.fine_tune import plan_learning
from clinquant.lab.quantize.recipes import RECIPES, before_training, begin, run_recipes
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.quantize.widths import MIXED

KEY = ("set", "arch", "seed", "bits", "recipe")
WAYS = (
    ("float", "more epochs"),
    ("w8a8", "mse"),
    ("w4a8", "mse"),
    ("w4a4", "mse"),
    ("w2a2", "mse"),
    ("w4a4", "lsq"),
    ("w2a2", "lsq"),
    ("w42", "lsq"),
)
"""Bits and recipes, in the order they are made."""


def float_on(case: Case, file: Path) -> Path:
    """The control: the float network trained on for the epochs that quantization-aware training has."""
    classifier, (train, tune) = case.classifier, (case.labelled(ids) for ids in (case.split.train, case.split.tune))
    plan = plan_learning(train[1], len(classifier.card.classes), classifier.card.preprocess, case.seed, Learning())
    module = case.module
    module.load_state_dict(fit(module, train, tune, plan, file.with_suffix("")).state)
    return export_float(fold_batch_norm(trace(module.cpu().eval())), classifier.card.preprocess, file)


def begun(case: Case, bits: str, calibration: Calibration) -> Model:
    """The float network with its widths, mixed ones measured on tune."""
    model = begin(case.classifier, bits)
    if bits not in MIXED:
        return model
    pixels, labels = case.labelled(choosing_half(case.split))
    tuned_on = TunedOn(pixels=pixels, labels=labels, logits=case.float_tune)
    asked = BuildOptions(data="", bits=bits)
    return replace(model, widths=mix(model, calibration, tuned_on, asked, case.folder / bits, "benchmark", lambda done, of: None).widths)


def made(case: Case, bits: str, recipe: str, file: Path) -> Path:
    """The exported file of one way."""
    if bits == "float":
        return float_on(case, file)
    calibration = Calibration(pixels=case.pixels(case.split.calibration), preprocess=case.classifier.card.preprocess)
    passes = RECIPES.get(recipe)
    if passes is None:
        train, tune = (case.labelled(ids) for ids in (case.split.train, case.split.tune))
        fine_tune = FineTune(train=train, tune=tune, folder=file.with_suffix(""), method=recipe, seed=case.seed)
        passes = (*before_training(recipe), fine_tune)
    model = run_recipes(begun(case, bits, calibration), calibration, {recipe: passes})[recipe]
    return export_integer(lower(model.quantized(recipe)), file)


def main() -> None:
    """Makes the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--runs", "--work", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--archs", nargs="*", default=["resnet20"])
    parser.add_argument("--sets", nargs="*", default=SMALL)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--ways", nargs="*", default=[f"{bits}:{recipe}" for bits, recipe in WAYS], help="as w4a4:lsq")
    asked = parser.parse_args()
    rows = Rows(asked.out, KEY)
    for seed in asked.seeds:
        for arch in asked.archs:
            for name in asked.sets:
                case = Case(name, arch, seed, asked.runs, asked.work)
                for bits, recipe in (way.split(":") for way in asked.ways):
                    row = {"set": name, "arch": arch, "seed": seed, "bits": bits, "recipe": recipe}
                    if row in rows:
                        continue
                    file, began = case.folder / f"{bits}-{recipe.replace(' ', '-')}.onnx", time.monotonic()
                    case.folder.mkdir(parents=True, exist_ok=True)
                    path = made(case, bits, recipe, file)
                    seconds, ids = time.monotonic() - began, case.split.test
                    tables = [case.predictions(case.answers(found, ids), "onnxruntime") for found in (case.float_file, path)]
                    sizes = [found.stat().st_size for found in (path, case.float_file)]
                    facts = {"bytes_ratio": round(sizes[0] / sizes[1], 4), "seconds": round(seconds, 1), "test_images": len(ids)}
                    rows.add(row | paired(*tables) | facts)


if __name__ == "__main__":
    main()
