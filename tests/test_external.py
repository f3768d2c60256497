"""An external test set: classes by name, and no picture that the model was built on."""

from __future__ import annotations

import pytest
from PIL import Image

from clinquant.core.errors import ClinquantError
from clinquant.data.audit import audit
from clinquant.data.external import align_classes, external_test
from clinquant.data.read import read_study
from clinquant.data.split import split
from pictures import folder, scene, write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def home(tmp_path):
    study = read_study(folder(tmp_path / "home", {"no": 20, "yes": 20}))
    return study, split(study, audit(study))


def seed_of(case):
    """The scene that a case of `home` shows."""
    name, number = case.split("/")
    return int(number[:3]) + (20 if name == "yes" else 0)


def test_copies_of_what_the_model_was_built_on_are_left_out(home, tmp_path):
    study, made = home
    away = folder(tmp_path / "away", {"no": 5, "yes": 5}, first_seed=200)
    write(away / "no" / "equal.png", scene(seed_of(made.train[0])))
    Image.fromarray(scene(seed_of(made.tune[0]))).resize((150, 140)).save(away / "no" / "near.jpg")
    write(away / "yes" / "tested.png", scene(seed_of(made.test[0])))
    write(away / "yes" / "twice.png", scene(200 + 5))
    write(away / "no" / "unclear.png", scene(200))
    write(away / "yes" / "unclear.png", scene(200))
    found = external_test(study, made, read_study(away))
    assert found.dropped == {
        "no/equal.png": f"copy of {made.train[0]}, which the model was built on",
        "no/near.jpg": f"copy of {made.tune[0]}, which the model was built on",
        "yes/twice.png": "exact copy of yes/000.png",
        **dict.fromkeys(
            ["no/000.png", "no/unclear.png", "yes/unclear.png"],
            "equal pictures carry different labels: no/000.png, no/unclear.png, yes/unclear.png",
        ),
    }
    assert set(found.ids) | set(found.dropped) == {case.id for case in found.study.cases}
    assert set(found.units) == set(found.ids)


def test_classes_are_matched_by_name(home, tmp_path):
    away = read_study(folder(tmp_path / "away", {"yes": 2, "no": 2}, first_seed=300))
    turned = align_classes(away, ("yes", "no"), 0)
    assert turned.classes == ("yes", "no") and turned.positive == 0
    assert {case.id.split("/")[0]: case.label for case in turned.cases} == {"yes": 0, "no": 1}


def test_other_classes_are_named(home, tmp_path):
    away = read_study(folder(tmp_path / "away", {"no": 2, "maybe": 2, "yes": 1}, first_seed=300))
    with pytest.raises(ClinquantError, match=r"classes-differ.*away has the unknown maybe"):
        external_test(*home, away)
    with pytest.raises(ClinquantError, match="away lacks grave and has the unknown maybe, no"):
        align_classes(away, ("yes", "grave"), 1)


def test_a_set_that_is_wholly_known_is_refused(home):
    study, made = home
    built_on = {*made.train, *made.tune}
    from dataclasses import replace

    known = replace(study, cases=tuple(case for case in study.cases if case.id in built_on))
    with pytest.raises(ClinquantError, match="external-known"):
        external_test(study, made, known)
