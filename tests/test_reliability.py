"""Calibration figures and the temperature, against scikit-learn, scipy and loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import brier_score_loss, log_loss

from clinquant.core.predictions import softmax
from clinquant.evidence.bootstrap import draws
from clinquant.evidence.reliability import brier, classwise_ece, ece, fit_temperature, nll, reliability, reliability_bins
from predictions_tables import separated, table


def calibrated(n: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose softmax at `temperature` is the true chance of each label."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, 3)) * 2 * temperature
    labels = (softmax(scores / temperature).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return scores, labels


def ece_by_loop(p: np.ndarray, hit: np.ndarray) -> float:
    total = 0.0
    for i in range(15):
        inside = (p >= i / 15) & ((p < (i + 1) / 15) | (i == 14))
        total += abs(p[inside].sum() - hit[inside].sum())
    return total / len(p)


def test_figures_against_oracles() -> None:
    scores, labels = separated((40, 30, 20), gap=1.0)
    p = softmax(scores)
    assert ece(p, labels) == pytest.approx(ece_by_loop(p.max(1), p.argmax(1) == labels), abs=1e-12)
    assert classwise_ece(p, labels) == pytest.approx(np.mean([ece_by_loop(p[:, k], labels == k) for k in range(3)]), abs=1e-12)
    assert nll(scores, labels) == pytest.approx(log_loss(labels, p), abs=1e-12)
    assert brier(p, labels) == pytest.approx(np.square(p - np.eye(3)[labels]).sum(1).mean())
    scores, labels = separated((40, 30), gap=1.0)
    p = softmax(scores)
    assert brier(p, labels) == pytest.approx(brier_score_loss(labels, p[:, 1]))


def test_true_probabilities_have_hardly_any_error_and_sharper_ones_much() -> None:
    scores, labels = calibrated(20_000, 1.0)
    assert ece(softmax(scores), labels) < 0.01 < 0.05 < ece(softmax(scores * 3), labels)


def test_bins_hold_every_case_once_and_one_in_the_last() -> None:
    bins = reliability_bins(np.array([0.0, 0.5, 1.0, 1.0]), np.array([False, True, True, False]), 4)
    np.testing.assert_array_equal(bins.count, [1, 0, 1, 2])
    np.testing.assert_array_equal(bins.observed, [0.0, np.nan, 1.0, 0.5])
    np.testing.assert_array_equal(bins.mean_probability, [0.0, np.nan, 0.5, 1.0])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_again(temperature: float) -> None:
    scores, labels = calibrated(20_000, temperature)
    assert fit_temperature(scores, labels) == pytest.approx(temperature, rel=0.05)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.floats(0.2, 5))
def test_temperature_is_scipys_minimum(seed: int, classes: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 30)
    scores = (rng.normal(size=(30, classes)) + 1.5 * np.eye(classes)[labels]) * scale
    target = (30 * np.eye(classes)[labels] + 1 / classes) / 31

    def loss(log_t: float) -> float:
        return float(-(target * log_softmax(scores / np.exp(log_t), axis=1)).sum())

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-9})
    found = fit_temperature(scores, labels)
    assert 0.05 <= found <= 20 and loss(np.log(found)) <= best.fun + 1e-9


def test_a_tune_set_without_errors_does_not_run_to_the_bound() -> None:
    labels = np.arange(200) % 2
    scores = np.eye(2)[labels] * 3.0
    temperature = fit_temperature(scores, labels)
    confidence = softmax(scores / temperature).max(axis=1).mean()
    assert temperature > 0.1 and confidence == pytest.approx(1 - 0.5 / 201, abs=1e-4)


def test_useless_scores_stay_within_bounds() -> None:
    assert fit_temperature(np.zeros((10, 3)), np.arange(10) % 3) <= 20.0 + 1e-9
    worse = np.eye(2)[1 - np.arange(10) % 2] * 5.0
    assert fit_temperature(worse, np.arange(10) % 2) == pytest.approx(20.0)


def test_before_and_after_the_temperature() -> None:
    raw, labels = calibrated(5000, 3.0)
    folded = table(raw / 3.0, labels)
    figures = reliability(folded, 3.0)
    assert figures.ece == pytest.approx(ece(folded.probabilities, labels))
    assert figures.ece_before == pytest.approx(ece(softmax(raw), labels), abs=1e-3) and figures.ece < 0.02 < figures.ece_before
    assert reliability(folded).ece_before == reliability(folded).ece


def test_intervals_are_percentiles_of_copied_units() -> None:
    """The sums that the draws add up give what the plain functions give on the copied cases."""
    raw, labels = calibrated(300, 1.5)
    made = table(raw, labels)
    found = reliability(made, bootstraps=300, seed=5)
    drawn: dict[str, list[float]] = {name: [] for name in found.intervals}
    for counts in draws(300, 300, 5, 300):
        for row in counts:
            order = np.argsort(np.array(made.groups), kind="stable")  # units in the order of their names
            copies = np.repeat(order, row)
            again = made.probabilities[copies], labels[copies]
            drawn["ece"].append(ece(*again))
            drawn["classwise_ece"].append(classwise_ece(*again))
            drawn["brier"].append(brier(*again))
            drawn["nll"].append(nll(made.scores[copies], labels[copies]))
    for name, values in drawn.items():
        assert found.intervals[name] == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    assert found.before["brier"] == found.brier and found.classwise_ece == classwise_ece(made.probabilities, labels)
