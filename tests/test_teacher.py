"""A network learns from another run's: the right term, the same images, and never from a network that may know the test set."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.lab.build import prepare, run_train
from clinquant.lab.objectives import Batch, Distillation
from clinquant.lab.options import BuildOptions
from clinquant.lab.run import Run
from clinquant.lab.teacher import TrainedTeacher
from test_build import TINY, write_patients
from test_exactness import classifier
from test_objectives import Small, drawn, forward, small

LABELS = torch.tensor([0, 1, 2])


def batch(module: Small, teacher: Small | None = None) -> Batch:
    given = drawn()
    return Batch(module=module, images=given, labels=LABELS, logits=forward(module, given), forward=forward, share=0.5, teacher=teacher)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_term_is_that_of_softened_probabilities(temperature: float) -> None:
    student, teacher = small(), small().eval()
    with torch.no_grad():
        teacher.fc.weight.mul_(-2)
    answered = batch(student, teacher)
    p, q = (np.exp(x.detach().double().numpy() / temperature) for x in (forward(teacher, answered.images), answered.logits))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    term = Distillation(weight=0.5, temperature=temperature).term(answered)
    assert term is not None
    assert float(term.detach()) == pytest.approx(0.5 * temperature**2 * float((p * np.log(p / q)).sum(1).mean()), rel=1e-3)
    term.backward()  # type: ignore[no-untyped-call]
    assert student.fc.weight.grad is not None and teacher.fc.weight.grad is None


def test_without_a_teacher_or_with_nonsense_it_says_so() -> None:
    with pytest.raises(ClinquantError) as caught:
        Distillation().term(batch(small()))
    assert caught.value.code == "objective-unfit"
    with pytest.raises(ClinquantError) as caught:
        Distillation(temperature=0)
    assert caught.value.code == "objective-invalid"


def test_a_teacher_sees_the_images_as_it_was_trained_on_them() -> None:
    source, student = classifier("resnet20"), Preprocess(size=28, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
    assert source.card.preprocess != student
    pixels = drawn(4, 28)
    mean, std = (torch.tensor(numbers).reshape(1, 3, 1, 1) for numbers in (student.mean, student.std))
    with torch.no_grad():
        own = source.module.eval()((pixels - 127) / 128)
        assert torch.allclose(TrainedTeacher(source, student)((pixels - mean) / std), own, atol=1e-4)
        larger = torch.nn.functional.interpolate(pixels, (56, 56), mode="nearest")
        assert TrainedTeacher(source, replace(student, size=56))((larger - mean) / std).shape == own.shape


def test_only_a_network_of_the_same_split_may_teach(tmp_path: Path) -> None:
    folder = write_patients(tmp_path / "patients")
    options = BuildOptions(data=str(folder), groups=str(folder / "patients.csv"), **TINY)  # type: ignore[arg-type]

    def trained(name: str, asked: BuildOptions) -> bytes:
        run = Run(tmp_path / name)
        with run.locked():
            prepare(run, asked)
            run_train(run, asked)
        return (tmp_path / name / "float.safetensors").read_bytes()

    alone = trained("teacher", options)
    taught = trained("student", replace(options, teacher=str(tmp_path / "teacher")))
    assert taught != alone
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    elsewhere = replace(options, data=str(moved), groups=str(moved / "patients.csv"), teacher=str(tmp_path / "teacher"))
    assert trained("moved", elsewhere), "the same images in another place are the same"
    foreign = replace(options, seed=7, teacher=str(tmp_path / "teacher")), "teacher-foreign"
    for asked, code in (foreign, (replace(options, teacher=str(folder)), "teacher-missing")):
        with pytest.raises(ClinquantError) as caught:
            trained(f"refused-{code}", asked)
        assert caught.value.code == code
        assert not (tmp_path / f"refused-{code}/float.safetensors").exists()
