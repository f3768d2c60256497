"""Float baselines on real images, trained once, for the benchmarks that quantize them.

    python benchmarks/floats.py --data ../shared/data --runs runs

Each is `clinquant build` up to training, in `RUNS/SET-ARCH-SEED`; what stands there is kept, so it can be cut off at any time. No test
image is read.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from clinquant.lab.build import prepare, run_train
from clinquant.lab.options import BuildOptions
from clinquant.lab.run import Run, Silent

GROUPS = {"kermany_cxr_224": "splits_by_patient.csv", "bccd_cells_96": "splits_by_slide_image.csv"}
SMALL = ("pneumoniamnist_rebuilt", "retinamnist", "breastmnist")
LARGE = ("kermany_cxr_224", "brain_mri4_224", "bccd_cells_96")


def options_of(data: Path, name: str, arch: str, seed: int) -> BuildOptions:
    """How the set `name` is read and trained on."""
    if name in SMALL:
        return BuildOptions(data=str(data / "medmnist" / f"{name}.npz"), arch=arch, seed=seed)
    groups = str(data / name / GROUPS[name]) if name in GROUPS else None
    return BuildOptions(data=str(data / name), groups=groups, arch=arch, seed=seed)


def baselines(seeds: int) -> list[tuple[str, str, int]]:
    """(set, architecture, seed), the quick ones first."""
    small = [(name, arch, seed) for arch in ("resnet20", "resnet18_28") for seed in range(seeds) for name in SMALL]
    return small + [(name, arch, 0) for arch in ("efficientnet_lite0", "resnet18") for name in LARGE]


def run_directory(runs: Path, name: str, arch: str, seed: int) -> Path:
    """Where a baseline stands."""
    return runs / f"{name}-{arch}-{seed}"


def main() -> None:
    """Trains what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    for name, arch, seed in baselines(asked.seeds):
        began, options = time.monotonic(), options_of(asked.data, name, arch, seed)
        run = Run(run_directory(asked.runs, name, arch, seed), Silent())
        with run.locked():
            prepare(run, options)
            run_train(run, options)
        print(f"{name} {arch} seed {seed}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
