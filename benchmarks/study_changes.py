"""Adds to rows of the study how insertion, deletion and sparsity changed against the float network, from the maps that it kept.

    python -m benchmarks.study_changes --study STUDY

Rows made since have these columns of their own; the first ones were made before them.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np
from benchmarks.study_page import ROWS

from clinquant.core.artifact import read_json, write_text
from clinquant.data.split import Split
from clinquant.evidence.fidelity import Units
from clinquant.lab.study.ways import WAYS

METRICS = ("deletion", "gini", "insertion")


def changes(cell: Path, row: dict[str, str], method: str) -> dict[str, float]:
    """The columns of one row and method; a guided quantized network is measured from the guided float one, as in the row."""
    began = "sgt" if WAYS[row["way"]].guided and WAYS[row["way"]].recipe else "float"
    split = read_json(cell / "float" / "split.json", Split, kind="split")
    count = int(row["explained_images"])
    rows = np.unique(np.linspace(0, len(split.test) - 1, min(count, len(split.test))).astype(np.int64))
    names, of_case = np.unique([split.units.get(split.test[at], split.test[at]) for at in rows], return_inverse=True)
    before, after = (np.load(cell / place / f"{method}.npz") for place in (f"{began}-float", f"{row['way']}-{row['bits']}"))
    units = Units(count=len(names), of_case=of_case)
    found = units.means([after[metric] - before[metric] for metric in METRICS])
    ends = ("", "value"), ("_lower", "lower"), ("_upper", "upper")
    return {
        f"{method}_{metric}_change{end}": round(getattr(estimate, name), 5)
        for metric, estimate in zip(METRICS, found, strict=True)
        for end, name in ends
    }


def main() -> None:
    """Fills the columns of every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True)
    asked = parser.parse_args()
    lines = ROWS.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    for row in rows:
        cell = asked.study / "cells" / f"{row['set']}-{row['arch']}-{row['seed']}"
        for method in ("class_map", "gradient"):
            row |= {name: str(value) for name, value in changes(cell, row, method).items()}
    text = io.StringIO()
    text.write(lines[0] + "\n")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_text(ROWS, text.getvalue())


if __name__ == "__main__":
    main()
