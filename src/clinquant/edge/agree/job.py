"""What a target is asked and what it answers, as files in a folder: any language can read and write them.

`job.json` names the model and the pictures. Picture i is `<i>.u8`, uint8 [h, w, 3]. Its outputs are `<i>.<output>.bin`, float32,
little-endian (`pixels`: uint8), in C order. `answers.json` comes last and says who answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinquant.core.artifact import read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JOB, ANSWERS = "job.json", "answers.json"
OUTPUTS = {"logits": "<f4", "class_map": "<f4", "pixels": "u1"}
"""Output -> type of its values as they are written; a model has the first and may have the others."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One input; `file` is its name in the folder."""

    file: str
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be run: the model file's name in the folder, the pictures in order, the runtime's threads, and whether a browser's runtime
    may optimise the graph.
    """

    model: str
    pictures: tuple[Picture, ...]
    threads: int = 1
    optimise: bool = True


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Who answered: runtime with version, and the machine in words."""

    runtime: str
    machine: str


def write_job(folder: Path, model: bytes, pictures: Sequence[NDArray[np.uint8]], *, threads: int = 1, optimise: bool = True) -> Path:
    """Writes a job to a new folder and returns it."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model)
    named = tuple(Picture(file=f"{index}.u8", height=picture.shape[0], width=picture.shape[1]) for index, picture in enumerate(pictures))
    for name, picture in zip(named, pictures, strict=True):
        (folder / name.file).write_bytes(picture.tobytes())
    write_json(folder / JOB, Job(model="model.onnx", pictures=named, threads=threads, optimise=optimise), kind="agree-job")
    return folder


def output_file(folder: Path, index: int, output: str) -> Path:
    """Where an output of picture `index` is written."""
    return folder / f"{index}.{output}.bin"


def read_answers(folder: Path) -> Answers:
    """Who answered."""
    return read_json(folder / ANSWERS, Answers, kind="agree-answers")


def outputs(folder: Path, index: int) -> dict[str, bytes]:
    """Output -> its bytes, for picture `index`."""
    files = {name: output_file(folder, index, name) for name in OUTPUTS}
    return {name: file.read_bytes() for name, file in files.items() if file.exists()}
