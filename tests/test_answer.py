"""Answers for unlabelled images: found, decided by the card, referred when unsure."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.core.scope import Scope
from clinquant.core.sets import PredictionSets
from clinquant.edge.answer import answer, decide, find_images
from clinquant.edge.bundle import Bundle
from tiny_bundle import card, write_bundle, write_pictures


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", each=3)


def test_every_picture_is_answered_in_order(bundle: Bundle, pictures: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = answer(bundle, [str(pictures)], progress=lambda done, total: seen.append((done, total)))
    assert [Path(each.image).stem for each in found.answers] == ["bright0", "bright1", "bright2", "dark0", "dark1", "dark2"]
    assert [each.class_name for each in found.answers] == ["bright"] * 3 + ["dark"] * 3
    assert seen[-1] == (6, 6)


def test_files_folders_and_globs_name_each_image_once(pictures: Path) -> None:
    (pictures / "dark" / "notes.txt").write_text("no image")
    (pictures / "dark" / ".dark9.png").write_text("hidden")
    one = pictures / "dark" / "dark1.png"
    names = [path.name for path in find_images([str(one), str(pictures / "dark"), str(pictures / "*" / "*")])]
    assert names == ["dark1.png", "dark0.png", "dark2.png", "bright0.png", "bright1.png", "bright2.png"]


def test_nothing_to_answer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClinquantError, match="images-none"):
        find_images([str(tmp_path)])
    with pytest.raises(ClinquantError, match="image-missing"):
        find_images([str(tmp_path / "nowhere.png")])


def test_a_folder_of_dicom_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "1.2.840.1").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(ClinquantError, match="no image but DICOM") as caught:
        find_images([str(tmp_path)])
    assert caught.value.code == "images-none" and "PNG" in caught.value.fix


def test_a_broken_image_stops_unless_left_out(bundle: Bundle, pictures: Path) -> None:
    (pictures / "dark" / "dark1.png").write_bytes(b"\x89PNG nothing more")
    with pytest.raises(ClinquantError, match="image-broken"):
        answer(bundle, [str(pictures)])
    found = answer(bundle, [str(pictures)], skip_broken=True)
    assert len(found.answers) == 5 and [Path(path).name for path in found.broken] == ["dark1.png"]


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.01, 0.99), st.floats(0.5, 1))
def test_the_cards_threshold_and_referral_decide(first: float, second: float, threshold: float, refer_below: float) -> None:
    logits = np.array([first, second], np.float32)
    found = decide("x", logits, dataclasses.replace(card(), threshold=threshold, refer_below=refer_below))
    p = 1 / (1 + math.exp(float(logits[0]) - float(logits[1])))
    assert found.probabilities["bright"] == pytest.approx(p, abs=1e-12)
    assert found.class_name == ("bright" if found.probabilities["bright"] >= threshold else "dark")
    assert found.class_name is not None and found.probability == found.probabilities[found.class_name]
    assert found.refer == (max(found.probabilities.values()) < refer_below)


def test_no_class_is_named_out_of_scope() -> None:
    flat = (0.0,) * 820
    scope = Scope(mean=(100.0,) + (0.0,) * 39, whitening=(1.0, *flat[1:]), limit=30.0)  # only the brightness of the first block counts
    scoped, logits = dataclasses.replace(card(), scope=scope), np.array([0, 9], np.float32)
    inside, outside = (decide("x", logits, scoped, np.full((16, 16, 3), level, np.uint8)) for level in (129, 131))
    assert (inside.out_of_scope, inside.class_name, inside.refer, inside.distance) == (False, "bright", False, 29.0)
    assert (outside.out_of_scope, outside.class_name, outside.probability, outside.refer) == (True, None, None, True)
    assert outside.distance == 31.0
    with pytest.raises(ClinquantError, match="pixels-missing"):
        decide("x", logits, scoped)


def test_the_card_names_the_classes_that_a_case_may_have() -> None:
    three = Card(architecture="tiny", classes=("a", "b", "c"), positive=None, preprocess=Preprocess(size=16))
    logits = np.log(np.array([0.3, 0.5, 0.2], np.float32))
    bounds = {(0.25, 0.6, 0.25): ("b", "a"), (0.4, 0.6, 0.4): ("b",), (0.1, 0.1, 0.1): ("b", "a", "c")}  # the likeliest always
    for at_least, expected in bounds.items():
        sets = PredictionSets(rule="classwise", coverage=0.9, at_least=at_least, cases=99)
        assert decide("x", logits, dataclasses.replace(three, sets=sets)).classes == expected
    assert decide("x", logits, three).classes == ()


def test_without_a_threshold_the_likeliest_class_is_decided() -> None:
    three = Card(architecture="tiny", classes=("a", "b", "c"), positive=None, preprocess=Preprocess(size=16))
    found = decide("x", np.array([1, 3, 2], np.float32), three)
    assert (found.class_name, found.refer) == ("b", False)
    assert sum(found.probabilities.values()) == pytest.approx(1)
