"""Time of a training step with saliency guidance over one without: `fit`'s own step, in one process, interleaved.

    python -m benchmarks.saliency_step --out benchmarks/results/saliency_step.csv

Random weights and images: time does not depend on them. `float` trains the zoo's own module; `quantized` its fake-quantized network (LSQ at
4 bits, the float network as teacher). Both in the plan's precision and channels last, at the full k. Times are processor seconds, so that
other work on the machine counts less. A ratio is that of two steps of the same round; a row gives their median and range.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import torch
from benchmarks.qat_step import lived_in
from benchmarks.rows import Rows
from torch import nn

from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.fit import Run, reproducible
from clinquant.lab.guide import Guide
from clinquant.lab.objectives import Objective, SaliencyGuided
from clinquant.lab.plan import TrainingPlan, fastest_precision
from clinquant.lab.quantize.guidance import LearningGuide, Teacher
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.qat import FakeQuantized
from clinquant.lab.quantize.recipes import begin, named_recipes, run_recipes
from clinquant.lab.quantize.trace.trace import trace

NETWORKS = {"resnet20": (28, 64), "resnet18_28": (28, 64), "efficientnet_lite0": (224, 16)}
"""Architecture -> (side, batch)."""
WARM = 2
"""Rounds that are not counted."""


def trained(name: str, kind: str, pixels: np.ndarray) -> tuple[nn.Module, Callable[[tuple[Objective, ...]], Guide]]:
    """A network in training, and what guides it."""
    preprocess = ARCHITECTURES[name].preprocess(pixels.shape[1])
    classifier = lived_in(name, preprocess, pixels)
    if kind == "float":
        return classifier.module.train(), lambda objectives: Guide(objectives=objectives)
    images = Calibration(pixels=pixels[:4], preprocess=preprocess)
    start = run_recipes(begin(classifier, "w4a4"), images, named_recipes(("mse",)))["mse"]
    traced = trace(classifier.module)
    return FakeQuantized(traced, start, "lsq").train(), lambda objectives: LearningGuide(objectives=objectives, teacher=Teacher(traced))


def measure(name: str, kind: str, precision: str, threads: int, rounds: int) -> dict[str, np.ndarray]:
    """Way -> seconds [rounds], the ways taking turns at going first."""
    side, batch = NETWORKS[name]
    pixels, labels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8), np.arange(batch) % 2
    plan = TrainingPlan(
        classes=2, class_weights=(1.0, 1.0), preprocess=ARCHITECTURES[name].preprocess(side), epochs=1, batch=batch, rate=1e-4, patience=1,
        precision=precision, threads=threads,
    )  # fmt: skip
    module, guide = trained(name, kind, pixels)
    ways = {"plain": guide(()), "guided": guide((SaliencyGuided(ramp=0.0),))}
    times: dict[str, list[float]] = {way: [] for way in ways}
    with reproducible(plan):
        runs = {way: Run(module, plan, batch, "", Path(), each) for way, each in ways.items()}
        for number in range(-WARM, rounds):
            for way in sorted(ways, reverse=bool(number % 2)):
                module.train()
                begun = time.process_time()
                runs[way].update(pixels, labels)
                if number >= 0:
                    times[way].append(time.process_time() - begun)
    return {way: np.array(seconds) for way, seconds in times.items()}


def main() -> None:
    """Measures and writes the CSV, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--precisions", nargs="*", default=sorted({"float32", fastest_precision()}))
    asked = parser.parse_args()
    rows = Rows(asked.out, ("architecture", "kind", "precision", "threads"))
    for name, kind, precision in product(asked.networks, ("float", "quantized"), asked.precisions):
        times = measure(name, kind, precision, asked.threads, asked.rounds)
        ratios = times["guided"] / times["plain"]
        side, batch = NETWORKS[name]
        rows.add(
            {"architecture": name, "side": side, "batch": batch, "kind": kind, "precision": precision, "threads": asked.threads}
            | {f"{way}_ms": round(float(np.median(seconds)) * 1e3, 1) for way, seconds in times.items()}
            | {"ratio": round(float(np.median(ratios)), 3), "ratio_min": round(float(ratios.min()), 3)}
            | {"ratio_max": round(float(ratios.max()), 3), "rounds": asked.rounds}
            | {"torch_version": torch.__version__}
        )


if __name__ == "__main__":
    main()
