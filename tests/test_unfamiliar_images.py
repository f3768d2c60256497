"""Image sets as hospitals export them: scans of 12 bits in 16, DICOM, masks among pictures, folders a patient, several labels a row."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clinquant.core.errors import ClinquantError
from clinquant.data.audit import audit
from clinquant.data.read import read_study
from clinquant.data.split import split
from pictures import folder, scene, write

DICOM = b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "cache"))


def refused(code, *arguments, **options):
    with pytest.raises(ClinquantError) as caught:
        read_study(*arguments, **options)
    assert caught.value.code == code and "\n" not in str(caught.value)
    return caught.value


def deep_folder(root, low, high, dtype=np.uint16):
    for seed, name in enumerate(("a", "b")):
        levels = low + scene(seed)[..., 0].astype(float) / 255 * (high - low)
        levels.flat[:2] = low, high
        (root / name).mkdir(parents=True)
        Image.fromarray(levels.astype(dtype)).save(root / name / "x.tif")
    return root


def note_of(study, word):
    return next((note for note in study.notes if word in note), "")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0, 3071, "They hold 0 to 3071, so of 256 grey levels 12 are used: say --grey-window 0 4095, or your own window."),
        (900, 16383, "of 256 grey levels 61 are used: say --grey-window 0 16383"),
        (0, 65535, ""),
        (12, 40000, ""),
    ],
)
def test_scans_that_use_few_of_sixteen_bits_are_said_to_come_out_nearly_black(tmp_path, low, high, said):
    note = note_of(read_study(deep_folder(tmp_path / "scans", low, high)), "16-bit grey")
    assert note.startswith("2 images of 16-bit grey: levels 0 to 65535 become 0 to 255.")
    assert said in note and ("They hold" in note) == bool(said)


def test_the_window_that_is_proposed_silences_the_warning(tmp_path):
    assert "They hold" not in note_of(read_study(deep_folder(tmp_path / "scans", 0, 3071), grey_window=(0, 4095)), "16-bit grey")


def test_levels_outside_the_full_window_are_said_to_be_cut_off(tmp_path):
    note = note_of(read_study(deep_folder(tmp_path / "scans", -1024, 60000, np.int32)), "16-bit grey")
    assert "They hold -1024 to 60000, so the others are cut off: say --grey-window -1024 65535" in note


def test_of_several_pages_the_first_is_read_and_the_others_are_told(tmp_path):
    root = folder(tmp_path / "data", {"a": 2, "b": 2})
    pages = [Image.fromarray(scene(seed)) for seed in (7, 8, 9)]
    pages[0].save(root / "a" / "stack.tif", save_all=True, append_images=pages[1:])
    assert "1 image holds several frames or pages (a/stack.tif): only the first is read." in read_study(root).notes


def test_dicom_is_named_with_what_to_do(tmp_path):
    root = tmp_path / "scans"
    for name in ("a/1.dcm", "b/IM0001"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(DICOM)
    found = refused("data-empty", root)
    assert "no image but DICOM (2 of 2 files)" in found.message and "PNG" in found.fix
    folder(root, {"a": 1, "b": 1})
    assert "2 of them are DICOM" in note_of(read_study(root), "ignored")
    (root / "a" / "000.png").write_bytes(DICOM)
    assert "a/000.png is DICOM" in refused("image-broken", root).message


def test_masks_beside_their_pictures_are_not_taken_for_pictures(tmp_path):
    root = folder(tmp_path / "ultrasound", {"benign": 2, "normal": 2})
    write(root / "benign" / "000_mask.png", scene(50))
    write(root / "benign" / "000_mask_1.png", scene(51))
    write(root / "normal" / "gas_mask.png", scene(52))
    study = read_study(root)
    ids = [case.id for case in study.cases]
    assert len(ids) == 5 and "normal/gas_mask.png" in ids
    assert "2 masks" in note_of(study, "masks") and "benign/000_mask.png" in note_of(study, "masks")


def patients(root):
    """4 patients of 2 images a class; patient p0 has images of both."""
    for label, name in enumerate(("sick", "well")):
        for patient in range(4):
            for image in range(2):
                number = patient if patient == 0 else patient + 4 * label
                write(root / name / f"p{number}" / f"{image}.png", scene(100 * label + 10 * patient + image))
    return root


def test_sub_folders_are_patients_when_asked_and_are_pointed_out_when_not(tmp_path):
    root = patients(tmp_path / "data")
    plain = read_study(root)
    assert "--groups folders" in note_of(plain, "sub-folders") and {case.group for case in plain.cases} == {None}
    study = read_study(root, groups="folders")
    assert {case.group for case in study.cases} == {f"p{k}" for k in (0, 1, 2, 3, 5, 6, 7)}
    assert "--groups folders" not in " ".join(study.notes) and "7 groups" in note_of(study, "sub-folders")
    parts = split(study, audit(study))
    sides = {side: {case.split("/")[1] for case in getattr(parts, side)} for side in ("train", "tune", "test")}
    assert not (sides["train"] & sides["test"] or sides["train"] & sides["tune"] or sides["tune"] & sides["test"])


def test_sub_folders_below_a_split_are_patients_too(tmp_path):
    for side in ("train", "test"):
        for name in ("a", "b"):
            write(tmp_path / "d" / side / name / f"{side}{name}" / "x.png", scene(len(side + name)))
    assert {case.group for case in read_study(tmp_path / "d", groups="folders").cases} == {"traina", "trainb", "testa", "testb"}


def test_folders_without_sub_folders_name_no_patients(tmp_path):
    refused("groups-missing", folder(tmp_path / "d", {"a": 2, "b": 2}), groups="folders")


@pytest.mark.parametrize("column", ["patient", "patient_id", "Patient ID", "patientId", "subject_id", "group"])
def test_a_manifest_names_its_patients_in_any_usual_column(tmp_path, column):
    folder(tmp_path, {"a": 4, "b": 4})
    rows = [f"{name}/{k:03d}.png,{name},p{k // 2}" for name in "ab" for k in range(4)]
    (tmp_path / "m.csv").write_text("\n".join([f"path,label,{column}", *rows]))
    study = read_study(tmp_path / "m.csv")
    assert [case.group for case in study.cases] == ["p0", "p0", "p1", "p1"] * 2
    assert "2 patients (or groups)" in note_of(study, "patients")


@pytest.mark.parametrize("joined", ["mass|nodule", "nodule; mass"])
def test_several_labels_in_a_row_are_refused(tmp_path, joined):
    folder(tmp_path, {"a": 3})
    (tmp_path / "m.csv").write_text(f"path\tlabel\na/000.png\tmass\na/001.png\tnodule\na/002.png\t{joined}\n")
    assert repr(joined) in refused("multi-label", tmp_path / "m.csv").message


def test_a_comma_in_a_class_of_its_own_is_no_second_label(tmp_path):
    folder(tmp_path, {"a": 2})
    (tmp_path / "m.csv").write_text("path\tlabel\na/000.png\tcancer, invasive\na/001.png\tcancer\n")
    assert read_study(tmp_path / "m.csv").classes == ("cancer", "cancer, invasive")


def test_too_few_images_are_not_blamed_on_copies(tmp_path):
    study = read_study(folder(tmp_path / "d", {"a": 2, "b": 2}))
    with pytest.raises(ClinquantError, match="split-empty") as caught:
        split(study, audit(study))
    assert "nothing is left for tune: 4 images are too few." in caught.value.message and "copies" not in caught.value.message


def test_two_groups_of_many_images_are_said_to_be_two(tmp_path):
    """A column `group` that holds the arm of a trial, for one."""
    folder(tmp_path, {"a": 6, "b": 6})
    rows = [f"{name}/{k:03d}.png,{name},{'control' if k % 2 else 'treated'}" for name in "ab" for k in range(6)]
    (tmp_path / "m.csv").write_text("\n".join(["path,label,group", *rows]))
    study = read_study(tmp_path / "m.csv")
    with pytest.raises(ClinquantError, match="12 images of 2 independent units") as caught:
        split(study, audit(study))
    assert caught.value.code == "split-empty"


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("a/000", "is a/000.png meant?"),
        ("A/000.png", "put the file there"),
        ("a/000.PNG", "is a/000.png meant?"),
        ("data/a/000.png", "relative to the folder of the CSV"),
    ],
)
def test_paths_of_a_manifest_that_nearly_fit_are_pointed_to(tmp_path, monkeypatch, written, fix):
    root = folder(tmp_path / "data", {"a": 2, "b": 2})
    monkeypatch.chdir(tmp_path)
    (root / "m.csv").write_text(f"path,label\n{written},a\nb/000.png,b\n")
    assert fix in refused("image-missing", "data/m.csv").fix
