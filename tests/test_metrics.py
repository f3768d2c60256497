"""Metrics against scikit-learn, and properties that any input keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from clinquant.core.predictions import softmax
from clinquant.evidence.metrics import (
    accuracy,
    auc,
    class_aucs,
    confusion,
    log_odds,
    macro_auc,
    midranks,
    recall,
    risk_coverage,
    roc,
    sensitivity,
    specificity,
)
from predictions_tables import separated


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Few distinct values, so that ties abound, with both kinds of case."""
    n = draw(st.integers(2, 40))
    values = draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
    positive = draw(st.lists(st.booleans(), min_size=n - 2, max_size=n - 2))
    return np.array(values, float), np.array([True, False, *positive])


@given(scored())
def test_auc_is_sklearns_and_pair_counting_with_ties(case: tuple[np.ndarray, np.ndarray]) -> None:
    values, positive = case
    wins = values[positive][:, None] - values[~positive][None, :]
    counted = ((wins > 0) + 0.5 * (wins == 0)).mean()
    assert auc(values, positive) == pytest.approx(counted, abs=1e-12)
    assert auc(values, positive) == pytest.approx(roc_auc_score(positive, values), abs=1e-12)


@given(scored(), st.randoms(use_true_random=False))
def test_auc_ignores_order_and_monotone_maps_and_mirrors(case: tuple[np.ndarray, np.ndarray], random: object) -> None:
    values, positive = case
    order = np.random.default_rng(random.randrange(2**32)).permutation(len(values))  # type: ignore[attr-defined]
    assert auc(values[order], positive[order]) == auc(values, positive)
    assert auc(np.exp(values), positive) == auc(values, positive)
    assert auc(-values, positive) == pytest.approx(1 - auc(values, positive), abs=1e-12)  # type: ignore[operator]


def test_auc_needs_both_kinds() -> None:
    assert auc(np.arange(3.0), np.ones(3, bool)) is None
    assert auc(np.arange(3.0), np.zeros(3, bool)) is None


def test_macro_auc_is_sklearns() -> None:
    scores, labels = separated([50, 30, 20, 12], gap=1.0)
    expected = roc_auc_score(labels, softmax(scores), multi_class="ovr", average="macro")
    assert macro_auc(scores, labels) == pytest.approx(expected, abs=1e-12)
    scores, labels = separated([50, 30], gap=1.0)
    assert macro_auc(scores, labels) == pytest.approx(roc_auc_score(labels, softmax(scores)[:, 1]), abs=1e-12)


def test_macro_auc_leaves_out_a_class_without_cases() -> None:
    scores, labels = separated([40, 30, 0], gap=1.0)
    first, second, third = class_aucs(scores, labels)
    assert third is None and macro_auc(scores, labels) == pytest.approx((first + second) / 2)  # type: ignore[operator]


def test_log_odds_order_as_probabilities_and_do_not_saturate() -> None:
    scores = np.array([[0.0, 50.0, 1.0], [0.0, 80.0, 1.0], [3.0, 1.0, 2.0]])
    expected = scores[:, 1] - logsumexp(scores[:, [0, 2]], axis=1)
    np.testing.assert_allclose(log_odds(scores)[:, 1], expected, rtol=1e-12)
    assert softmax(scores)[0, 1] == softmax(scores)[1, 1] and log_odds(scores)[0, 1] < log_odds(scores)[1, 1]
    np.testing.assert_array_equal(log_odds(scores[:, :2])[:, 0], -log_odds(scores[:, :2])[:, 1])


def test_midranks_share_ties() -> None:
    np.testing.assert_array_equal(midranks(np.array([5.0, 1.0, 5.0, 2.0])), [3.5, 1.0, 3.5, 2.0])


def test_proportions_and_confusion() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    decided = np.array([0, 1, 0, 1, 1, 1, 0])
    assert sensitivity(labels, decided, 1) == recall(labels, decided, 1) == 0.75
    assert specificity(labels, decided, 1) == pytest.approx(2 / 3)
    assert accuracy(labels, decided) == pytest.approx(5 / 7)
    np.testing.assert_array_equal(confusion(labels, decided, 2), confusion_matrix(labels, decided))
    assert sensitivity(labels[:3], decided[:3], 1) is None and specificity(labels[3:], decided[3:], 1) is None
    assert accuracy(labels[:0], decided[:0]) is None


@given(scored())
def test_roc_is_sklearns_and_its_area_is_auc(case: tuple[np.ndarray, np.ndarray]) -> None:
    values, positive = case
    curve = roc(values, positive)
    false, true, thresholds = roc_curve(positive, values, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, false)
    np.testing.assert_allclose(curve.true_positive_rate, true)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    assert np.trapezoid(true, false) == pytest.approx(auc(values, positive), abs=1e-12)


@settings(max_examples=50)
@given(scored())
def test_risk_coverage_against_a_loop(case: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, wrong = case
    curve = risk_coverage(confidence, wrong)
    for coverage, risk, least in zip(curve.coverage, curve.risk, curve.confidence, strict=True):
        kept = confidence >= least
        assert coverage == pytest.approx(kept.mean()) and risk == pytest.approx(wrong[kept].mean())
    assert curve.coverage[-1] == 1.0
