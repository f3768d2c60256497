"""What benchmarks have in common: a table that can be cut off at any time, and two files compared on the same cases."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clinquant.core.predictions import Predictions
from clinquant.evidence.claims import Claim, Role
from clinquant.evidence.compare import compare
from clinquant.evidence.metrics import macro_auc
from clinquant.lab.study.table import Table


class Rows(Table):
    """The rows of a benchmark: each is printed as it is added, and the file names the command behind it.

    Args:
        path: of the file.
        key: the columns that name a row.
    """

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        program = Path(sys.argv[0])
        name = program.parent.name if program.stem == "__main__" else program.stem
        words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
        super().__init__(path, key, f"python -m benchmarks.{name} {shlex.join(words)}")

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row, writes the file and prints the row."""
        super().add(row)
        print({name: value for name, value in row.items() if value != ""}, flush=True)


def paired(baseline: Predictions, candidate: Predictions, unit: str = "patient") -> dict[str, Any]:
    """AUC and accuracy at the highest score of both, their differences with 95% intervals by unit, and the share of equal decisions."""
    claims = [Claim(metric=metric, class_name=None, role=Role.PRIMARY, margin=0.02, confidence=0.95) for metric in ("auc", "accuracy")]
    found: dict[str, Any] = {}
    for name, table in (("float", baseline), ("", candidate)):
        prefix = f"{name}_" if name else ""
        auc = macro_auc(table.scores, table.labels)
        found |= {f"{prefix}auc": "" if auc is None else round(auc, 5)}
        found |= {f"{prefix}accuracy": round(float((table.scores.argmax(axis=1) == table.labels).mean()), 5)}
    found["agreement"] = round(float((baseline.scores.argmax(axis=1) == candidate.scores.argmax(axis=1)).mean()), 5)
    for finding in compare(baseline, candidate, claims, unit_name=unit):
        ends = (finding.lower, finding.upper)
        found |= {
            f"{finding.metric}_{end}": "" if value is None or not np.isfinite(value) else round(value, 5)
            for end, value in zip(("lower", "upper"), ends, strict=True)
        }
        found[f"{finding.metric}_verdict"] = finding.verdict.value
    return found
