"""Tango, McNemar, DeLong, the bootstrap and quantiles against independent oracles."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq, minimize_scalar
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from clinquant.evidence.bootstrap import bootstrap, draws, macro_auc_difference, percentile_interval, proportion_difference
from clinquant.evidence.delong import auc_components, delong
from clinquant.evidence.interval import Interval, Stratum, allow_unseen, normal_quantile, reach_with_unseen, student_quantile
from clinquant.evidence.mcnemar import mcnemar_p
from clinquant.evidence.metrics import auc, log_odds, macro_auc
from clinquant.evidence.tango import tango_interval, tango_statistic
from predictions_tables import separated

Z = 1.959963984540054


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 30, 31, 999, 100_000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_quantiles_are_scipys(df: int, confidence: float) -> None:
    assert student_quantile(confidence, df) == pytest.approx(stats.t.ppf((1 + confidence) / 2, df), rel=1e-9)
    assert normal_quantile(confidence) == pytest.approx(stats.norm.ppf((1 + confidence) / 2), rel=1e-12)
    assert student_quantile(confidence, 0) == np.inf


def score_statistic_by_likelihood(lost: int, gained: int, n: int, loss: float) -> float:
    """Tango's statistic from its definition: the constrained likelihood is maximised numerically, not by the formula."""

    def minus_log_likelihood(q: float) -> float:
        cells = np.array([q + loss, q, 1 - 2 * q - loss])
        counts = np.array([lost, gained, n - lost - gained])
        return -float(np.sum(counts[counts > 0] * np.log(np.maximum(cells[counts > 0], 1e-300))))

    low, high = max(0.0, -loss), (1 - loss) / 2
    q = minimize_scalar(minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
    return float((lost - gained - n * loss) / np.sqrt(n * (2 * q + loss * (1 - loss))))


@pytest.mark.parametrize(("lost", "gained", "n"), [(5, 2, 60), (1, 9, 100), (12, 12, 40), (3, 1, 500)])
def test_tango_inverts_the_likelihoods_statistic(lost: int, gained: int, n: int) -> None:
    """The statistic is scanned on a grid, so that a second root would show, and then solved at its two crossings."""
    seen = (lost - gained) / n
    inside = [abs(score_statistic_by_likelihood(lost, gained, n, loss)) <= Z for loss in np.linspace(-0.9, 0.9, 91)]
    assert np.abs(np.diff(np.array(inside, int))).sum() in (0, 2)
    most = brentq(lambda loss: score_statistic_by_likelihood(lost, gained, n, loss) + Z, seen, 0.95)
    least = brentq(lambda loss: score_statistic_by_likelihood(lost, gained, n, loss) - Z, -0.95, seen)
    interval = tango_interval(lost, gained, n)
    assert (interval.lower, interval.upper) == pytest.approx((-most, -least), abs=1e-5)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n))))
def test_tango_ends_are_where_the_statistic_is_z(case: tuple[int, int, int]) -> None:
    lost, gained, n = case
    lost = min(lost, n - gained)
    interval = tango_interval(lost, gained, n)
    mirrored = tango_interval(gained, lost, n)
    assert -1 <= interval.lower <= (gained - lost) / n <= interval.upper <= 1
    assert (interval.lower, interval.upper) == pytest.approx((-mirrored.upper, -mirrored.lower), abs=1e-9)
    if interval.lower > -1 + 1e-9:
        assert tango_statistic(lost, gained, n, -interval.lower) == pytest.approx(-Z, abs=1e-5)
    if interval.upper < 1 - 1e-9:
        assert tango_statistic(lost, gained, n, -interval.upper) == pytest.approx(Z, abs=1e-5)


def test_tango_published_examples() -> None:
    """Airway hyper-responsiveness (Bentur 2009; 1, 1, 7, 12 of 21) and R's PropCIs::scoreci.mp(25, 28, 618) at 90%."""
    airway, rates = tango_interval(7, 1, 21), tango_interval(25, 28, 618, 0.90)
    assert (round(airway.lower, 3), round(airway.upper, 3)) == (-0.517, -0.026)
    assert (round(rates.lower, 4), round(rates.upper, 4)) == (-0.0148, 0.0247)


