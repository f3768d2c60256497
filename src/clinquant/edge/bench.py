"""Latency of whole exported graphs: interleaved, checked first, in a fresh process without a training framework."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import read_json, write_json
from clinquant.core.errors import ClinquantError, Exit
from clinquant.edge.runtimes import Session, runtime_module
from clinquant.evidence.evidence import Latency

MEGAPIXEL = (1000, 1000)
"""Height and width of the picture that is timed beside, to show what the graph's Resize costs."""

WARM_UP_SECONDS = 0.5
"""Each file runs at least this long before anything counts: caches, page faults and the processor's clock settle."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a fresh process is asked to time."""

    models: dict[str, str]
    size: int
    threads: int
    runs: int
    runtime: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A `ClinquantError` on its way between processes."""

    code: str
    message: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Timings:
    """What it answers: times, or the code, message and fix of what went wrong."""

    latency: dict[str, Latency]
    failure: Failure | None = None


def bench(
    models: Mapping[str, Path],
    size: int,
    *,
    threads: int = 1,
    runs: int = 50,
    runtime: str = "onnxruntime",
    fresh: bool = True,
) -> dict[str, Latency]:
    """Median, least and greatest time of one picture of `size` pixels through each file, and of a 1-megapixel one beside.

    Args:
        models: name -> file; they take turns (A B A B ...), so that whatever disturbs the machine disturbs all of them.
        size: side of the networks' input, so that the main figure holds no resampling.
        runs: counted runs of each file, at least 3.
        fresh: in a process of its own, where no other library's threads spin.

    Raises:
        ClinquantError: `bench-outputs` when a file's answers are not finite, not repeatable or not of one shape;
            `model-unreadable`; `bench-failed` when the process died.
    """
    if runs < 3:
        raise ClinquantError("bench-runs", f"{runs} runs.", fix="give at least 3 runs.")
    job = Job(
        models={name: str(Path(path).resolve()) for name, path in models.items()}, size=size, threads=threads, runs=runs, runtime=runtime
    )
    return _in_process(job) if fresh else measure(job)


def measure(job: Job) -> dict[str, Latency]:
    """Times in this process."""
    module = runtime_module(job.runtime)
    sessions = {name: module.load(Path(path), job.threads) for name, path in job.models.items()}
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (1, job.size, job.size, 3), dtype=np.uint8)
    large = random.integers(0, 256, (1, *MEGAPIXEL, 3), dtype=np.uint8)
    _check_outputs(sessions, picture)
    times, large_times = _interleaved(sessions, picture, job.runs), _interleaved(sessions, large, max(3, job.runs // 5))
    return {name: _latency(times[name], float(np.median(large_times[name]))) for name in sessions}


def _check_outputs(sessions: Mapping[str, Session], picture: NDArray[np.uint8]) -> None:
    shapes = set()
    for name, session in sessions.items():
        first, second = session.run(picture).logits, session.run(picture).logits
        shapes.add(first.shape)
        if not np.isfinite(first).all() or first.tobytes() != second.tobytes() or len(shapes) > 1:
            raise ClinquantError(
                "bench-outputs",
                f"the answers of {name!r} are not finite, not repeatable, or of another shape than the others' ({sorted(shapes)}).",
                fix="time files that answer the same classes; 'clinquant verify' tells whether one is broken.",
            )


def _interleaved(sessions: Mapping[str, Session], picture: NDArray[np.uint8], runs: int) -> dict[str, list[float]]:
    for session in sessions.values():
        _warm_up(session, picture)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(runs):
        for name, session in sessions.items():
            times[name].append(_milliseconds(session, picture))
    return times


def _warm_up(session: Session, picture: NDArray[np.uint8]) -> None:
    until = time.perf_counter() + WARM_UP_SECONDS
    while time.perf_counter() < until:
        session.run(picture)


def _milliseconds(session: Session, picture: NDArray[np.uint8]) -> float:
    start = time.perf_counter_ns()
    session.run(picture)
    return (time.perf_counter_ns() - start) / 1e6


def _latency(times: Sequence[float], megapixel: float) -> Latency:
    return Latency(
        median_ms=float(np.median(times)), minimum_ms=min(times), maximum_ms=max(times), runs=len(times), megapixel_median_ms=megapixel
    )


def _in_process(job: Job) -> dict[str, Latency]:
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder) / "job.json", Path(folder) / "timings.json"
        write_json(request, job, kind="bench-job")
        command = [sys.executable, "-m", "clinquant.edge.bench", str(request), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not answer.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ClinquantError(
                "bench-failed",
                f"the timing process ended with {done.returncode}: {last}",
                fix="run it again; if it fails again, see 'clinquant doctor'.",
                exit_code=Exit.ENVIRONMENT,
            )
        timings = read_json(answer, Timings, kind="bench-timings")
        if timings.failure:
            raise ClinquantError(timings.failure.code, timings.failure.message, fix=timings.failure.fix)
        return timings.latency


def main(arguments: Sequence[str]) -> None:
    """The fresh process: reads a job, writes its timings or what went wrong."""
    try:
        timings = Timings(latency=measure(read_json(arguments[0], Job, kind="bench-job")))
    except ClinquantError as error:
        timings = Timings(latency={}, failure=Failure(code=error.code, message=error.message, fix=error.fix))
    write_json(arguments[1], timings, kind="bench-timings")


if __name__ == "__main__":
    main(sys.argv[1:])
