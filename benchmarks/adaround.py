"""What AdaRound costs and gains, layer by layer, and what ten times the iterations would have gained.

    python -m benchmarks.adaround --runs runs --work work --out benchmarks/results/adaround.csv

One row a layer and one for the whole: iterations, seconds (of the wall, and of the processor over all threads), and the layer's error over
all sampled positions with nearest rounding, with the pass's defaults, and for two layers with 10,000 iterations at the paper's rate.
Learning the references is not counted in the seconds of the whole.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from benchmarks.peers.case import Case
from benchmarks.rows import Rows

from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.passes import AdaRound
from clinquant.lab.quantize.recipes import RECIPES, begin, run_recipes
from clinquant.lab.quantize.rounding import Problem, Rounded, Schedule, learn_rounding

REFERENCES = {"resnet18_28": ("layer1.1.conv1", "layer3.0.conv2"), "resnet20": ("layer1.1.conv1", "layer3.0.conv2")}
LONG = Schedule(iterations=10_000, rate=0.001)
KEY = ("set", "arch", "seed", "bits", "layer", "threads")


@dataclass
class Clock:
    """Seconds of the wall and of the processor since it was made, less what was paused."""

    wall: float = field(default_factory=time.perf_counter)
    processor: float = field(default_factory=time.process_time)

    def read(self) -> tuple[float, float]:
        """(wall, processor)."""
        return time.perf_counter() - self.wall, time.process_time() - self.processor

    def paused_since(self, begun: tuple[float, float]) -> None:
        """Takes out what passed since `begun` was read."""
        now = self.read()
        self.wall += now[0] - begun[0]
        self.processor += now[1] - begun[1]


def measure(rows: Rows, case: Case, bits: str) -> None:
    """Makes the rows of a network at a width unless they stand."""
    row = {"set": case.name, "arch": case.arch, "seed": case.seed, "bits": bits, "threads": torch.get_num_threads()}
    if row | {"layer": "all"} in rows:
        return
    calibration = Calibration(pixels=case.pixels(case.split.calibration), preprocess=case.classifier.card.preprocess)
    model = run_recipes(begin(case.classifier, bits), calibration, {"mse": RECIPES["mse"]})["mse"]
    found: list[Rounded] = []
    clock = Clock()
    since = [clock.read()]

    def watch(layer: str, problem: Problem, rounded: Rounded) -> None:
        now = clock.read()
        found.append(rounded)
        ours = {"iterations": rounded.iterations, "nearest": f"{rounded.nearest:.5g}", "loss": f"{rounded.loss:.5g}"}
        times = {"wall_s": round(now[0] - since[0][0], 2), "processor_s": round(now[1] - since[0][1], 2)}
        long = learn_rounding(problem, LONG, torch.Generator().manual_seed(0)) if layer in REFERENCES[case.arch] else None
        reference = {"loss_10000": f"{long.loss:.5g}", "iterations_10000": long.iterations} if long else {}
        rows.add(row | {"layer": layer, "weights": problem.weight.numel()} | ours | reference | times)
        clock.paused_since(now)
        since[0] = clock.read()

    AdaRound(watch=watch)(model, calibration)
    wall, processor = clock.read()
    whole = {"iterations": sum(rounded.iterations for rounded in found), "wall_s": round(wall, 1), "processor_s": round(processor, 1)}
    sums = {name: f"{sum(getattr(rounded, name) for rounded in found):.5g}" for name in ("nearest", "loss")}
    rows.add(row | {"layer": "all"} | sums | whole)


def main() -> None:
    """Makes the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--runs", "--work", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--arch", nargs="*", default=["resnet18_28"])
    parser.add_argument("--bits", nargs="*", default=["w4a8", "w4a4"])
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows = Rows(asked.out, KEY)
    for arch in asked.arch:
        for bits in asked.bits:
            measure(rows, Case("pneumoniamnist_rebuilt", arch, 0, asked.runs, asked.work), bits)


if __name__ == "__main__":
    main()