def test_tango_without_cases_says_nothing() -> None:
    assert tango_interval(0, 0, 0) == Interval(-1.0, 1.0)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_statsmodels_exact(lost: int, gained: int) -> None:
    expected = mcnemar([[10, lost], [gained, 10]], exact=True).pvalue if lost + gained else 1.0
    assert mcnemar_p(lost, gained) == pytest.approx(expected, abs=1e-10)


def delong_variance_by_pairs(before: np.ndarray, after: np.ndarray, positive: np.ndarray) -> float:
    """DeLong, DeLong & Clarke-Pearson 1988, with the kernel written out: O(m n)."""

    def kernel(values: np.ndarray) -> np.ndarray:
        x, y = values[positive][:, None], values[~positive][None, :]
        return (x > y) + 0.5 * (x == y)

    difference = kernel(after) - kernel(before)
    m, n = difference.shape
    return float(difference.mean(axis=1).var(ddof=1) / m + difference.mean(axis=0).var(ddof=1) / n)


@pytest.mark.parametrize("seed", range(5))
def test_delong_against_all_pairs_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positive = np.arange(60) < 20
    before = np.round(rng.normal(size=60) + positive, 1)
    after = np.round(before + rng.normal(size=60) * 0.5, 1)
    scores = [np.stack([np.zeros(60), values], axis=1) for values in (before, after)]
    result = delong(scores[0], scores[1], positive.astype(np.int64), np.arange(60))
    assert result is not None
    assert result.standard_error**2 == pytest.approx(delong_variance_by_pairs(before, after, positive), rel=1e-10)
    assert result.difference == pytest.approx(auc(after, positive) - auc(before, positive), abs=1e-12)  # type: ignore[operator]


def test_delong_component_variance_matches_many_new_test_sets() -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(150) < 50
    sets = [auc_components(rng.normal(size=150) + positive, positive) for _ in range(600)]
    areas, variances = [area for area, _ in sets], [np.square(parts).sum() for _, parts in sets]
    assert np.mean(variances) == pytest.approx(np.var(areas), rel=0.15)


def test_delong_by_unit_sees_copies() -> None:
    """Every case twice in its unit: the clustered error is that of the single cases, the naive one smaller by the root of 2."""
    scores, labels = separated([80, 60], gap=1.0)
    other = scores + np.random.default_rng(1).normal(size=scores.shape)
    doubled = [np.concatenate([part, part]) for part in (scores, other, labels)]
    single = delong(scores, other, labels, np.arange(140))
    clustered = delong(doubled[0], doubled[1], doubled[2], np.tile(np.arange(140), 2))
    naive = delong(doubled[0], doubled[1], doubled[2], np.arange(280))
    assert single is not None and clustered is not None and naive is not None
    assert clustered.standard_error == pytest.approx(single.standard_error, rel=0.02)
    assert naive.standard_error == pytest.approx(single.standard_error / np.sqrt(2), rel=0.02)


def test_delong_needs_two_cases_of_two_classes() -> None:
    scores, labels = separated([9, 1])
    assert delong(scores, scores, labels, np.arange(10)) is None


@pytest.mark.parametrize("counts", [(25, 15), (20, 12, 8)])
def test_bootstrap_auc_is_the_auc_of_copied_cases(counts: tuple[int, ...]) -> None:
    scores, labels = separated(counts, gap=1.0)
    scores = np.round(scores, 1)
    other = np.round(scores + np.random.default_rng(1).normal(size=scores.shape), 1)
    units = np.random.default_rng(2).integers(0, 18, len(labels))
    statistic = macro_auc_difference(log_odds(scores), log_odds(other), labels, units)
    found = bootstrap([statistic], 18, cells=40, bootstraps=30, seed=5)[0]
    for counts_drawn, difference in zip(np.concatenate(list(draws(18, 30, 5, 30))), found, strict=True):
        rows = np.repeat(np.arange(len(labels)), counts_drawn[units])
        if len(np.unique(labels[rows])) == len(counts):
            expected = macro_auc(other[rows], labels[rows]) - macro_auc(scores[rows], labels[rows])  # type: ignore[operator]
            assert difference == pytest.approx(expected, abs=1e-12)


