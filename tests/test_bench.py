"""Timing: files take turns, answers are checked first, and the figures are what a clock would give."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError
from clinquant.edge import bench as bench_module
from clinquant.edge.bench import bench
from clinquant.edge.runtimes import Outputs
from tiny_bundle import write_model


class Fake:
    """A session that takes a known time."""

    runtime = "fake 0"

    def __init__(self, name: str, log: list[str], milliseconds: float, logits: NDArray[np.float32]) -> None:
        self._name, self._log, self._seconds, self._logits = name, log, milliseconds / 1000, logits

    def run(self, images: NDArray[np.uint8]) -> Outputs:
        self._log.append(f"{self._name}{images.shape[1]}")
        time.sleep(self._seconds)
        return Outputs(self._logits, None)


class Runtime:
    def __init__(self, sessions: dict[str, Fake]) -> None:
        self._sessions = sessions

    def load(self, path: Path, threads: int) -> Fake:
        return self._sessions[path.name]

    def version(self) -> str:
        return "fake 0"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(bench_module, "WARM_UP_SECONDS", 0.0)
    return monkeypatch


def test_files_take_turns_and_times_are_those_of_a_clock(quick: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    logits = np.zeros((1, 2), np.float32)
    sessions = {"a": Fake("a", log, 4, logits), "b": Fake("b", log, 1, logits)}
    quick.setattr(bench_module, "runtime_module", lambda name: Runtime(sessions))
    latency = bench({"a": Path("a"), "b": Path("b")}, 16, runs=5, fresh=False)
    assert log == ["a16", "a16", "b16", "b16", *["a16", "b16"] * 5, *["a1000", "b1000"] * 3]
    assert 4 <= latency["a"].median_ms < 7 and 1 <= latency["b"].median_ms < 4
    assert latency["a"].minimum_ms <= latency["a"].median_ms <= latency["a"].maximum_ms
    assert latency["a"].runs == 5 and latency["b"].megapixel_median_ms is not None


@pytest.mark.parametrize("logits", [np.array([[np.nan, 0]], np.float32), np.zeros((1, 3), np.float32)], ids=["nan", "three classes"])
def test_bad_answers_are_never_timed(quick: pytest.MonkeyPatch, logits: NDArray[np.float32]) -> None:
    sessions = {"a": Fake("a", [], 0, np.zeros((1, 2), np.float32)), "b": Fake("b", [], 0, logits)}
    quick.setattr(bench_module, "runtime_module", lambda name: Runtime(sessions))
    with pytest.raises(ClinquantError, match="bench-outputs"):
        bench({"a": Path("a"), "b": Path("b")}, 16, runs=3, fresh=False)


def test_a_fresh_process_answers_and_reports_its_failures(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx")
    assert bench({"m": model}, 16, runs=3)["m"].median_ms > 0
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ClinquantError, match="model-unreadable"):
        bench({"m": tmp_path / "broken.onnx"}, 16, runs=3)
