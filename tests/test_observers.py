"""Observers: a streaming histogram that forgets nothing, and ranges checked against plain numpy."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clinquant.core.affine import TensorSpec, fake_quantize, qparams_from_range
from clinquant.core.errors import ClinquantError
from clinquant.lab.quantize.observers import MSE, OBSERVERS, Entropy, Histogram, MinMax, Percentile
from clinquant.lab.quantize.observers.histogram import sampled

SPEC = TensorSpec()


def seen(*batches: np.ndarray) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.update(torch.from_numpy(batch.astype(np.float32)))
    return histogram


@pytest.mark.parametrize("name", OBSERVERS)
def test_every_observer_gives_a_range_with_zero_within_what_was_seen(name: str) -> None:
    rng = np.random.default_rng(0)
    for batch in (rng.normal(size=5000), np.abs(rng.normal(size=5000)), np.zeros(10), np.full(10, -3.0), np.array([1e-20])):
        histogram = seen(batch)
        low, high = OBSERVERS[name]().range(histogram, SPEC)
        assert histogram.low <= low <= 0 <= high <= histogram.high


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40), min_size=1, max_size=6))
@settings(max_examples=60)
def test_the_histogram_counts_every_value_whatever_the_order(batches: list[list[float]]) -> None:
    arrays = [np.array(batch) for batch in batches]
    histogram = seen(*arrays)
    values = np.concatenate(arrays)
    assert histogram.low == min(0.0, values.astype(np.float32).min()) and histogram.high == max(0.0, values.astype(np.float32).max())
    if histogram.reach:
        late = next(i for i, batch in enumerate(arrays) if batch.astype(np.float32).any())
        assert histogram.counts.sum() == sum(len(batch) for batch in arrays[late:])
        assert histogram.reach >= np.abs(values.astype(np.float32)).max()


def test_minmax_is_the_range() -> None:
    assert MinMax().range(seen(np.array([-1.5, 2.0]), np.array([0.5])), SPEC) == (-1.5, 2.0)


def test_percentile_equals_numpys() -> None:
    values = np.abs(np.random.default_rng(1).normal(size=60_000))
    low, high = Percentile(99.9).range(seen(*np.split(values, 6)), SPEC)
    assert low == 0.0
    assert high == pytest.approx(np.percentile(values, 99.9), rel=5e-3)


def test_mse_equals_a_search_over_the_values_themselves() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([np.abs(rng.normal(size=60_000)), [40.0]])
    spec = TensorSpec(bits=4)
    _, high = MSE().range(seen(values), spec)

    def error(end: float) -> float:
        return float(np.mean((fake_quantize(values.astype(np.float32), qparams_from_range(0.0, end, spec)) - values) ** 2))

    shares = np.linspace(1.0, 0.05, 400) * 40
    best = shares[int(np.argmin([error(end) for end in shares]))]
    assert error(high) <= error(best) * 1.6 + 1e-3 or high == pytest.approx(8.0, rel=0.05)
    assert error(high) < error(40.0) / 10


def test_entropy_drops_a_lone_outlier_and_keeps_a_uniform() -> None:
    rng = np.random.default_rng(3)
    bell = np.abs(rng.normal(size=60_000))
    _, high = Entropy().range(seen(np.concatenate([bell, [100.0]])), SPEC)
    assert high < 50
    _, high = Entropy().range(seen(rng.uniform(0, 1, 60_000)), SPEC)
    assert high > 0.95


def test_memory_is_flat_in_the_number_of_batches() -> None:
    histogram, batch = Histogram(), torch.randn(8, 16, 32, 32)
    histogram.update(batch)
    tracemalloc.start()
    for _ in range(5):
        histogram.update(batch)
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(100):
        histogram.update(batch * 1.01)
    assert tracemalloc.get_traced_memory()[0] - first < 50_000
    tracemalloc.stop()


@pytest.mark.parametrize("shape", [(8, 96, 28, 112), (3, 17, 61, 59), (9, 1280, 14, 7), (2, 40, 5, 5)])
def test_what_is_seen_does_not_depend_on_the_order_of_memory(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    held = values.to(memory_format=torch.channels_last)
    assert torch.equal(sampled(held), sampled(values))
    seen = [Histogram(), Histogram()]
    for histogram, tensor in zip(seen, (values, held), strict=True):
        histogram.update(tensor)
    assert (seen[0].low, seen[0].high, seen[0].reach) == (seen[1].low, seen[1].high, seen[1].reach)
    np.testing.assert_array_equal(seen[0].counts, seen[1].counts)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ClinquantError) as caught:
        seen(np.array([1.0, np.nan]))
    assert caught.value.code == "activation-nan"


def test_percentile_refuses_impossible_values() -> None:
    for percent in (50.0, 101.0):
        with pytest.raises(ClinquantError):
            Percentile(percent)
