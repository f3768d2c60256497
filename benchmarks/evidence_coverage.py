"""How often intervals and prediction sets hold what they promise, by simulation.

    python -m benchmarks.evidence_coverage --repetitions 5000 --bootstraps 300

Each row of `benchmarks/results/evidence_coverage.csv` is one truth. `wanted` is what is promised, `coverage` how often the interval held
the true difference, or the set the true class; `low` and `high` are the exact 95% bounds of the simulated share. For prediction sets a
repetition is a new calibration set of 200 cases and one new case.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmarks.evidence_type1 import ACCURACY, AUC, Generator, Pair, blurred, bounds, clustered, independent, table
from benchmarks.rows import Rows

from clinquant.core.predictions import Predictions
from clinquant.evidence.claims import Claim
from clinquant.evidence.compare import compare
from clinquant.evidence.conformal import RULES, calibrate, members

DIFFERENCES: dict[str, tuple[Claim, float, Callable[[Generator], Pair]]] = {
    "accuracy, no change, 3% flip, 200 images": (ACCURACY, 0.0, independent(200, 0.03, 0.03)),
    "accuracy, -.02, 400 images": (ACCURACY, -0.02, independent(400, 0.03, 0.01)),
    "accuracy, -.10, 100 images": (ACCURACY, -0.10, independent(100, 0.15, 0.05)),
    "accuracy, -.02, 200 patients flipping whole": (ACCURACY, -0.02, clustered(200, 0.03, 0.01, 1.0)),
    "accuracy, -.02, 200 patients, half flipping whole": (ACCURACY, -0.02, clustered(200, 0.03, 0.01, 0.5)),
    "AUC .95 to .93, 200 positives of 600": (AUC, -0.02, blurred(200, 400, 0.95, 0.93)),
    "AUC .85 to .80, 60 positives of 200": (AUC, -0.05, blurred(60, 140, 0.85, 0.80)),
}
"""Name -> claim, true difference, and a draw of both files."""


def intervals(name: str, repetitions: int, bootstraps: int, seed: int) -> dict[str, str | int | float]:
    """How often the 95% interval holds the true difference."""
    claim, truth, draw = DIFFERENCES[name]
    rng, held = np.random.default_rng([seed, *name.encode()]), 0
    for _ in range(repetitions):
        (found,) = compare(*draw(rng), [claim], positive=1, bootstraps=bootstraps, seed=int(rng.integers(2**31)))
        assert found.lower is not None and found.upper is not None
        held += found.lower <= truth <= found.upper
    return _row(name, claim.confidence, repetitions, held)


def sets(rule: str, repetitions: int, seed: int) -> dict[str, str | int | float]:
    """How often the set of a new case holds its class, three classes, one of them rare, tied scores as integers give them."""
    rng, held = np.random.default_rng([seed, *rule.encode()]), 0
    for _ in range(repetitions):
        drawn = _scored(rng, 201)
        rule_found = calibrate(drawn.take(np.arange(200)), rule, 0.9)
        assert rule_found is not None
        new = drawn.take(np.arange(200, 201))
        held += members(new.probabilities, rule_found, seed=int(rng.integers(2**31)))[0, new.labels[0]]
    return _row(f"prediction sets, {rule}", 0.9, repetitions, held)


def _scored(rng: Generator, n: int) -> Predictions:
    labels = np.concatenate([np.repeat([0, 1, 2], 25), rng.choice(3, n - 75, p=[0.5, 0.35, 0.15])])
    labels[:-1] = rng.permutation(labels[:-1])
    scores = np.round(rng.normal(0, 1, (n, 3)) + 1.2 * np.eye(3)[labels], 1)
    return table(scores, labels)


def _row(name: str, wanted: float, repetitions: int, held: int) -> dict[str, str | int | float]:
    low, high = bounds(held, repetitions)
    shares = {"coverage": round(float(held / repetitions), 4), "low": round(low, 4), "high": round(high, 4)}
    return {"truth": name, "wanted": wanted, "repetitions": repetitions, **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5000)
    parser.add_argument("--bootstraps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "evidence_coverage.csv")
    asked = parser.parse_args()
    jobs: list[Callable[[], dict[str, str | int | float]]] = [lambda rule=rule: sets(rule, asked.repetitions, asked.seed) for rule in RULES]
    jobs += [lambda name=name: intervals(name, asked.repetitions, asked.bootstraps, asked.seed) for name in DIFFERENCES]
    rows = Rows(asked.out, ("truth",))
    for job in jobs:
        rows.add(job() | {"numpy": np.__version__})


if __name__ == "__main__":
    main()
