"""Time and memory of all evidence that follows from predictions, on a large test set of patients with several images.

    python -m benchmarks.evidence_size --cases 100000 --classes 5

Every finding (2,000 bootstraps by patient), reliability with intervals, churn, prediction sets, referral and subgroups, in one process;
processor seconds, seconds by the clock (on a machine with other work), and the largest resident memory of the process, in
`benchmarks/results/evidence_size.csv`.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from benchmarks.rows import Rows

from clinquant.core.predictions import Predictions
from clinquant.core.sets import PredictionSets
from clinquant.evidence.claims import plan_claims
from clinquant.evidence.evidence import TestSet
from clinquant.evidence.pair import compare_pair

IMAGES_A_PATIENT = 3


def tables(cases: int, classes: int) -> tuple[Predictions, Predictions]:
    """A float file that is right in most cases, and the same with a little noise."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, cases)
    scores = random.normal(0, 1, (cases, classes)) + 2.0 * np.eye(classes)[labels]
    ids = tuple(f"{i:07d}" for i in range(cases))
    groups = tuple(f"{i // IMAGES_A_PATIENT:07d}" for i in range(cases))
    names = tuple(f"class {k}" for k in range(classes))
    before, after = (
        Predictions(ids=ids, groups=groups, labels=labels, scores=each.astype(np.float32), classes=names, model_sha256="", runtime="made")
        for each in (scores, scores + random.normal(0, 0.1, scores.shape))
    )
    return before, after


def main() -> None:
    """Adds the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/evidence_size.csv"))
    asked = parser.parse_args()
    before, after = tables(asked.cases, asked.classes)
    units = len(set(before.groups))
    test = TestSet(name="made", sha256="", images=asked.cases, units=units, unit="patient", images_by_class={}, reads=1)
    claims = plan_claims(before.classes, None, dict.fromkeys(before.classes, units), 0.02)
    bounds = (0.2,) * asked.classes
    sets = [PredictionSets(rule=rule, coverage=0.95, at_least=bounds, cases=100) for rule in ("lac", "classwise")]
    sets.append(PredictionSets(rule="aps", coverage=0.95, at_least=(0.9,), cases=100))
    sex = {case: "FM"[int(case) % 2] for case in before.ids}
    wall, processor = time.perf_counter(), time.process_time()
    pair = compare_pair(
        before, after, claims, test=test, sets={"float": sets, "integer": sets}, covariates={"sex": sex}, refer_below=(0.5, 0.5)
    )
    Rows(asked.out, ("cases", "classes")).add(
        {
            "cases": asked.cases,
            "classes": asked.classes,
            "patients": units,
            "bootstraps": 2000,
            "findings": len(pair.findings),
            "processor_s": round(time.process_time() - processor, 1),
            "wall_s": round(time.perf_counter() - wall, 1),
            "memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        }
    )


if __name__ == "__main__":
    main()
