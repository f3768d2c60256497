"""Runs an exported file on a study's cases: always the file's own bytes, for evidence always in a fresh process."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clinquant.core.artifact import read_json, sha256_file, write_json
from clinquant.core.errors import ClinquantError, Exit
from clinquant.core.predictions import Predictions
from clinquant.core.progress import Progress
from clinquant.data.corrupt import corrupted
from clinquant.data.pixels import Pixels
from clinquant.data.study import Study
from clinquant.edge.machine import machine
from clinquant.edge.runtimes import runtime_module


def predict_study(
    model: Path,
    study: Study,
    ids: Sequence[str],
    units: dict[str, str] | None = None,
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    optimise: bool = True,
    corruption: str | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Predictions of `model` for the cases `ids`, one image at a time, as a device would.

    Args:
        units: case id -> independent unit; a case that is not in it is a unit of its own.
        threads: of the runtime; the outputs of an integer file do not depend on it.
        optimise: whether the runtime may rewrite the file's graph.
        corruption: a name in `data.corrupt.CORRUPTIONS`: what every picture suffers first.

    Raises:
        ClinquantError: `model-unreadable`, `image-broken`, `classes-differ`.
    """
    session = runtime_module(runtime).load(model, threads, optimise=optimise)
    pixels, rows = Pixels(study), []
    for done, case in enumerate(ids, 1):
        picture = pixels[case] if corruption is None else corrupted(pixels[case], corruption, case)
        rows.append(session.run(picture[None]).logits[0])
        if progress:
            progress(done, len(ids))
    scores = np.asarray(rows, dtype=np.float32).reshape(len(ids), -1)
    if len(ids) and scores.shape[1] != len(study.classes):
        raise ClinquantError(
            "classes-differ",
            f"{model} answers {scores.shape[1]} classes, the study has {len(study.classes)}.",
            fix="use a model that was trained on the same classes.",
        )
    return Predictions(
        ids=tuple(ids),
        groups=tuple((units or {}).get(case, case) for case in ids),
        labels=study.labels(ids),
        scores=scores.reshape(len(ids), len(study.classes)),
        classes=study.classes,
        model_sha256=sha256_file(model),
        runtime=session.runtime,
        device=f"{machine()}, {threads} threads",
    )


STUDY = "study.json"
"""Beside a job: its study, cut to the cases asked for."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a fresh process is asked to predict, with its study beside it; `out` is a CSV, or a folder of one for each of `corruptions`."""

    model: str
    ids: tuple[str, ...]
    units: dict[str, str]
    runtime: str
    threads: int
    out: str
    optimise: bool = True
    corruptions: tuple[str, ...] = ()


def predict_fresh(
    model: Path,
    study: Study,
    ids: Sequence[str],
    units: dict[str, str] | None = None,
    *,
    out: Path,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    optimise: bool = True,
    progress: Progress | None = None,
) -> Predictions:
    """As `predict_study`, in a process of its own that holds no training framework; also writes the CSV to `out`."""
    job = dataclasses.replace(_job(model, ids, units, out, runtime, threads), optimise=optimise)
    _run_job(job, study, len(ids), progress)
    return Predictions.read(out)


def predict_corrupted(
    model: Path,
    study: Study,
    ids: Sequence[str],
    units: dict[str, str] | None = None,
    *,
    out: Path,
    corruptions: tuple[str, ...],
    runtime: str = "onnxruntime",
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Predictions]:
    """As `predict_fresh` for each corruption of the pictures, all in one process; writes a CSV for each to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    job = dataclasses.replace(_job(model, ids, units, out, runtime, threads), corruptions=corruptions)
    _run_job(job, study, len(ids) * len(corruptions), progress)
    return {name: Predictions.read(out / f"{name}.csv") for name in corruptions}


def _job(model: Path, ids: Sequence[str], units: dict[str, str] | None, out: Path, runtime: str, threads: int | None) -> Job:
    return Job(
        model=str(Path(model).resolve()),
        ids=tuple(ids),
        units={case: (units or {}).get(case, case) for case in ids},
        runtime=runtime,
        threads=threads or os.cpu_count() or 1,
        out=str(Path(out).resolve()),
    )


def _run_job(job: Job, study: Study, total: int, progress: Progress | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        job_file, wanted = Path(folder) / "job.json", set(job.ids)
        cases = tuple(case for case in study.cases if case.id in wanted)
        write_json(job_file.with_name(STUDY), dataclasses.replace(study, cases=cases), kind="study")
        write_json(job_file, job, kind="predict-job")
        _run_process(job_file, total, progress)


def _run_process(job_file: Path, total: int, progress: Progress | None) -> None:
    command = [sys.executable, "-m", "clinquant.edge.predict", str(job_file)]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if progress and line.startswith("done "):
                progress(int(line.split()[1]), total)
        if process.wait() != 0:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no message"])[-1]
            raise ClinquantError(
                "predict-failed", f"the prediction process ended with {process.returncode}: {last}", fix="run it again; see the message.",
                exit_code=Exit.ENVIRONMENT,
            )  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """The fresh process: reads a job, writes its CSV, prints `done N` as it goes."""
    job = read_json(arguments[0], Job, kind="predict-job")
    if "torch" in sys.modules:
        raise AssertionError("the prediction process must not hold torch")
    study = read_json(Path(arguments[0]).with_name(STUDY), Study, kind="study")

    def predict(out: Path, corruption: str | None, before: int) -> None:
        def tell(done: int, total: int) -> None:
            if done % 16 == 0 or done == total:
                print("done", before + done, flush=True)

        predict_study(
            Path(job.model),
            study,
            job.ids,
            job.units,
            runtime=job.runtime,
            threads=job.threads,
            optimise=job.optimise,
            corruption=corruption,
            progress=tell,
        ).write(out)

    if not job.corruptions:
        predict(Path(job.out), None, 0)
    for place, name in enumerate(job.corruptions):
        predict(Path(job.out) / f"{name}.csv", name, place * len(job.ids))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ClinquantError as error:
        print(error, file=sys.stderr)
        sys.exit(int(error.exit_code))
