"""How often the evidence room calls a file NON_INFERIOR that is worse by exactly the margin: its false-pass rate.

    python -m benchmarks.evidence_type1 --repetitions 1000 --bootstraps 300

Each row of `benchmarks/results/evidence_type1.csv` is one way to lose exactly the margin. The one-sided level is 2.5%; `rate_low` and
`rate_high` are the exact 95% bounds of the simulated rate. `naive_rate` is that of the plain percentile bootstrap (for proportions the
interval that takes every image for independent), which is what the procedure exists to avoid.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
from benchmarks.rows import Rows
from numpy.typing import NDArray

from clinquant.core.predictions import Predictions
from clinquant.evidence.claims import Claim, Finding, Verdict
from clinquant.evidence.compare import compare, overall
from clinquant.evidence.tango import tango_interval

Pair = tuple[Predictions, Predictions]
Generator = np.random.Generator


def table(scores: NDArray[np.float64], labels: NDArray[np.int64], groups: NDArray[np.int64] | None = None) -> Predictions:
    ids = tuple(str(i) for i in range(len(labels)))
    units = ids if groups is None else tuple(str(group) for group in groups)
    names = tuple(f"class {k}" for k in range(scores.shape[1]))
    return Predictions(
        ids=ids, groups=units, labels=labels, scores=scores.astype(np.float32), classes=names, model_sha256="", runtime="simulated"
    )


def decided(before: NDArray[np.bool_], after: NDArray[np.bool_], groups: NDArray[np.int64] | None = None) -> Pair:
    """Two files that are right where told so, all cases of class 0."""
    labels = np.zeros(len(before), dtype=np.int64)
    first, second = (table(np.eye(2)[np.where(right, 0, 1)], labels, groups) for right in (before, after))
    return first, second


def flips(rng: Generator, n: int, lost: float, gained: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each of n draws is right before and after; the true loss is lost - gained."""
    kind = rng.random(n)
    return kind >= gained, (kind < gained) | (kind >= gained + lost)


def independent(n: int, lost: float, gained: float) -> Callable[[Generator], Pair]:
    return lambda rng: decided(*flips(rng, n, lost, gained))


def clustered(units: int, lost: float, gained: float, shared: float) -> Callable[[Generator], Pair]:
    """1 to 6 images a patient; with chance `shared` all images of a patient flip as one, else each by itself."""

    def draw(rng: Generator) -> Pair:
        groups = np.repeat(np.arange(units), rng.integers(1, 7, units))
        together = (rng.random(units) < shared)[groups]
        whole, single = flips(rng, units, lost, gained), flips(rng, len(groups), lost, gained)
        before, after = (np.where(together, one[groups], each) for one, each in zip(whole, single, strict=True))
        return decided(before, after, groups)

    return draw


def destroyed(positives: int, negatives: int, loss: float, per_unit: int = 1, last: bool = False) -> Callable[[Generator], Pair]:
    """A perfect float; the integer file is blind to positives with the chance that costs `loss` of AUC, whole patients at a time.

    Their rank among the negatives is uniformly random or, with `last`, the worst there is.
    """

    def draw(rng: Generator) -> Pair:
        labels = np.repeat([1, 0], [positives, negatives])
        before = np.stack([np.zeros(len(labels)), 6.0 * labels - 3.0 + 0.3 * rng.normal(size=len(labels))], axis=1)
        groups = np.arange(len(labels)) // per_unit
        gone = (rng.random(groups[-1] + 1) < (loss if last else 2 * loss))[groups] & (labels == 1)
        after = before.copy()
        after[gone, 1] = -20.0 if last else np.quantile(before[labels == 0, 1], rng.random(gone.sum()))
        return table(before, labels, groups), table(after, labels, groups)

    return draw


def blurred(positives: int, negatives: int, before: float, after: float) -> Callable[[Generator], Pair]:
    """Binormal scores; noise added to the float's takes the true AUC from `before` to `after`."""
    quantile = NormalDist().inv_cdf
    gap, reach = quantile(before) * 2**0.5, quantile(after)
    noise = ((gap / reach) ** 2 / 2 - 1) ** 0.5

    def draw(rng: Generator) -> Pair:
        labels = np.repeat([1, 0], [positives, negatives])
        score = gap * labels + rng.normal(size=len(labels))
        worse = score + noise * rng.normal(size=len(labels))
        first, second = (table(np.stack([np.zeros(len(labels)), each], axis=1), labels) for each in (score, worse))
        return first, second

    return draw


