"""What calibration costs: seconds against plain float passes over the same images, and memory against their number.

    python -m benchmarks.calibration --out benchmarks/results/calibration.csv

Random weights and noise: neither time nor memory depends on them. Each row of memory is measured in a process of its own: the highest
resident memory after calibrating on 16 images, and what more was needed for the rest. Pixels (which grow) are held before.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
from benchmarks.rows import Rows

ARCHITECTURES = {"resnet20": 28, "resnet18_28": 28, "efficientnet_lite0": 224}
COUNTS = (64, 512, 2048)
REPEATS = 5
TIMED = 512


def prepared(arch: str, images: int):  # type: ignore[no-untyped-def]
    """(folded model, calibration of `images`)."""
    import torch

    from clinquant.core.card import Card
    from clinquant.core.preprocess import Preprocess
    from clinquant.lab.architectures import find_architecture
    from clinquant.lab.classifier import Classifier
    from clinquant.lab.quantize.model import Calibration
    from clinquant.lab.quantize.passes import FoldBatchNorm
    from clinquant.lab.quantize.recipes import begin

    torch.manual_seed(0)
    preprocess = Preprocess(size=ARCHITECTURES[arch])
    card = Card(architecture=arch, classes=("a", "b"), positive=1, preprocess=preprocess)
    pixels = np.random.default_rng(0).integers(0, 256, (images, preprocess.size, preprocess.size, 3), dtype=np.uint8)
    calibration = Calibration(pixels=pixels, preprocess=preprocess)
    model = begin(Classifier(module=find_architecture(arch).build(2).eval(), card=card), "w8a8")
    return FoldBatchNorm()(model, calibration), calibration


def seconds(arch: str, images: int) -> tuple[float, float]:
    """Median seconds of a plain float pass and of `Calibrate`, in turn in this process, in the same batches."""
    from clinquant.lab.quantize.execute import Executor
    from clinquant.lab.quantize.passes import Calibrate

    model, calibration = prepared(arch, images)
    calibrate, execute = Calibrate(), Executor(model.network)
    plain, whole = [], []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for batch in calibration.batches(calibrate.batch_of(calibration.preprocess.size)):
            execute(batch)
        between = time.perf_counter()
        calibrate(model, calibration)
        plain.append(between - began)
        whole.append(time.perf_counter() - between)
    return statistics.median(plain), statistics.median(whole)


def memory(arch: str, images: int) -> tuple[float, float]:
    """(peak, growth since 16 images) of resident memory, MiB; for a process that has done nothing else."""
    from dataclasses import replace

    from clinquant.lab.quantize.passes import Calibrate

    model, calibration = prepared(arch, images)
    Calibrate()(model, replace(calibration, pixels=calibration.pixels[:16]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Calibrate()(model, calibration)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return after, after - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arch", nargs="*", choices=sorted(ARCHITECTURES), default=sorted(ARCHITECTURES))
    parser.add_argument("--memory", nargs=2, metavar=("ARCH", "IMAGES"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.memory:
        print(*memory(asked.memory[0], int(asked.memory[1])))
        return
    import torch

    rows = Rows(asked.out, ("arch", "images"))
    for arch, images in product(asked.arch, COUNTS):
        command = [sys.executable, "-m", "benchmarks.calibration", "--out", str(asked.out), "--memory", arch, str(images)]
        peak, growth = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        row = {"arch": arch, "size": ARCHITECTURES[arch], "images": images, "peak_mib": f"{peak:.0f}", "growth_mib": f"{growth:.1f}"}
        if images == TIMED:
            plain, whole = seconds(arch, images)
            row |= {"float_s": f"{plain:.2f}", "calibrate_s": f"{whole:.2f}", "ratio": f"{whole / plain:.2f}"}
        rows.add(row | {"threads": torch.get_num_threads(), "torch": torch.__version__})


if __name__ == "__main__":
    main()
