"""Numbers of explanations against independent implementations; fidelity against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from clinquant.evidence.fidelity import Explained, Fidelity, fidelity
from clinquant.evidence.maps import curve_area, gini, pointing_hit, spearman, ssim, stretched, top_iou


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_spearman_is_scipys(levels: int) -> None:
    a, b = (np.rint(drawn(9, 11, seed=seed) * levels / 4) for seed in (1, 2))
    assert spearman(a, b + a) == pytest.approx(stats.spearmanr(a.ravel(), (b + a).ravel()).statistic, abs=1e-12)
    assert spearman(a, np.ones_like(a)) == 0.0


def test_ssim_is_that_of_scipys_filters() -> None:
    """As scikit-image computes it with gaussian_weights, sigma 1.5, use_sample_covariance=False and data_range 1."""
    a, b = ndimage.gaussian_filter(drawn(2, 28, 31), (0, 2, 2))
    b = 0.6 * a + 0.4 * b
    x, y = stretched(a), stretched(b)

    def blurred(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, 1.5, truncate=3.5)[5:-5, 5:-5]

    mx, my = blurred(x), blurred(y)
    vx, vy, c = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
    expected = ((2 * mx * my + 1e-4) * (2 * c + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))).mean()
    assert ssim(a, b) == pytest.approx(float(expected), abs=1e-12)
    with pytest.raises(ValueError, match="11 positions"):
        ssim(a[:10], b[:10])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_equal_maps_are_alike_and_scale_does_not_matter(seed: int) -> None:
    a, b = drawn(12, 13, seed=seed), drawn(12, 13, seed=seed + 1)
    for metric in (spearman, ssim, top_iou):
        assert metric(a, a) == pytest.approx(1.0)
        assert metric(a, 3 * a + 2) == pytest.approx(1.0)
        assert metric(a, b) == pytest.approx(metric(b, a)) and metric(a, b) < 1
    assert gini(a) == pytest.approx(gini(-5 * a))


def test_the_greatest_tenth_by_hand() -> None:
    a, b = np.zeros((5, 4)), np.zeros((5, 4))
    a[0, 0], a[1, 1] = 3, 2
    b[0, 0], b[2, 2] = 1, 2
    assert top_iou(a, b) == pytest.approx(1 / 3)
    assert pointing_hit(a, b > 0) == 1.0 and pointing_hit(a, a == 2) == 0.0


def test_gini_is_half_the_relative_mean_difference() -> None:
    values = np.abs(drawn(6, 7))
    pairs = np.abs(values.ravel()[:, None] - values.ravel()[None]).mean()
    assert gini(values) == pytest.approx(pairs / (2 * values.mean()))
    assert gini(np.ones((4, 4))) == pytest.approx(0) and gini(np.zeros((4, 4))) == 0
    assert gini(np.eye(1, 400)) == pytest.approx(1 - 1 / 400)


def test_the_area_of_a_straight_line_is_its_mean() -> None:
    assert curve_area(np.linspace(0.2, 0.8, 9)) == pytest.approx(0.5)


def explained(seed: int, base: np.ndarray, noise: float) -> Explained:
    maps = base + noise * drawn(*base.shape, seed=seed)
    return Explained(maps=maps, values={"gini": np.array([gini(each) for each in maps])})


def by_metric(found: tuple[Fidelity, ...]) -> dict[str, Fidelity]:
    return {each.metric: each for each in found}


BASE = ndimage.gaussian_filter(drawn(40, 16, 16, seed=9), (0, 2, 2)) * 4
GROUPS = [f"patient {row // 2}" for row in range(40)]


def test_a_network_against_itself_differs_by_nothing() -> None:
    one = explained(1, BASE, 0.0)
    for found in fidelity("class_map", one, one, GROUPS, other_seed=explained(2, BASE, 0.5)):
        assert found.distance.value == pytest.approx(0, abs=1e-12) and found.fraction is not None
        assert found.fraction.value == pytest.approx(0, abs=1e-12) and found.fraction.upper == pytest.approx(0, abs=1e-12)
        assert found.units == 20 and found.images == 40


def test_another_seed_as_the_candidate_is_a_whole_floor() -> None:
    other = explained(2, BASE, 0.5)
    for found in fidelity("gradient", explained(1, BASE, 0.0), other, GROUPS, other_seed=other):
        assert found.fraction is not None
        assert (found.fraction.value, found.fraction.lower, found.fraction.upper) == pytest.approx((1, 1, 1))


def test_the_controls_lie_in_order() -> None:
    found = by_metric(
        fidelity(
            "gradient",
            explained(1, BASE, 0.0),
            explained(2, BASE, 0.1),
            GROUPS,
            other_seed=explained(3, BASE, 0.6),
            random=explained(4, 0 * BASE, 1.0),
        )
    )
    for metric in ("spearman", "ssim", "top_iou"):
        each = found[metric]
        assert each.floor is not None and each.control is not None and each.fraction is not None
        assert each.distance.upper < each.floor.lower and each.floor.upper < each.control.lower
        assert 0 < each.fraction.lower < each.fraction.value < each.fraction.upper < 1
    assert found["gini"].difference is not None and found["gini"].baseline is not None


def test_without_a_floor_there_is_no_fraction() -> None:
    found = fidelity("gradient", explained(1, BASE, 0.0), explained(2, BASE, 0.1), GROUPS)
    assert all(each.floor is None and each.control is None and each.fraction is None for each in found)


def test_intervals_are_by_patient() -> None:
    """Every image twice, as two of one patient, tells no more than once."""
    base, twice = BASE[:20], np.repeat(BASE[:20], 2, axis=0)
    noisy = base + 0.3 * drawn(*base.shape, seed=5)
    once = fidelity("gradient", Explained(maps=base, values={}), Explained(maps=noisy, values={}), [str(row) for row in range(20)])
    repeated = fidelity(
        "gradient",
        Explained(maps=twice, values={}),
        Explained(maps=np.repeat(noisy, 2, axis=0), values={}),
        [str(row // 2) for row in range(40)],
    )
    width = [found[0].distance.upper - found[0].distance.lower for found in (once, repeated)]
    assert width[1] == pytest.approx(width[0], rel=1e-6)


def test_maps_too_small_for_a_window_are_compared_by_the_other_metrics() -> None:
    found = fidelity("gradient", Explained(maps=BASE[:, :8, :8], values={}), Explained(maps=BASE[:, 1:9, :8], values={}), GROUPS)
    assert [each.metric for each in found] == ["spearman", "top_iou"]
