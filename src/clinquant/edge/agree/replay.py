"""The process that answers a job with ONNX Runtime for Python: `python -m clinquant.edge.agree.replay FOLDER MACHINE`.

It imports numpy, the runtime and nothing else that is compiled, so that it runs in an emulated environment that holds just these.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from clinquant.core.artifact import read_json, write_json
from clinquant.edge.agree.job import ANSWERS, JOB, OUTPUTS, Answers, Job, output_file
from clinquant.edge.runtimes import runtime_module


def replay(folder: Path, machine: str) -> None:
    """Runs every picture of the job alone, and writes every output."""
    job = read_json(folder / JOB, Job, kind="agree-job")
    session = runtime_module("onnxruntime").load(folder / job.model, job.threads)
    for index, picture in enumerate(job.pictures):
        pixels = np.fromfile(folder / picture.file, dtype=np.uint8).reshape(1, picture.height, picture.width, 3)
        answered = session.run(pixels)
        for name, kind in OUTPUTS.items():
            values = getattr(answered, name)
            if values is not None:
                output_file(folder, index, name).write_bytes(values.astype(kind).tobytes())
    write_json(folder / ANSWERS, Answers(runtime=session.runtime, machine=machine), kind="agree-answers")


if __name__ == "__main__":
    replay(Path(sys.argv[1]), sys.argv[2])
