"""Runs an exported file on a study's cases: always the file's own bytes, for evidence always in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clinquant.core.artifact import read_json, sha256_file, write_json
from clinquant.core.errors import ClinquantError, Exit
from clinquant.core.predictions import Predictions
from clinquant.data.pixels import Pixels
from clinquant.data.study import Study
from clinquant.edge.machine import machine
from clinquant.edge.runtimes import runtime_module

Progress = Callable[[int, int], None]


def predict_study(
    model: Path,
    study: Study,
    ids: Sequence[str],
    units: dict[str, str] | None = None,
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    progress: Progress | None = None,
) -> Predictions:
    """Predictions of `model` for the cases `ids`, one image at a time, as a device would.

    Args:
        units: case id -> independent unit; a case that is not in it is a unit of its own.
        threads: of the runtime; the outputs of an integer file do not depend on it.

    Raises:
        ClinquantError: `model-unreadable`, `image-broken`, `classes-differ`.
    """
    session = runtime_module(runtime).load(model, threads)
    pixels, labels = Pixels(study), {case.id: case.label for case in study.cases}
    rows = []
    for done, case in enumerate(ids, 1):
        rows.append(session.run(pixels[case][None]).logits[0])
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
        labels=np.array([labels[case] for case in ids], dtype=np.int64),
        scores=scores.reshape(len(ids), len(study.classes)),
        classes=study.classes,
        model_sha256=sha256_file(model),
        runtime=session.runtime,
        device=f"{machine()}, {threads} threads",
    )


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a fresh process is asked to predict."""

    model: str
    study: str
    ids: tuple[str, ...]
    units: dict[str, str]
    runtime: str
    threads: int
    out: str


def predict_fresh(
    model: Path,
    study: Study,
    ids: Sequence[str],
    units: dict[str, str] | None = None,
    *,
    out: Path,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """As `predict_study`, in a process of its own that holds no training framework; also writes the CSV to `out`."""
    with tempfile.TemporaryDirectory() as folder:
        study_file, job_file = Path(folder) / "study.json", Path(folder) / "job.json"
        write_json(study_file, study, kind="study")
        job = Job(
            model=str(Path(model).resolve()),
            study=str(study_file),
            ids=tuple(ids),
            units={case: (units or {}).get(case, case) for case in ids},
            runtime=runtime,
            threads=threads or os.cpu_count() or 1,
            out=str(Path(out).resolve()),
        )
        write_json(job_file, job, kind="predict-job")
        _run_process(job_file, len(ids), progress)
    return Predictions.read(out)


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
    study = read_json(job.study, Study, kind="study")

    def tell(done: int, total: int) -> None:
        if done % 16 == 0 or done == total:
            print("done", done, flush=True)

    predictions = predict_study(Path(job.model), study, job.ids, job.units, runtime=job.runtime, threads=job.threads, progress=tell)
    predictions.write(job.out)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ClinquantError as error:
        print(error, file=sys.stderr)
        sys.exit(int(error.exit_code))
