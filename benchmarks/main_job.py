"""The main job on real images: builds each set, and writes down what its evidence says, a row a build.

    python -m benchmarks.main_job --data ../shared/data --runs runs --out benchmarks/results/main_job.csv

Builds are resumed where they stand in `--runs`; rows are written as builds finish, so the table can be cut off at any time. `seconds`
is of this call, and so of the whole build only where nothing stood there before.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.rows import Rows

from clinquant.core.predictions import Predictions
from clinquant.evidence.claims import Finding
from clinquant.evidence.evidence import Evidence
from clinquant.evidence.metrics import macro_auc
from clinquant.lab.build import build
from clinquant.lab.options import BuildOptions
from clinquant.lab.run import Silent


def builds(data: Path, runs: Path) -> dict[str, BuildOptions]:
    """Name -> what is built, in order: the tablet's network learns from another build."""
    medmnist, chests = data / "medmnist", data / "kermany_cxr_224"
    found = {"pneumoniamnist": BuildOptions(data=str(medmnist / "pneumoniamnist_rebuilt.npz"))}
    found |= {f"breastmnist seed {seed}": BuildOptions(data=str(medmnist / "breastmnist.npz"), seed=seed) for seed in range(3)}
    found["kermany_cxr_224"] = BuildOptions(data=str(chests), groups=str(chests / "splits_by_patient.csv"))
    large = run_directory(runs, "kermany_cxr_224")
    found["kermany_cxr_224 for tablets"] = replace(found["kermany_cxr_224"], arch="resnet18_half", teacher=str(large), epochs=4)
    found["br35h"] = BuildOptions(data="demo")
    return found


def run_directory(runs: Path, name: str) -> Path:
    """Where a build stands."""
    return runs / name.replace(" ", "-")


def row(name: str, evidence: Evidence, run: Path) -> dict[str, Any]:
    """One build's figures; every score is of the exported files on the locked test set."""
    tables = {file: Predictions.read(run / f"predictions/test.{file}.csv") for file in ("float", "integer")}
    found: dict[str, Any] = {"set": name, "architecture": evidence.model["architecture"], "recipe": evidence.model["recipe"]}
    found |= {
        "test_images": evidence.test.images,
        "units": evidence.test.units,
        "unit": evidence.test.unit,
        "verdict": evidence.verdict.value,
    }
    for file, table in tables.items():
        auc = macro_auc(table.scores, table.labels)
        found |= {f"{file}_auc": auc and round(auc, 5), f"{file}_accuracy": round(float((table.decisions == table.labels).mean()), 5)}
    for metric, threshold in (("auc", None), ("accuracy", None), ("sensitivity", "own"), ("specificity", "own")):
        found |= _claim(next((f for f in evidence.findings if (f.metric, f.threshold) == (metric, threshold)), None), metric)
    times, sizes = evidence.latency, evidence.files
    found |= {
        "agreement": round(evidence.agreement, 5),
        "flips": len(evidence.flips),
        "latency_ratio": round(times["integer"].median_ms / times["float"].median_ms, 3),
        "integer_ms": round(times["integer"].median_ms, 3),
        "bytes_ratio": round(sizes["integer"].bytes / sizes["float"].bytes, 4),
        "ece_float": round(evidence.reliability["float"].ece, 4),
        "ece_integer": round(evidence.reliability["integer"].ece, 4),
        "test_reads": evidence.test.reads,
        "runtime": evidence.runtime,
    }
    return found


def _claim(finding: Finding | None, metric: str) -> dict[str, Any]:
    if finding is None:
        return dict.fromkeys((f"{metric}_verdict", f"{metric}_lower", f"{metric}_upper", f"{metric}_needed"))
    ends = {
        f"{metric}_{end}": None if value is None else round(value, 5) for end, value in (("lower", finding.lower), ("upper", finding.upper))
    }
    return {f"{metric}_verdict": f"{finding.verdict.value} ({finding.role.value})", **ends, f"{metric}_needed": finding.needed}


def main() -> None:
    """Builds and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of builds; default all")
    asked = parser.parse_args()
    rows = Rows(asked.out, ("set", "architecture"))
    for name, options in builds(asked.data, asked.runs).items():
        if asked.only and name not in asked.only:
            continue
        run, start = run_directory(asked.runs, name), time.perf_counter()
        evidence = build(options, run, Silent())
        rows.add(row(name, evidence, run) | {"seconds": round(time.perf_counter() - start)})


if __name__ == "__main__":
    main()
