"""A training run of a second, for tests: ResNet-20 on noise with and without a bright spot.

Run as a program (`small_training.py FOLDER`) it is the kill test's harness: it forks runs of itself, kills them, and prints
what became of them. Forking after the imports, in a process that has not computed yet, starts a run in milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.torch import save

from clinquant.core.preprocess import Preprocess
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.checkpoint import read_checkpoint
from clinquant.lab.fit import Fitted, fit
from clinquant.lab.plan import TrainingPlan
from clinquant.lab.train import initial_module

Set = tuple[np.ndarray, np.ndarray]


def spots(n: int, seed: int, side: int = 16) -> Set:
    """Images of noise; a bright spot somewhere is the second class."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (n, side, side, 3), dtype=np.uint8)
    labels = np.arange(n) % 2
    for image in np.flatnonzero(labels):
        row, column = rng.integers(2, side - 6, 2)
        pixels[image, row : row + 4, column : column + 4] = 230
    return pixels, labels.astype(np.int64)


def small_plan(epochs: int = 3, **changes: object) -> TrainingPlan:
    plan = {
        "classes": 2,
        "class_weights": (1.0, 1.0),
        "preprocess": Preprocess(size=16),
        "epochs": epochs,
        "batch": 16,
        "rate": 3e-3,
        "patience": epochs,
        "checkpoint_steps": 3,
        "threads": 1,
    }
    return TrainingPlan(**(plan | changes))  # type: ignore[arg-type]


def run(folder: Path, plan: TrainingPlan, n: int = 96) -> Fitted:
    module, _ = initial_module(ARCHITECTURES["resnet20"], 2, "random", plan.seed)
    return fit(module, spots(n, 1), spots(32, 2), plan, folder)


def digest(fitted: Fitted) -> str:
    return hashlib.sha256(save(fitted.state)).hexdigest()


def killed(folder: Path, kills: int, plan: TrainingPlan) -> dict[str, object]:
    """Digests of the unbroken run and of every run that was killed on its way, `kills` in all, and how many had a checkpoint."""
    start = time.perf_counter()
    os.waitpid(_fork(folder / "unbroken", plan), 0)
    duration, moments = time.perf_counter() - start, random.Random(0)
    done, resumable, runs = 0, 0, 0
    while done < kills:
        at = folder / f"run{runs}"
        child = _fork(at, plan)
        if _kill(child, after=moments.uniform(0, duration)):
            done, resumable = done + 1, resumable + (read_checkpoint(at) is not None)
        else:
            runs += 1
    os.waitpid(_fork(folder / f"run{runs}", plan), 0)
    results = [(folder / f"run{index}" / "result").read_text() for index in range(runs + 1)]
    return {"unbroken": (folder / "unbroken" / "result").read_text(), "killed": results, "resumable": resumable, "seconds": duration}


def _kill(child: int, *, after: float) -> bool:
    """Whether the kill came before the run's own end."""
    deadline = time.perf_counter() + after
    while time.perf_counter() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _fork(folder: Path, plan: TrainingPlan) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    if child := os.fork():
        return child
    (folder / "result").write_text(digest(run(folder, plan)))
    os._exit(0)


if __name__ == "__main__":
    print(json.dumps(killed(Path(sys.argv[1]), 20, small_plan(epochs=4, precision="bfloat16", checkpoint_steps=2))))
