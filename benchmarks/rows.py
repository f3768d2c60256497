"""A table of results that can be cut off at any time: its rows are the resume key."""

from __future__ import annotations

import csv
import io
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clinquant import __version__
from clinquant.core.artifact import write_text
from clinquant.core.predictions import Predictions
from clinquant.edge.machine import machine
from clinquant.evidence.claims import Claim, Role
from clinquant.evidence.compare import compare
from clinquant.evidence.metrics import macro_auc


class Rows:
    """The rows of a CSV file, written anew after every one.

    Args:
        path: of the file; comment lines begin with #.
        key: the columns that name a row.
    """

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        self.path, self.key = path, key
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))

    def __contains__(self, row: Mapping[str, Any]) -> bool:
        return any(all(str(known[name]) == str(row[name]) for name in self.key) for known in self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row and writes the file."""
        self.rows.append(dict(row) | {"machine": f"{machine()}", "python": platform.python_version(), "clinquant": __version__})
        columns = list(dict.fromkeys(name for known in self.rows for name in known))
        text = io.StringIO()
        text.write(f"# python -m benchmarks.{Path(sys.argv[0]).stem} {shlex.join(sys.argv[1:])}\n")
        writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())
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
