"""Fewer bits on real images: rounding after training against quantization-aware training, a row a build.

    python benchmarks/low_bits.py --data ../shared/data --runs runs --out benchmarks/results/low_bits.csv --seeds 3

ResNet-20 at 28 px. The CSV is the resume key: a row that stands in it is not made again. The test set is read once for every row; nothing
is chosen by it.
"""

from __future__ import annotations

import argparse
import csv
import io
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from clinquant import __version__
from clinquant.core.artifact import write_text
from clinquant.core.predictions import Predictions
from clinquant.evidence.evidence import Evidence
from clinquant.evidence.metrics import macro_auc
from clinquant.lab.build import build
from clinquant.lab.options import BuildOptions
from clinquant.lab.run import Silent

SETS = ("pneumoniamnist_rebuilt", "retinamnist", "breastmnist")
WAYS = (
    ("w8a8", "auto"),
    ("w4a8", "mse"),
    ("w4a4", "mse"),
    ("w2a2", "mse"),
    ("w4a4", "lsq"),
    ("w2a2", "lsq"),
    ("w4a4", "pact"),
    ("w2a2", "pact"),
)
KEY = ("set", "seed", "bits", "recipe")


def row(key: tuple[str, ...], evidence: Evidence, run: Path) -> dict[str, Any]:
    """One build's figures, of the exported files on the locked test set."""
    found: dict[str, Any] = dict(zip(KEY, key, strict=True)) | {"used": evidence.model["recipe"], "verdict": evidence.verdict.value}
    for file in ("float", "integer"):
        table = Predictions.read(run / f"predictions/test.{file}.csv")
        auc = macro_auc(table.scores, table.labels)
        found |= {f"{file}_auc": auc and round(auc, 5), f"{file}_accuracy": round(float((table.decisions == table.labels).mean()), 5)}
    for finding in evidence.findings:
        if finding.metric in ("auc", "accuracy") and finding.lower is not None and finding.upper is not None:
            found |= {f"{finding.metric}_lower": round(finding.lower, 5), f"{finding.metric}_upper": round(finding.upper, 5)}
    times, sizes = evidence.latency, evidence.files
    return found | {
        "agreement": round(evidence.agreement, 5),
        "bytes_ratio": round(sizes["integer"].bytes / sizes["float"].bytes, 4),
        "latency_ratio": round(times["integer"].median_ms / times["float"].median_ms, 3),
        "test_images": evidence.test.images,
        "test_reads": evidence.test.reads,
        "runtime": evidence.runtime,
        "machine": evidence.machine,
        "clinquant": __version__,
    }


def main() -> None:
    """Builds and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="*", default=SETS)
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if asked.out.exists():
        rows = list(csv.DictReader(line for line in asked.out.read_text(encoding="utf-8").splitlines() if not line.startswith("#")))
    done = {tuple(str(found[name]) for name in KEY) for found in rows}
    for seed in range(asked.seeds):
        for name in asked.sets:
            run = asked.runs / f"{name}-resnet20-{seed}"
            options = BuildOptions(data=str(asked.data / "medmnist" / f"{name}.npz"), arch="resnet20", seed=seed)
            for bits, recipe in WAYS:
                key = (name, str(seed), bits, recipe)
                if key in done:
                    continue
                rows.append(row(key, build(replace(options, bits=bits, recipe=recipe), run, Silent()), run))
                text = io.StringIO()
                text.write(f"# python {shlex.join(sys.argv)}\n")
                writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
                write_text(asked.out, text.getvalue())
                print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
