"""A data set becomes a study: broken images are named, groups matched, the positive class stated."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from clinquant.core.artifact import read_json, write_json
from clinquant.core.errors import ClinquantError
from clinquant.data.datasets import reader_for
from clinquant.data.groups import with_groups
from clinquant.data.pixels import Pixels
from clinquant.data.positive import positive_class
from clinquant.data.read import read_study
from clinquant.data.study import Study
from pictures import encoded, folder, scene, write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path):
    return folder(tmp_path / "data", {"normal": 3, "sick": 3})


def refused(code, *arguments, **options):
    with pytest.raises(ClinquantError) as caught:
        read_study(*arguments, **options)
    assert caught.value.code == code, caught.value
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_study_names_its_cases_and_is_the_same_every_time(data):
    seen = []
    study = read_study(data, progress=lambda done, total: seen.append((done, total)))
    assert [case.id for case in study.cases][:2] == ["normal/000.png", "normal/001.png"]
    assert study.cases[0].sha256 == hashlib.sha256((data / "normal" / "000.png").read_bytes()).hexdigest()
    assert (study.cases[0].width, study.cases[0].height, study.cases[0].mode) == (96, 96, "RGB")
    assert (study.task, study.classes, study.positive) == ("binary", ("normal", "sick"), 1)
    assert seen == [(k, 6) for k in range(1, 7)]
    assert read_study(data) == study


def test_a_study_read_back_gives_the_same_pixels_in_another_process(data, tmp_path):
    study = read_study(data)
    write_json(tmp_path / "study.json", study, kind="study")
    again = Pixels(read_json(tmp_path / "study.json", Study, kind="study"))
    for case in study.cases:
        assert np.array_equal(again[case.id], np.asarray(Image.open(data / case.id).convert("RGB")))
        assert again.encoded(case.id) == (data / case.id).read_bytes()


def test_pixels_of_an_array_are_its_rows_in_three_channels(tmp_path):
    images = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.array([0, 1, 0, 1]))
    study = read_study(tmp_path / "x.npz")
    assert all(case.split is None for case in study.cases)
    assert study.cases[2].sha256 == hashlib.sha256(images[2].tobytes()).hexdigest()
    pixels = Pixels(study)
    assert np.array_equal(pixels["train/2"], np.repeat(images[2][..., None], 3, axis=2))
    assert pixels.encoded("train/2") is None
    with pytest.raises(ClinquantError, match="case-unknown"):
        pixels["train/9"]


def test_a_file_changed_since_it_was_read_is_refused(data):
    pixels = Pixels(read_study(data))
    (data / "sick" / "000.png").write_bytes(encoded(scene(99)))
    with pytest.raises(ClinquantError, match="image-changed"):
        pixels["sick/000.png"]


def test_a_broken_image_is_named_and_ends_the_run(data):
    (data / "sick" / "001.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    assert "sick/001.png" in refused("image-broken", data).message
    (data / "sick" / "002.png").write_bytes(b"")
    assert "2 images are so: also sick/002.png" in refused("image-broken", data).message


def test_broken_images_are_left_out_when_asked(data):
    (data / "sick" / "001.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    study = read_study(data, skip_broken=True)
    assert len(study) == 5 and list(study.broken) == ["sick/001.png"]
    for path in (data / "sick").iterdir():
        path.write_bytes(b"x")
    refused("one-class", data, skip_broken=True)


def test_a_missing_file_of_a_manifest_is_named(tmp_path):
    for k in range(3):
        write(tmp_path / f"{k}.png", scene(k))
    (tmp_path / "m.csv").write_text("path,label\n0.png,a\n1.png,b\n2.png,a\ngone.png,b\n")
    assert "gone.png" in refused("image-missing", tmp_path / "m.csv").message
    assert list(read_study(tmp_path / "m.csv", skip_broken=True).broken) == ["gone.png"]


def test_one_class_is_refused_before_any_image_is_read(tmp_path):
    (folder(tmp_path / "d", {"only": 1}) / "only" / "000.png").write_bytes(b"broken")
    refused("one-class", tmp_path / "d")


def test_sixteen_bit_grey_states_its_window(tmp_path):
    deep = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    for k, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        Image.fromarray(deep + k).save(tmp_path / name / "x.png")
    study = read_study(tmp_path, grey_window=(0, 4095))
    assert study.source.grey_window == (0, 4095)
    assert any("0 to 4095" in note for note in study.notes)
    assert Pixels(study)["a/x.png"].max() == 255
    assert Pixels(read_study(tmp_path))["a/x.png"].max() == 16


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("NORMAL", "PNEUMONIA"), 1),
        (("no", "yes"), 1),
        (("malignant", "normal, benign"), 0),
        (("benign", "malignant"), 1),
        (("benign", "normal"), 0),
        (("glioma", "notumor"), 0),
        (("no tumor", "tumor"), 1),
        (("Tumor", "No_Tumor"), 0),
        (("0", "1"), 1),
        (("covid", "healthy"), 0),
        (("melanoma", "non-melanoma"), 0),
        (("cat", "dog"), 1),
        (("normal-a", "normal-b"), 1),
    ],
)
def test_the_positive_class_is_told_from_the_names(classes, positive):
    index, sentence = positive_class(classes)
    assert index == positive
    assert repr(classes[index]) in sentence


def test_the_positive_class_may_be_named():
    assert positive_class(("normal", "sick"), "normal")[0] == 0
    assert positive_class(("a", "b", "c"), "b") == (None, "")
    with pytest.raises(ClinquantError, match=r"positive-unknown.*sick"):
        positive_class(("normal", "sick"), "sik")


def groups_csv(path, rows, head="path,patient"):
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_groups_are_matched_by_path(data, tmp_path):
    ids = [case.id for case in read_study(data).cases]
    csv = groups_csv(tmp_path / "g.csv", [f"./{case},p{k // 2}" for k, case in enumerate(ids)])
    assert [case.group for case in read_study(data, groups=csv).cases] == ["p0", "p0", "p1", "p1", "p2", "p2"]


def test_a_leading_folder_of_either_side_is_forgiven(data, tmp_path):
    ids = [case.id for case in read_study(data).cases]
    longer = groups_csv(tmp_path / "longer.csv", [f"export/data/{case},p" for case in ids])
    assert {case.group for case in read_study(data, groups=longer).cases} == {"p"}
    (tmp_path / "outer").mkdir()
    for side in ("train", "test"):
        folder(tmp_path / "outer" / side, {"normal": 1, "sick": 1}, first_seed=50)
    both = groups_csv(tmp_path / "short.csv", ["normal/000.png,p", "sick/000.png,q"])
    study = read_study(tmp_path / "outer", groups=both)
    assert [case.group for case in study.cases] == ["p", "q", "p", "q"]


def test_names_alone_do_not_match_across_classes(data, tmp_path):
    csv = groups_csv(tmp_path / "g.csv", [f"sick/{k:03d}.png,p" for k in range(3)])
    assert "normal/000.png (3 of 6" in refused("groups-missing", data, groups=csv).message


def test_the_split_column_and_another_group_column(data, tmp_path):
    ids = [case.id for case in read_study(data).cases]
    rows = [f"{case},s{k},{('train', 'val', 'test')[k % 3]}" for k, case in enumerate(ids)]
    csv = groups_csv(tmp_path / "g.csv", rows, head="path,scanner,split")
    assert "scanner" in refused("csv-column", data, groups=csv).message
    study = read_study(data, groups=csv, group_column="scanner")
    assert [case.split for case in study.cases] == ["train", "tune", "test"] * 2
    assert study.cases[4].group == "s4"
    refused("csv-column", data, groups=csv, group_column="slide")


def test_the_group_column_of_a_manifest(data, tmp_path):
    rows = [f"{case.id},{case.label},p{k},s{k % 2}" for k, case in enumerate(read_study(data).cases)]
    manifest = groups_csv(data / "m.csv", rows, head="path,label,patient,site")
    assert {case.group for case in read_study(manifest).cases} == {f"p{k}" for k in range(6)}
    assert {case.group for case in read_study(manifest, group_column="site").cases} == {"s0", "s1"}
    refused("csv-column", manifest, group_column="ward")
    refused("groups-missing", data, group_column="site")


def test_the_published_groupings_work(shared_data):
    for name, csv, groups in (
        ("kermany_cxr_224", "splits_by_patient.csv", 2846),
        ("bccd_cells_96", "splits_by_slide_image.csv", 364),
    ):
        listed = reader_for(str(shared_data / name)).listing(str(shared_data / name))
        items, _ = with_groups(listed.items, shared_data / name / csv)
        assert len({item.group for item in items}) == groups
        assert {item.split for item in items} == {"train", "tune", "test"}
