"""Kvasir by name, as an archive and as a folder: the layout is checked, near-copies stay on one side of the split."""

from __future__ import annotations

import http.server
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from clinquant.core.errors import ClinquantError
from clinquant.data.audit import audit
from clinquant.data.datasets import kvasir, reader_for
from clinquant.data.datasets.kvasir import CLASSES, Kvasir, Version
from clinquant.data.read import read_study
from clinquant.data.split import split

PUBLISHED = dict(kvasir.VERSIONS)


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and releases of ten pictures a class."""
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "cache"))
    for name, version in list(kvasir.VERSIONS.items()):
        monkeypatch.setitem(kvasir.VERSIONS, name, Version(folder=version.folder, each=10, megabytes=1))


def scene(rng: np.random.Generator, side: int = 64) -> Image.Image:
    """Smooth blobs, as of an endoscope: one no more like another than pictures are."""
    return Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


def made(root: Path, each: int = 10) -> Path:
    """The published layout: in every class five scenes, each also a little brighter, as the next frame of a video."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for index in range(each // 2):
            first = scene(rng)
            first.save(root / name / f"{index}a.jpg", quality=95)
            first.filter(ImageFilter.GaussianBlur(0.4)).save(root / name / f"{index}b.jpg", quality=85)
    return root


def zipped(folder: Path, archive: Path, top: str) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(folder.rglob("*.jpg")):
            out.write(path, f"{top}/{path.relative_to(folder).as_posix()}")
        out.writestr(f"{top}/../evil.jpg", b"x")
        out.writestr("readme.txt", b"x")
    return archive


def test_both_versions_have_the_published_number_of_images() -> None:
    assert {name: version.each * len(CLASSES) for name, version in PUBLISHED.items()} == {"kvasir-v1": 4000, "kvasir-v2": 8000}


def test_folder_archive_and_name_give_the_same_pictures(tmp_path: Path) -> None:
    folder = made(tmp_path / "kvasir-dataset-v2")
    archive = zipped(folder, tmp_path / "elsewhere" / "kvasir-dataset-v2.zip", "kvasir-dataset-v2")
    listings = [reader_for(str(data)).listing(str(data)) for data in (folder, archive, "kvasir-v2")]
    for found in listings:
        assert found.kind == "kvasir" and found.name == "kvasir-v2" and found.classes == CLASSES and "research" in found.licence
        assert [item.id for item in found.items] == [item.id for item in listings[0].items] and len(found.items) == 80
    assert not list(tmp_path.rglob("evil.jpg")) and not list((tmp_path / "cache").rglob("readme.txt"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            return

    (tmp_path / "served").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path / "served", f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_a_release_is_fetched_once(tmp_path: Path, served: tuple[Path, str]) -> None:
    folder, address = served
    archive = zipped(made(tmp_path / "made"), folder / "kvasir-dataset.zip", "kvasir-dataset")
    said: list[str] = []
    found = Kvasir(archive=address).listing("kvasir", said.append)
    assert len(found.items) == 80 and len(said) == 1 and "MB" in said[0]
    archive.unlink()
    assert Kvasir(archive=address).listing("kvasir-v1", said.append).items == found.items and len(said) == 1
    with pytest.raises(ClinquantError, match=r"download-failed.*give the path"):
        Kvasir(archive=address).listing("kvasir-v2")


@pytest.mark.parametrize("damage", ["missing", "extra class", "no archive"])
def test_another_layout_is_refused(tmp_path: Path, damage: str) -> None:
    folder = made(tmp_path / "kvasir-dataset")
    if damage == "missing":
        next((folder / "polyps").iterdir()).unlink()
    elif damage == "extra class":
        (folder / "unlabelled").mkdir()
        scene(np.random.default_rng(1)).save(folder / "unlabelled" / "0.jpg")
    data = folder
    if damage == "no archive":
        data = tmp_path / "kvasir-dataset.zip"
        data.write_bytes(b"not a zip")
    with pytest.raises(ClinquantError) as caught:
        reader_for(str(data)).listing(str(data))
    assert caught.value.code == "kvasir-layout" and "\n" not in str(caught.value)


def test_a_folder_of_another_name_is_any_folder(tmp_path: Path) -> None:
    found = reader_for(str(made(tmp_path / "part", each=4)))
    assert type(found).__name__ == "Folder"


def test_near_copies_stay_on_one_side(tmp_path: Path) -> None:
    study = read_study(made(tmp_path / "kvasir-dataset"))
    found = audit(study)
    assert len(found.near) + len(found.exact) >= 36  # of 40 pairs
    parts = split(study, found, seed=0)
    side = {case: part for part in ("train", "tune", "test") for case in getattr(parts, part)}
    apart = [group for group in (*found.near, *found.exact) if len({side[case] for case in group if case in side}) > 1]
    assert apart == []
