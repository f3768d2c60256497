"""Prediction sets: against loops that read like the definitions, and their coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clinquant.core.predictions import Predictions, softmax
from clinquant.core.sets import PredictionSets
from clinquant.evidence.conformal import RULES, calibrate, card_sets, conformal_figures, members, quantile
from clinquant.evidence.paired import pair_up


def table(random: np.random.Generator, n: int, k: int = 3, *, shares: tuple[float, ...] | None = None) -> Predictions:
    labels = random.choice(k, n, p=shares)
    scores = random.normal(0, 1, (n, k))
    scores[np.arange(n), labels] += 1.2
    ids = tuple(f"{i:05d}" for i in range(n))
    return Predictions(
        ids=ids, groups=ids, labels=labels, scores=scores.astype(np.float32), classes=tuple("abcdef"[:k]), model_sha256="", runtime=""
    )


def test_quantile_is_the_conformal_one() -> None:
    values = np.arange(1.0, 20.0)  # 19 of them: ceil(20 * .9) = 18
    assert quantile(values, 0.9) == 18.0
    assert quantile(values[:8], 0.9) == math.inf
    assert quantile(values[:9], 0.9) == 9.0


def test_bounds_follow_the_definition() -> None:
    made = table(np.random.default_rng(0), 200)
    p, labels = made.probabilities, made.labels
    lac = calibrate(made, "lac", 0.9)
    assert lac is not None
    wrong = sorted(1 - p[i, labels[i]] for i in range(200))
    assert lac.at_least == (pytest.approx(1 - wrong[math.ceil(201 * 0.9) - 1]),) * 3
    by_class = calibrate(made, "classwise", 0.9)
    assert by_class is not None
    for k in range(3):
        own = sorted(1 - p[i, k] for i in range(200) if labels[i] == k)
        assert by_class.at_least[k] == pytest.approx(1 - own[math.ceil((len(own) + 1) * 0.9) - 1])


def test_cumulated_probability_follows_the_definition() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    lots = np.random.default_rng(0).random(2)
    inside = members(p, PredictionSets(rule="aps", coverage=0.9, at_least=(0.75,), cases=100))
    for i in range(2):
        for k in range(3):
            likelier = sum(other for other in p[i] if other > p[i, k])
            assert inside[i, k] == (likelier + lots[i] * p[i, k] <= 0.75 or k == p[i].argmax())


@pytest.mark.parametrize("rule", RULES)
def test_coverage_is_what_was_asked_for(rule: str) -> None:
    """Averaged over calibration sets the coverage is at least 90%, and hardly more than the ties and the likeliest class add."""
    random, hits, by_class = np.random.default_rng(1), [], []
    for _ in range(150):
        sets = calibrate(table(random, 240, shares=(0.4, 0.3, 0.3)), rule, 0.9)
        assert sets is not None
        test = table(random, 300, shares=(0.4, 0.3, 0.3))
        hit = members(test.probabilities, sets, seed=int(random.integers(2**31)))[np.arange(300), test.labels]
        hits.append(hit.mean())
        by_class.append([hit[test.labels == k].mean() for k in range(3)])
    assert 0.895 <= np.mean(hits) <= 0.94
    if rule == "classwise":
        assert np.mean(by_class, axis=0).min() >= 0.89


def test_few_cases_choose_no_bound() -> None:
    random = np.random.default_rng(2)
    assert calibrate(table(random, 19), "lac") is None
    assert card_sets(table(random, 19)) is None
    few = card_sets(table(random, 60, shares=(0.9, 0.05, 0.05)))
    many = card_sets(table(random, 300))
    assert few is not None and few.rule == "lac"
    assert many is not None and many.rule == "classwise"


def test_figures_count_by_size_and_class() -> None:
    made = table(np.random.default_rng(3), 200)
    paired = pair_up(made, made)
    sets = PredictionSets(rule="lac", coverage=0.9, at_least=(0.2, 0.2, 0.2), cases=50)
    found = conformal_figures(paired, paired.baseline, sets)
    inside = [[p >= 0.2 or p == row.max() for p in row] for row in softmax(made.scores)]
    hit = [row[label] for row, label in zip(inside, made.labels, strict=True)]
    assert found.coverage == pytest.approx(np.mean(hit)) and found.lower < found.coverage < found.upper
    assert found.mean_size == pytest.approx(np.mean([sum(row) for row in inside]))
    assert {each.size: each.cases for each in found.by_size} == {s: n for s in range(4) if (n := sum(sum(row) == s for row in inside))}
    assert sum(each.covered for each in found.by_size) == sum(hit)
    assert found.by_class["b"] == pytest.approx(np.mean([h for h, label in zip(hit, made.labels, strict=True) if label == 1]))
