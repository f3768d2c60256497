"""A trained float network of another run as the teacher of a smaller one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from clinquant.core.artifact import read_json
from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.lab.classifier import Classifier

FLOAT_FILES = ("float.safetensors", "float.card.json", "study.json", "split.json")
"""What a run with a trained float network holds, and what it was trained on."""


class TrainedTeacher(nn.Module):
    """Answers images that are normalised for a student: normalises and sizes them for itself first.

    Args:
        classifier: the network and its card.
        student: how the images that come were normalised.
    """

    def __init__(self, classifier: Classifier, student: Preprocess) -> None:
        super().__init__()
        self.module = classifier.module.eval().requires_grad_(False)
        self.size = classifier.card.preprocess.size
        own = classifier.card.preprocess
        for name, preprocess in (("student", student), ("own", own)):
            for part in ("mean", "std"):
                self.register_buffer(f"{name}_{part}", torch.tensor(getattr(preprocess, part)).reshape(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, k] of float [n, 3, s, s]."""
        pixels = x.float() * self.get_buffer("student_std") + self.get_buffer("student_mean")
        if pixels.shape[-1] != self.size:
            pixels = functional.interpolate(pixels, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        logits: Tensor = self.module(((pixels - self.get_buffer("own_mean")) / self.get_buffer("own_std")).to(x.dtype))
        return logits


def check_teacher(run: str | None) -> None:
    """Raises ClinquantError `teacher-missing` where the directory holds no trained float network."""
    missing = next((name for name in FLOAT_FILES if run is not None and not (Path(run) / name).is_file()), None)
    if missing:
        raise ClinquantError(
            "teacher-missing",
            f"--teacher {run} has no {missing}.",
            fix="give the directory of a finished 'clinquant train' or 'clinquant build'.",
        )


def seen(study: Study, split: Split) -> frozenset[tuple[str, int]]:
    """(hash, label) of every image that training sees, wherever it lies."""
    cases = {case.id: case for case in study.cases}
    return frozenset((cases[name].sha256, cases[name].label) for name in (*split.train, *split.tune))


def load_teacher(run: Path, study: Study, split: Split, student: Preprocess) -> TrainedTeacher:
    """The float network of the directory `run`, if it was trained on the very images that the student trains on.

    Others could be of this test set, or of its patients, and the student would learn them from it.

    Raises:
        ClinquantError: `artifact-missing`, `teacher-foreign`.
    """
    classifier = Classifier.load(run)
    theirs = read_json(run / "study.json", Study, kind="study"), read_json(run / "split.json", Split, kind="split")
    if (classifier.card.classes, seen(*theirs)) != (study.classes, seen(study, split)):
        raise ClinquantError(
            "teacher-foreign",
            f"the network of {run} was trained on other data or another split: it may have seen this test set.",
            fix="train the teacher on the same DATA with the same --seed, --groups and --test.",
        )
    return TrainedTeacher(classifier, student)
