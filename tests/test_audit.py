"""The audit reaches what is known of planted and of real data sets."""

from __future__ import annotations

import pytest
from PIL import Image

from clinquant.core.artifact import read_json, write_json
from clinquant.data.audit import Audit, audit
from clinquant.data.read import read_study
from pictures import folder, scene, write


def audited(tmp_path, root, **options):
    return audit(read_study(root, **options))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "cache"))


def test_a_clean_set_has_nothing_to_say_but_its_size(tmp_path):
    found = audited(tmp_path, folder(tmp_path / "d", {"normal": 12, "sick": 12}))
    assert (found.exact, found.near, found.edited, found.conflicts, found.leaks, found.warnings) == ((),) * 6
    assert (found.images, found.distinct, found.units) == (24, 24, 24)
    assert found.balance == {"normal": {"images": 12, "units": 12}, "sick": {"images": 12, "units": 12}}
    assert found.sizes.commonest == {"96 x 96": 24} and found.modes == {"RGB": 24}
    assert not any(claim.decidable for claim in found.power)
    assert {claim.needed for claim in found.power if claim.metric in ("sensitivity", "specificity")} == {189}
    write_json(tmp_path / "audit.json", found, kind="audit")
    assert read_json(tmp_path / "audit.json", Audit, kind="audit") == found


def test_equal_pictures_with_two_labels_conflict(tmp_path):
    root = folder(tmp_path / "d", {"a": 12, "b": 12})
    write(root / "b" / "again.png", scene(0))
    found = audited(tmp_path, root)
    assert found.exact == found.conflicts == (("a/000.png", "b/again.png"),)
    assert "carry different labels" in found.warnings[0]


def test_near_copies_with_two_labels_conflict_with_all_their_copies(tmp_path):
    root = folder(tmp_path / "d", {"a": 12, "b": 12})
    write(root / "a" / "again.png", scene(0))
    write(root / "b" / "smaller.jpg", scene(0), "JPEG", quality=70)
    found = audited(tmp_path, root)
    assert found.near == (("a/000.png", "b/smaller.jpg"),)
    assert found.conflicts == (("a/000.png", "a/again.png", "b/smaller.jpg"),)
    assert found.distinct == 24


def test_a_planted_copy_of_a_test_patient_in_train_is_found(tmp_path):
    for side, first in (("train", 0), ("test", 100)):
        folder(tmp_path / "d" / side, {"a": 12, "b": 12}, first_seed=first)
    Image.fromarray(scene(103)).resize((120, 110)).save(tmp_path / "d" / "train" / "a" / "planted.jpg", quality=80)
    found = audited(tmp_path, tmp_path / "d")
    assert found.leaks == (("test/a/003.png", "train/a/planted.jpg"),)
    assert "1 of 24 test images (4%)" in found.warnings[0]


def test_a_patient_on_both_sides_is_a_leak(tmp_path):
    for side, first in (("train", 0), ("test", 100)):
        folder(tmp_path / "d" / side, {"a": 12, "b": 12}, first_seed=first)
    study = read_study(tmp_path / "d")
    rows = [f"{case.id},{'same' if case.id.endswith('a/000.png') else case.id}" for case in study.cases]
    (tmp_path / "g.csv").write_text("path,patient\n" + "\n".join(rows))
    found = audited(tmp_path, tmp_path / "d", groups=tmp_path / "g.csv")
    assert found.leaks == (("test/a/000.png", "train/a/000.png"),)
    assert found.units == 47


def test_sizes_and_modes_that_give_the_class_away(tmp_path):
    folder(tmp_path / "d", {"a": 12}, size=80)
    folder(tmp_path / "d", {"b": 12}, first_seed=50, size=100)
    for path in (tmp_path / "d" / "b").iterdir():
        Image.open(path).convert("L").save(path)
    warnings = audited(tmp_path, tmp_path / "d").warnings
    assert [warning.split(" alone")[0] for warning in warnings] == ["A picture's size", "A picture's mode (grey or colour)"]


def test_classes_that_are_too_small_or_too_uneven_are_named(tmp_path):
    warnings = audited(tmp_path, folder(tmp_path / "d", {"common": 40, "rare": 3})).warnings
    assert "'rare' has only 3 independent units" in warnings[0]
    assert "40 images of 'common', 3 of 'rare'" in warnings[1]
