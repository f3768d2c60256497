"""Figures of one file and their intervals, against statsmodels, scikit-learn and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from clinquant.core.predictions import Predictions
from clinquant.evidence.measured import measure_auc, measure_decisions
from clinquant.evidence.wilson import wilson


def table(labels: NDArray[np.int64], scores: NDArray[np.float64], groups: list[str] | None = None) -> Predictions:
    ids = tuple(f"c{i}" for i in range(len(labels)))
    return Predictions(
        ids=ids,
        groups=tuple(groups) if groups else ids,
        labels=labels.astype(np.int64),
        scores=scores.astype(np.float32),
        classes=tuple("abcdef"[: scores.shape[1]]),
        model_sha256="0" * 64,
        runtime="none",
    )


def drawn(n: int, seed: int, shift: float = 1.5) -> Predictions:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return table(labels, np.stack([np.zeros(n), random.normal(size=n) + shift * labels], axis=1))


@given(st.integers(1, 400), st.floats(0, 1))
def test_wilson_is_statsmodels(n: int, share: float) -> None:
    right = round(share * n)
    found = wilson(right, n)
    assert (found.lower, found.upper) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-12)


def test_figures_are_those_of_scikit_learn() -> None:
    found = drawn(101, seed=3)
    assert measure_auc(found).value == pytest.approx(roc_auc_score(found.labels, found.scores[:, 1]))
    accuracy, sensitivity, specificity = measure_decisions(found, found.decisions, 1)
    right = found.decisions == found.labels
    assert (accuracy.value, accuracy.n) == (right.mean(), 101)
    assert (sensitivity.value, sensitivity.class_name) == (right[found.labels == 1].mean(), "b")
    assert (specificity.value, specificity.n) == (right[found.labels == 0].mean(), 51)


def test_the_order_of_cases_does_not_matter() -> None:
    found = drawn(60, seed=1)
    mixed = found.take(np.random.default_rng(0).permutation(60))
    assert measure_auc(mixed) == measure_auc(found)
    assert measure_decisions(mixed, mixed.decisions, 1) == measure_decisions(found, found.decisions, 1)


def test_a_copy_of_every_image_adds_no_certainty() -> None:
    """The control for clustering: twice the same cases of a patient are one case."""
    once = drawn(80, seed=5)
    rows = np.repeat(np.arange(80), 2)
    twice = table(once.labels[rows], once.scores[rows].astype(np.float64), [f"p{i}" for i in rows])
    single, double = measure_decisions(once, once.decisions, 1)[0], measure_decisions(twice, twice.decisions, 1)[0]
    assert double.lower == pytest.approx(single.lower, abs=0.01) and double.unit == "patient"
    assert measure_auc(twice).lower == pytest.approx(measure_auc(once).lower, abs=0.02)


def test_perfect_results_leave_room_for_what_was_not_seen() -> None:
    labels = np.arange(40) % 2
    perfect = table(labels, np.stack([-labels, labels], axis=1) * 5.0)
    auc = measure_auc(perfect)
    assert auc.value == 1.0 and auc.upper == 1.0 and auc.lower is not None and auc.lower < 0.93
    assert all(each.lower is not None and each.lower < 0.95 for each in measure_decisions(perfect, perfect.decisions, 1))


def test_a_class_without_cases_has_no_figure() -> None:
    found = table(np.zeros(5), np.ones((5, 3)))
    recalls = measure_decisions(found, found.decisions, None)[1:]
    assert [each.value for each in recalls] == [1.0, None, None]
    assert measure_auc(found).value is None


def test_intervals_cover_the_truth() -> None:
    """True AUC of a shift of 1.5 is Phi(1.5 / sqrt 2) = 0.8556; the 95% interval must hold it in about 95 of 100 draws."""
    hits = sum(0.0 <= m.lower <= 0.8556 <= m.upper for m in (measure_auc(drawn(60, seed)) for seed in range(100)) if m.lower and m.upper)
    assert 90 <= hits <= 100
