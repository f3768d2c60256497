"""The packaged table of times: of every zoo network, and that of the measurements."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from clinquant.cli import app as app_command
from clinquant.cli.main import run
from clinquant.edge.speed import TABLET, Speed, speeds
from clinquant.lab.architectures import ARCHITECTURES


def test_every_network_has_the_times_that_were_measured() -> None:
    lines = Path("benchmarks/results/wasm.csv").read_text(encoding="utf-8").splitlines()
    measured = {row["architecture"]: row for row in csv.DictReader(line for line in lines if not line.startswith("#"))}
    assert speeds().keys() == ARCHITECTURES.keys() == measured.keys()
    for name, speed in speeds().items():
        assert speed.size == ARCHITECTURES[name].size
        assert speed.browser_mixed == pytest.approx(float(measured[name]["wasm_mixed_over_float"]))
        assert measured[name]["wasm_integer_same_bits"] == measured[name]["wasm_mixed_same_bits"] == "True"


def test_slower_than_float_is_said() -> None:
    times = {
        "native_float_ms": 8.0,
        "native_integer_ms": 4.0,
        "browser_float_ms": 50.0,
        "browser_integer_ms": 70.0,
        "browser_mixed_ms": 51.0,
    }
    slow, quick = (Speed(size=224, native=0.5, browser_integer=1.4, browser_mixed=mixed, **times) for mixed in (1.04, 0.9))
    assert "slower" in str(slow) and "slower" not in str(quick)
    assert "8.0 -> 4.0 ms (0.50)" in str(quick) and "50.0 -> 51.0 ms (0.90, mixed kernels)" in str(quick)


def test_the_tablets_default_is_the_quickest_of_its_size_and_well_below_float() -> None:
    large = {name: speed for name, speed in speeds().items() if speed.size == speeds()[TABLET].size}
    assert min(large, key=lambda name: large[name].browser_ms) == TABLET and large[TABLET].browser <= 0.6


def test_methods_show_every_time_and_the_tablets_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods"]) == 0
    shown = capsys.readouterr().out
    assert all(str(speed) in shown for speed in speeds().values()) and "the tablet's default: --arch resnet18_half" in shown


@pytest.mark.parametrize(("architecture", "says"), [("mobilenet_v2", True), ("resnet18_half", False)])
def test_the_app_tells_of_the_tablets_network(architecture: str, says: bool) -> None:
    text = app_command._speed(architecture)
    assert architecture in text and ("--arch resnet18_half --teacher RUN" in text) == says
    assert ("warning: integers are slower" in text) == (speeds()[architecture].browser > 1)
    assert app_command._speed("mine.py:network") == ""
