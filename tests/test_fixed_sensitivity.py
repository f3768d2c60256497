"""Specificity at a fixed sensitivity, against scikit-learn's ROC curve and a bootstrap of copied cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from clinquant.core.predictions import Predictions
from clinquant.evidence.bootstrap import specificity_at
from clinquant.evidence.fixed_sensitivity import LEVELS, fixed_sensitivity
from clinquant.evidence.paired import pair_up


def table(seed: int, gain: float) -> Predictions:
    random = np.random.default_rng(0)
    labels = (np.arange(400) % 4 == 0).astype(np.int64)
    score = gain * labels + random.normal(0, 1, 400) + np.random.default_rng(seed).normal(0, 0.2, 400)
    scores = np.stack([np.zeros(400), np.round(score, 1)], axis=1).astype(np.float32)  # rounded: ties
    ids = tuple(f"{i:03d}" for i in range(400))
    groups = tuple(f"{i // 2:03d}" for i in range(400))
    return Predictions(ids=ids, groups=groups, labels=labels, scores=scores, classes=("no", "yes"), model_sha256="", runtime="")


def expected(values: np.ndarray, labels: np.ndarray, level: float) -> float:
    false_positive, true_positive, _ = roc_curve(labels, values, drop_intermediate=False)
    return float(1 - false_positive[np.flatnonzero(true_positive >= level - 1e-12)[0]])


def test_it_is_read_off_the_roc_curve() -> None:
    before, after = table(1, 2.0), table(2, 1.8)
    for row, level in zip(fixed_sensitivity(pair_up(before, after), 1, bootstraps=200), LEVELS, strict=True):
        assert row.sensitivity == level
        assert row.baseline == pytest.approx(expected(before.scores[:, 1], before.labels, level))
        assert row.candidate == pytest.approx(expected(after.scores[:, 1], after.labels, level))
        assert row.lower < row.candidate - row.baseline < row.upper


def test_a_draw_is_the_curve_of_the_copied_cases() -> None:
    made, random = table(3, 2.0), np.random.default_rng(4)
    unit = np.arange(400) // 2
    statistic = specificity_at(made.scores[:, 1].astype(np.float64), made.labels == 1, unit, 0.9)
    counts = random.multinomial(200, np.full(200, 1 / 200), 20).astype(np.int32)
    for row, found in zip(counts, statistic(counts), strict=True):
        copies = np.repeat(np.arange(400), row[unit])
        assert found == pytest.approx(expected(made.scores[copies, 1], made.labels[copies], 0.9))


def test_a_file_against_itself_differs_by_nothing() -> None:
    made = table(1, 2.0)
    assert all((row.lower, row.upper) == (0.0, 0.0) for row in fixed_sensitivity(pair_up(made, made), 1, bootstraps=50))
    assert fixed_sensitivity(pair_up(made, made), None) == ()
