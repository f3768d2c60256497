"""A class with next to no images is said to be so, and the run comes to its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clinquant.core.artifact import read_json
from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.edge.verify import verify
from clinquant.evidence.claims import Verdict
from clinquant.lab.build import build
from clinquant.lab.options import BuildOptions
from clinquant.lab.planning import Plan

TINY = {"arch": "resnet20", "size": 16, "epochs": 1}


def noise(folder: Path, counts: dict[str, int]) -> Path:
    """`folder/<class>/`: pictures of noise, each another."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8)).save(folder / name / f"{index}.png")
    return folder


@pytest.mark.parametrize("few", [1, 2])
def test_a_class_that_tune_lacks(few: int, tmp_path: Path) -> None:
    evidence = build(BuildOptions(data=str(noise(tmp_path / "data", {"healthy": 30, "ill": few})), **TINY), tmp_path / "run")
    assert evidence.verdict is Verdict.INCONCLUSIVE
    plan = read_json(tmp_path / "run/plan.json", Plan, kind="plan")
    assert any("No threshold can be chosen by youden" in warning for warning in plan.warnings)
    card = read_json(tmp_path / "run/bundle/card.json", Card, kind="card")
    assert card.threshold is None and card.threshold_rule == "argmax"
    verify(tmp_path / "run/bundle")


def test_a_class_that_train_lacks_is_named(tmp_path: Path) -> None:
    noise(tmp_path / "data/train", {"healthy": 20, "ill": 20})
    noise(tmp_path / "data/test", {"healthy": 5, "ill": 5, "rare": 2})
    with pytest.raises(ClinquantError) as caught:
        build(BuildOptions(data=str(tmp_path / "data"), **TINY), tmp_path / "run")
    assert caught.value.code == "class-without-images" and "'rare'" in caught.value.message
