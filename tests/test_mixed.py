"""Mixed precision: budgets are shared out as brute force would, and the exported file keeps to them."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.evidence.reliability import divergence
from clinquant.lab.export.builder import CONTRACT
from clinquant.lab.export.integer import export_integer
from clinquant.lab.ladder import check_budget
from clinquant.lab.mixed import TunedOn, check_time, exported, mix, told
from clinquant.lab.options import BuildOptions
from clinquant.lab.quantize.allocate import Option, allocate
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.passes import Calibrate, FoldBatchNorm
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.recipes import begin
from test_exactness import classifier, images


@pytest.mark.parametrize("seed", range(20))
def test_shares_out_as_brute_force_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = {
        f"layer{index}": tuple(
            Option(weight=bits, activation=8, bytes=int(rng.integers(1, 60)) * bits, loss=float(rng.uniform())) for bits in (8, 4, 2)
        )
        for index in range(5)
    }
    budget = int(rng.integers(100, 900))
    fitting = [
        sum(option.loss for option in chosen)
        for chosen in itertools.product(*options.values())
        if sum(option.bytes for option in chosen) <= budget
    ]
    found = allocate(options, budget)
    if not fitting:
        assert found is None
        return
    assert found is not None and sum(option.bytes for option in found.values()) <= budget
    assert sum(option.loss for option in found.values()) == pytest.approx(min(fitting))


def test_large_budgets_are_never_exceeded() -> None:
    options = {
        f"{i}": tuple(Option(weight=b, activation=8, bytes=1_234_567 * b // 8 + i, loss=1 / b) for b in (8, 4, 2)) for i in range(30)
    }
    found = allocate(options, 20_000_000)
    assert found is not None
    assert 0.97 * 20_000_000 < sum(option.bytes for option in found.values()) <= 20_000_000


def test_divergence_is_that_of_torch() -> None:
    p, q = torch.randn(9, 4), torch.randn(9, 4)
    expected = torch.nn.functional.kl_div(q.log_softmax(1), p.log_softmax(1), log_target=True, reduction="batchmean")
    assert divergence(p.numpy(), q.numpy()) == pytest.approx(float(expected), rel=1e-5)


def asked(tmp_path: Path, **choices: object) -> tuple[object, int]:
    """What `mix` gives for a network with random weights, and the bytes of the file."""
    source = classifier("resnet20")
    size = source.card.preprocess.size
    pixels, tuning = images(size, 8, 1), images(size, 12, 5)
    with torch.no_grad():
        logits = source.module(normalised(tuning, source.card.preprocess)).numpy()
    options = BuildOptions(data="", **choices)  # type: ignore[arg-type]
    calibration, model = Calibration(pixels=pixels, preprocess=source.card.preprocess), begin(source, options.bits)
    ticks: list[int] = []
    tuned_on = TunedOn(pixels=tuning, labels=logits.argmax(axis=1), logits=logits)
    mixed = mix(model, calibration, tuned_on, options, tmp_path, "key", lambda done, of: ticks.append(done))
    again = mix(model, calibration, tuned_on, options, tmp_path, "key", lambda done, of: pytest.fail("measured twice"))
    assert again == mixed and ticks == list(range(1, 21))
    made = quantize(source, pixels, bits=options.bits, widths=mixed.widths, recipes=("minmax",))["minmax"]
    return mixed, export_integer(lower(made), tmp_path / "integer.onnx", description=CONTRACT).stat().st_size


def test_a_file_keeps_to_its_budget(tmp_path: Path) -> None:
    mixed, size = asked(tmp_path, bits="auto", max_bytes=150_000)
    assert 110_000 < size <= 150_000
    assert {row.activation for row in mixed.table} == {8}  # type: ignore[attr-defined]
    assert len({row.weight for row in mixed.table}) > 1  # type: ignore[attr-defined]
    assert len(told(mixed.table)) == 22  # type: ignore[attr-defined]
    assert max(row.divergence["w2a8"] for row in mixed.table) > 0  # type: ignore[attr-defined]


def test_an_unreachable_budget_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ClinquantError) as raised:
        asked(tmp_path, bits="auto", max_bytes=20_000)
    assert raised.value.code == "budget-unreachable"
    least = re.search(r"give --max-bytes (\d+) or more", raised.value.fix)
    assert least is not None
    place = tmp_path / "again"
    place.mkdir()
    mixed, size = asked(place, bits="auto", max_bytes=int(least[1]))
    assert size == int(least[1]), "the least that is named can be had, and is what the shipped file takes"
    assert {row.weight for row in mixed.table} == {2}  # type: ignore[attr-defined]


def test_codes_without_a_zero_are_counted_as_they_are_stored() -> None:
    """DoReFa weights are looked up, by a node a layer: PACT's file is larger."""
    source, calibration = classifier("resnet20"), Calibration(pixels=images(28, 4, 1), preprocess=Preprocess(size=28))
    model = Calibrate()(FoldBatchNorm()(begin(source, "w4a8"), calibration), calibration)
    sizes = {recipe: len(exported(model, calibration, model.widths, recipe)) for recipe in ("lsq", "pact")}
    assert sizes["lsq"] + 20 * 50 < sizes["pact"]


def test_time_is_measured_and_fewer_bits_do_not_help(tmp_path: Path) -> None:
    source = classifier("resnet20")
    made = quantize(source, images(28, 4, 1), recipes=("minmax",))["minmax"]
    file = export_integer(lower(made), tmp_path / "integer.onnx").read_bytes()
    check_time(file, 28, 10_000.0)
    with pytest.raises(ClinquantError) as raised:
        check_time(file, 28, 1e-3)
    assert raised.value.code == "budget-unreachable" and "not faster" in str(raised.value)


@pytest.mark.parametrize(
    ("choices", "code"),
    [({"bits": "auto"}, "budget-missing"), ({"bits": "w4a4", "max_bytes": 1}, "budget-unused"), ({"bits": "w42"}, None)],
)
def test_budgets_belong_to_auto(choices: dict[str, object], code: str | None) -> None:
    options = BuildOptions(data="", **choices)  # type: ignore[arg-type]
    if code is None:
        check_budget(options)
        return
    with pytest.raises(ClinquantError) as raised:
        check_budget(options)
    assert raised.value.code == code