def test_bootstrap_proportion_is_that_of_copied_cases() -> None:
    rng = np.random.default_rng(0)
    change, units = rng.integers(-1, 2, 40), rng.integers(0, 12, 40)
    found = bootstrap([proportion_difference(change, units, 12)], 12, cells=40, bootstraps=20, seed=1)[0]
    for counts, difference in zip(np.concatenate(list(draws(12, 20, 1, 20))), found, strict=True):
        assert difference == pytest.approx(np.repeat(change, counts[units]).mean(), abs=1e-12)


def test_bootstrap_does_not_depend_on_the_chunk() -> None:
    scores, labels = separated([30, 20], gap=1.0)
    statistic = macro_auc_difference(log_odds(scores), log_odds(scores[:, ::-1]), labels, np.arange(50))
    whole = bootstrap([statistic], 50, cells=50, bootstraps=64, seed=3)
    np.testing.assert_array_equal(whole, bootstrap([statistic], 50, cells=10**9, bootstraps=64, seed=3))


def test_bootstrap_draws_without_a_class_are_left_out() -> None:
    scores, labels = separated([30, 2], gap=1.0)
    statistic = macro_auc_difference(log_odds(scores), log_odds(scores), labels, np.arange(32))
    differences = bootstrap([statistic], 32, cells=32, bootstraps=500)[0]
    assert np.isnan(differences).any()
    assert percentile_interval(differences, 2) == Interval(0.0, 0.0)
    assert percentile_interval(differences, 1) == Interval(-1.0, 1.0)


def test_percentiles_widen_for_few_units() -> None:
    differences = np.random.default_rng(0).normal(size=20_000) * 0.01
    plain = np.quantile(differences, [0.025, 0.975])
    many, few = percentile_interval(differences, 5000), percentile_interval(differences, 8)
    np.testing.assert_allclose([many.lower, many.upper], plain, rtol=0.01)
    assert few.upper / many.upper == pytest.approx(np.sqrt(8 / 7) * stats.t.ppf(0.975, 7) / Z, rel=0.05)


@given(st.integers(0, 40), st.integers(1, 4000))
def test_reach_with_unseen_is_close_to_wilsons_for_whole_failures(failed: int, passed: int) -> None:
    """Whole units failing, seen reach z sqrt(p q / n): Wilson's upper bound, exact without a failure and never below it."""
    n = failed + passed
    p = failed / n
    wilson = proportion_confint(failed, n, method="wilson")[1]
    found = p + reach_with_unseen(Z * np.sqrt(p * (1 - p) / n), Stratum(n))
    assert found >= wilson - 1e-9
    if p < 0.03:
        assert found == pytest.approx(wilson, rel=0.05 if failed else 1e-9)


@given(st.floats(-0.5, 0.5), st.floats(0, 0.3), st.floats(0, 0.3), st.integers(0, 500), st.floats(0.1, 1))
def test_unseen_loss_only_widens(difference: float, left: float, right: float, units: int, share: float) -> None:
    seen = Interval(difference - left, difference + right)
    wide = allow_unseen(seen, difference, [Stratum(units, share)])
    assert -1 <= wide.lower <= seen.lower and seen.upper <= wide.upper + 1e-12 and wide.upper <= 1
    more = allow_unseen(seen, difference, [Stratum(units, share), Stratum(units / 2, share)])
    assert more.lower <= wide.lower + 1e-12


def test_seen_harm_is_not_excused_by_what_was_not_seen() -> None:
    assert allow_unseen(Interval(-0.3, -0.1), -0.2, [Stratum(15)]).upper == -0.1
    assert allow_unseen(Interval(-0.1, 0.1), 0.0, [Stratum(0)]) == Interval(-1.0, 1.0)


def test_bootstrap_speed_leaves_room_for_a_hundred_thousand_cases() -> None:
    """The target is 60 s for 100,000 cases, 5 classes and 2,000 draws; 20 draws stand for it, with room for a busy machine."""
    scores, labels = separated([20_000] * 5, gap=1.0)
    start = time.process_time()
    bootstrap(
        [macro_auc_difference(log_odds(scores), log_odds(-scores), labels, np.arange(100_000))], 100_000, cells=100_000, bootstraps=20
    )
    assert time.process_time() - start < 2.0