ACCURACY, AUC = Claim(metric="accuracy", margin=0.02), Claim(metric="auc", margin=0.02)

SCENARIOS: dict[str, tuple[Claim, Callable[[Generator], Pair]]] = {
    "accuracy, 200 images, losses only": (ACCURACY, independent(200, 0.02, 0.0)),
    "accuracy, 400 images, losses only": (ACCURACY, independent(400, 0.02, 0.0)),
    "accuracy, 400 images, losses and gains": (ACCURACY, independent(400, 0.03, 0.01)),
    "accuracy, 1000 images, losses and gains": (ACCURACY, independent(1000, 0.05, 0.03)),
    "accuracy, 200 patients, flipping whole": (ACCURACY, clustered(200, 0.02, 0.0, 1.0)),
    "accuracy, 400 patients, flipping whole": (ACCURACY, clustered(400, 0.03, 0.01, 1.0)),
    "accuracy, 400 patients, half flipping whole": (ACCURACY, clustered(400, 0.03, 0.01, 0.5)),
    "accuracy, 400 patients, images by themselves": (ACCURACY, clustered(400, 0.03, 0.01, 0.0)),
    "AUC, 100 positives, a share at random": (AUC, destroyed(100, 400, 0.02)),
    "AUC, 190 positives, a share at random": (AUC, destroyed(190, 400, 0.02)),
    "AUC, 400 positives, a share at random": (AUC, destroyed(400, 400, 0.02)),
    "AUC, 60 positives, a share at random": (AUC, destroyed(60, 400, 0.02)),
    "AUC, 200 patients of 3 positives, whole patients at random": (AUC, destroyed(600, 600, 0.02, per_unit=3)),
    "AUC, 100 positives, a share last": (AUC, destroyed(100, 400, 0.02, last=True)),
    "AUC, 190 positives, a share last": (AUC, destroyed(190, 400, 0.02, last=True)),
    "AUC .95 to .93, 200 positives of 600": (AUC, blurred(200, 400, 0.95, 0.93)),
    "AUC .90 to .88, 300 positives of 600": (AUC, blurred(300, 300, 0.90, 0.88)),
}


def naive_pass(finding: Finding, images: int) -> bool:
    shown = finding.shown or {}
    if finding.metric == "auc":
        return shown["bootstrap_lower"] > -finding.margin
    return tango_interval(shown["lost"], shown["gained"], images).lower > -finding.margin


def bounds(passes: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's exact 95% interval, by bisection on the binomial tail."""

    def tail(p: float, upto: int) -> float:
        k = np.arange(upto + 1)
        log_choose = np.concatenate([[0.0], np.cumsum(np.log((n - k[:-1]) / (k[:-1] + 1)))])
        return float(np.exp(log_choose + k * np.log(p) + (n - k) * np.log1p(-p)).sum())

    def solve(upto: int, level: float) -> float:
        low, high = 1e-9, 1.0 - 1e-9
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, upto) > level else (low, middle)
        return low

    return (solve(passes - 1, 0.975) if passes else 0.0), (solve(passes, 0.025) if passes < n else 1.0)


def simulate(name: str, repetitions: int, bootstraps: int, seed: int) -> dict[str, str | int | float]:
    claim, draw = SCENARIOS[name]
    rng = np.random.default_rng([seed, *name.encode()])
    passes = naive = 0
    for _ in range(repetitions):
        before, after = draw(rng)
        findings = compare(before, after, [claim], positive=1, bootstraps=bootstraps, seed=int(rng.integers(2**31)))
        passes += overall(findings) is Verdict.NON_INFERIOR
        naive += naive_pass(findings[0], len(before))
    low, high = bounds(passes, repetitions)
    rates = {"false_pass_rate": passes / repetitions, "rate_low": round(low, 5), "rate_high": round(high, 5)}
    return {"scenario": name, "margin": claim.margin, "repetitions": repetitions, **rates, "naive_rate": naive / repetitions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--bootstraps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "evidence_type1.csv")
    asked = parser.parse_args()
    rows = Rows(asked.out, ("scenario",))
    for name in SCENARIOS:
        rows.add(simulate(name, asked.repetitions, asked.bootstraps, asked.seed) | {"numpy": np.__version__})


if __name__ == "__main__":
    main()
