"""What is known of real data sets is found by the audit; each takes some seconds."""

from __future__ import annotations

import pytest

from clinquant.data.audit import audit
from clinquant.data.read import read_study


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_kermany_has_24_groups_of_exact_copies_and_merges_no_two_patients(shared_data):
    found = audit(read_study(shared_data / "kermany_cxr_224"))
    assert len(found.exact) == 24
    assert found.near == found.edited == found.conflicts == ()


def test_busi_has_one_picture_with_two_labels(shared_data):
    found = audit(read_study(shared_data / "busi_256"))
    assert ("benign/benign_433.png", "malignant/malignant_145.png") in found.conflicts
    assert len(found.exact) == 1 and len(found.near) > 50


@pytest.mark.slow
def test_small_pictures_of_different_patients_are_not_merged(shared_data):
    found = audit(read_study(shared_data / "medmnist" / "pneumoniamnist_rebuilt.npz"))
    assert found.near == found.edited == ()


def test_breastmnist_has_copies_across_its_published_split(shared_data):
    found = audit(read_study(shared_data / "medmnist" / "breastmnist.npz"))
    assert ("test/76", "train/115") in found.conflicts
    assert any("34 of 156 test images" in warning for warning in found.warnings)


@pytest.mark.slow
def test_a_third_of_the_brain_test_set_is_also_in_train(shared_data):
    found = audit(read_study(shared_data / "brain_mri4_224"))
    leaked = {case for group in found.leaks for case in group if case.startswith("Testing/")}
    assert 0.3 < len(leaked) / 1311 < 0.45
    assert max(map(len, found.near)) < 30


@pytest.mark.slow
@pytest.mark.index
def test_about_1300_of_the_3000_pictures_of_br35h_are_distinct():
    found = audit(read_study("br35h"))
    assert found.images == 3000
    assert 1250 < found.distinct < 1400
