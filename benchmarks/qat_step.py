"""Time of a training step with and without quantizers: forward, backward and AdamW, in one process, interleaved.

On a quiet machine:

    python -m benchmarks.qat_step --out benchmarks/results/qat_step.csv

Random weights and images: time does not depend on them. `float32` and `bfloat16` train the zoo's own module without quantizers, channels
last; `torch` and `fused` its fake-quantized network in bfloat16, in plain torch and with the compiled kernels; `settled` the network as
deployed, which computes in float32 and learns in bfloat16. Ratios are those of steps of the same round; a row gives their median and range.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import torch
from benchmarks.rows import Rows
from torch import nn

from clinquant.core.card import Card
from clinquant.core.preprocess import Preprocess
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.classifier import Classifier
from clinquant.lab.fit import Run, reproducible
from clinquant.lab.guide import Guide
from clinquant.lab.plan import TrainingPlan
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.fused.build import library
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.qat import FakeQuantized
from clinquant.lab.quantize.recipes import begin, named_recipes, run_recipes
from clinquant.lab.quantize.settled import Settled
from clinquant.lab.quantize.trace.trace import trace

NETWORKS = {"resnet18_28": (28, 64), "mobilenet_v2": (224, 16)}
"""Architecture -> (side, batch)."""
WARM = 2
"""Rounds that are not counted."""
WAYS = {"float32": "float32", "bfloat16": "bfloat16", "torch": "bfloat16", "fused": "bfloat16", "settled": "bfloat16"}
"""Way -> precision."""


def lived_in(name: str, preprocess: Preprocess, pixels: np.ndarray) -> Classifier:
    """A classifier with random weights whose batch norms have seen images."""
    torch.manual_seed(0)
    module = ARCHITECTURES[name].build(2).train()
    with torch.no_grad():
        module(normalised(pixels[:8], preprocess))
    card = Card(architecture=name, classes=("a", "b"), positive=1, preprocess=preprocess)
    return Classifier(module=module.eval(), card=card)


def module_of(way: str, classifier: Classifier, start: Model) -> nn.Module:
    """What a way trains."""
    if way in ("float32", "bfloat16"):
        return copy.deepcopy(classifier.module)
    if way == "settled":
        return Settled(start)
    module = FakeQuantized(trace(classifier.module), start, "lsq")
    if way == "torch":
        module.fused = None
    return module


def step_of(module: nn.Module, plan: TrainingPlan, pixels: np.ndarray, folder: Path) -> Callable[[], float]:
    """One step as `fit` takes it, augmentation and averaging apart; it returns its seconds."""
    run = Run(module.train(), plan, len(pixels), "", folder, Guide())
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    labels = np.arange(len(pixels)) % 2

    def step() -> float:
        begun = time.perf_counter()
        loss = run.loss(run.forward(run.module, images), labels, smoothing=0.05)
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        return time.perf_counter() - begun

    return step


def measure(name: str, bits: str, threads: int, rounds: int, folder: Path, ways: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Way -> seconds [rounds], the ways taking turns at going first."""
    side, batch = NETWORKS[name]
    preprocess = ARCHITECTURES[name].preprocess(side)
    pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
    classifier = lived_in(name, preprocess, pixels)
    images = Calibration(pixels=pixels[:4], preprocess=preprocess)
    start = run_recipes(begin(classifier, bits), images, named_recipes(("mse",)))["mse"]
    steps = {}
    for way in ways:
        plan = TrainingPlan(
            classes=2, class_weights=(1.0, 1.0), preprocess=preprocess, epochs=1, batch=batch, rate=1e-4, patience=1,
            precision=WAYS[way], threads=threads,
        )  # fmt: skip
        steps[way] = step_of(module_of(way, classifier, start), plan, pixels, folder)
    times: dict[str, list[float]] = {way: [] for way in ways}
    with reproducible(plan):
        for number in range(-WARM, rounds):
            for turn in range(len(ways)):
                way = ways[(turn + number) % len(ways)]
                seconds = steps[way]()
                if number >= 0:
                    times[way].append(seconds)
    return {way: np.array(seconds) for way, seconds in times.items()}


def row(name: str, bits: str, threads: int, times: dict[str, np.ndarray]) -> dict[str, object]:
    """Milliseconds and paired ratios."""
    side, batch = NETWORKS[name]
    found: dict[str, object] = {"architecture": name, "side": side, "batch": batch, "bits": bits, "threads": threads}
    for way, seconds in times.items():
        found |= {f"{way}_ms": round(float(np.median(seconds)) * 1e3, 1), f"{way}_min": round(float(seconds.min()) * 1e3, 1)}
    for over, under in (("bfloat16", "float32"), *product(("torch", "fused", "settled"), ("float32", "bfloat16"))):
        if over in times and under in times:
            ratios = times[over] / times[under]
            label = f"{over}/{under}"
            found |= {label: round(float(np.median(ratios)), 3), f"{label} min": round(float(ratios.min()), 3)}
            found |= {f"{label} max": round(float(ratios.max()), 3)}
    return found


def main() -> None:
    """Measures and writes the CSV, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--bits", default="w4a4")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    asked = parser.parse_args()
    if library() is None:
        raise SystemExit("the kernels are not available: a C++ compiler is needed")
    rows = Rows(asked.out, ("architecture", "threads", "bits"))
    for name, threads in product(asked.networks, asked.threads):
        with tempfile.TemporaryDirectory() as folder:
            times = measure(name, asked.bits, threads, asked.rounds, Path(folder), tuple(asked.ways))
        found = row(name, asked.bits, threads, times) | {"rounds": asked.rounds}
        rows.add(found | {"torch_version": torch.__version__})


if __name__ == "__main__":
    main()
