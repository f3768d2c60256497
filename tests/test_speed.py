"""The packaged table of times: of every zoo network, and that of the measurements."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from clinquant.edge.app.speed import Speed, speeds
from clinquant.lab.architectures import ARCHITECTURES


def test_every_network_has_the_times_that_were_measured() -> None:
    lines = Path("benchmarks/results/wasm.csv").read_text(encoding="utf-8").splitlines()
    measured = {row["architecture"]: row for row in csv.DictReader(line for line in lines if not line.startswith("#"))}
    assert speeds().keys() == ARCHITECTURES.keys() == measured.keys()
    for name, speed in speeds().items():
        assert speed.browser_mixed == pytest.approx(float(measured[name]["wasm_mixed_over_float"]))
        assert measured[name]["wasm_integer_same_bits"] == measured[name]["wasm_mixed_same_bits"] == "True"


def test_slower_than_float_is_said() -> None:
    assert "slower" in str(Speed(native=0.5, browser_integer=1.4, browser_mixed=1.04))
    assert "slower" not in str(Speed(native=0.5, browser_integer=1.4, browser_mixed=0.9))
