"""Conformal prediction sets: calibrated on the referral half of tune, tried on the test set.

With n exchangeable cases the ceil((n + 1)(1 - a))-th smallest nonconformity bounds a new case's with chance 1 - a at least (Vovk, Gammerman
& Shafer 2005), whatever the model. `lac`: nonconformity 1 - p of the true class, the smallest sets on average (Sadinle et al. 2019,
arXiv 1609.00451). `classwise`: the same within each class (Mondrian; Vovk 2012, arXiv 1209.2673), so that no class pays for the others'
coverage. `aps`: the probability of all classes down to the true one, the last of them in a random part (Romano, Sesia & Candes 2020, arXiv
2006.02544, equation 10), so that hard cases get larger sets. Ties of integer scores can only make the first two cover more.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from clinquant.core.predictions import Predictions
from clinquant.core.sets import PredictionSets
from clinquant.evidence.evidence import Conformal, SetSize
from clinquant.evidence.metrics import Floats, Ints, Mask
from clinquant.evidence.paired import Paired
from clinquant.evidence.proportions import design_effect
from clinquant.evidence.wilson import wilson

COVERAGE = 0.95
"""Asked for by default."""

FEWEST = 20
"""Cases (of the class, for `classwise`) below which no bound is chosen: it would rest on the one or two least likely ones."""


def calibrate(predictions: Predictions, rule: str, coverage: float = COVERAGE) -> PredictionSets | None:
    """The rule's bounds from labelled cases that chose nothing of it; None with fewer than 20 of them (of any class, for `classwise`)."""
    labels, probabilities = predictions.labels, predictions.probabilities
    counts = np.bincount(labels, minlength=len(predictions.classes))
    if (min(counts) if rule == "classwise" else len(labels)) < FEWEST:
        return None
    return PredictionSets(rule=rule, coverage=coverage, at_least=RULES[rule](probabilities, labels, coverage), cases=len(labels))


def card_sets(predictions: Predictions, coverage: float = COVERAGE) -> PredictionSets | None:
    """What a card carries: bounds by class where every class has cases enough, else one for all, else None."""
    return calibrate(predictions, "classwise", coverage) or calibrate(predictions, "lac", coverage)


def conformal_figures(paired: Paired, predictions: Predictions, sets: PredictionSets, confidence: float = 0.95) -> Conformal:
    """What the sets do on the rows of `predictions` (one file of `paired`), by size of the set and by class."""
    inside = members(predictions.probabilities, sets)
    hit, size, labels = inside[np.arange(len(inside)), paired.labels], inside.sum(axis=1), paired.labels
    effect = design_effect(hit.astype(np.int64), paired.unit_of_case)
    bounds = wilson(float(hit.sum()) / effect, len(hit) / effect, confidence)
    return Conformal(
        rule=sets.rule,
        wanted=sets.coverage,
        at_least=sets.at_least,
        calibrated_on=sets.cases,
        coverage=float(hit.mean()),
        lower=bounds.lower,
        upper=bounds.upper,
        mean_size=float(size.mean()),
        by_size=tuple(
            SetSize(size=k, cases=int((size == k).sum()), covered=int(hit[size == k].sum()))
            for k in range(inside.shape[1] + 1)
            if (size == k).any()
        ),
        by_class={name: float(hit[labels == k].mean()) for k, name in enumerate(predictions.classes) if (labels == k).any()},
    )


def members(probabilities: Floats, sets: PredictionSets, seed: int = 0) -> Mask:
    """[n, k] which classes are in each case's set; `aps` draws one number a case, in the order given."""
    if sets.rule != "aps":
        return sets.members(probabilities)
    lots = np.random.default_rng(seed).random(len(probabilities))
    inside = _cumulated(probabilities, lots) <= sets.at_least[0]
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return np.asarray(inside)


def quantile(nonconformity: Floats, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest of n values; infinite where n is too small for that."""
    rank = math.ceil((len(nonconformity) + 1) * coverage - 1e-9)
    return float(np.sort(nonconformity)[rank - 1]) if rank <= len(nonconformity) else math.inf


def _lac(probabilities: Floats, labels: Ints, coverage: float) -> tuple[float, ...]:
    true: Floats = probabilities[np.arange(len(labels)), labels]
    return (_bound(true, coverage),) * int(probabilities.shape[1])


def _classwise(probabilities: Floats, labels: Ints, coverage: float) -> tuple[float, ...]:
    return tuple(_bound(np.asarray(probabilities[labels == k, k]), coverage) for k in range(probabilities.shape[1]))


def _bound(true: Floats, coverage: float) -> float:
    """The least probability in the set; 0 where there are too few cases to leave any class out."""
    return max(0.0, -quantile(-true, coverage))


def _aps(probabilities: Floats, labels: Ints, coverage: float) -> tuple[float, ...]:
    lots = np.random.default_rng(1).random(len(labels))
    scores: Floats = _cumulated(probabilities, lots)[np.arange(len(labels)), labels]
    return (min(quantile(scores, coverage), 1.0),)


def _cumulated(probabilities: Floats, lots: Floats) -> Floats:
    """[n, k] probability of all likelier classes, and a random part of the class's own."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    found = np.empty_like(probabilities)
    np.put_along_axis(found, order, before + lots[:, None] * ordered, axis=1)
    return found


RULES: dict[str, Callable[[Floats, Ints, float], tuple[float, ...]]] = {"lac": _lac, "classwise": _classwise, "aps": _aps}
"""Rule -> its bounds from probabilities [n, k], labels [n] and the coverage asked for."""
