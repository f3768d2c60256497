"""Copies are found whatever was done to the file; look-alikes, mirrors and drifting chains are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from clinquant.data import likeness
from clinquant.data.copies import find_copies, linked_groups
from clinquant.data.fingerprints import fingerprint, fingerprints, recall
from clinquant.data.likeness import Likeness, normalised
from clinquant.data.read import read_study
from pictures import folder, scene, write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "cache"))


def jpeg(image, quality):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(io.BytesIO(out.getvalue()))


SLIGHT_CHANGES = {
    "jpeg": lambda image: jpeg(image, 60),
    "smaller": lambda image: image.resize((130, 150), Image.Resampling.BILINEAR),
    "larger": lambda image: image.resize((500, 480), Image.Resampling.BICUBIC),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.08),
    "all": lambda image: jpeg(ImageEnhance.Brightness(image.resize((140, 140))).enhance(0.93), 50),
}
EDITS = {
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.8),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.4),
    "sharper": lambda image: ImageEnhance.Brightness(image.filter(ImageFilter.UnsharpMask(2, 80, 0))).enhance(0.6),
}
OTHERS = {
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "cropped": lambda image: image.crop((40, 40, 200, 200)),
}


def copies_of(tmp_path, changes):
    """Study of ten scenes of which the first stands again in each of the changed ways."""
    root = folder(tmp_path / "d", {"a": 5, "b": 5}, size=200)
    first = Image.open(root / "a" / "000.png")
    for name, change in changes.items():
        change(first).save(root / "b" / f"{name}.png")
    study = read_study(root)
    return find_copies(study, fingerprints(study))


def test_files_with_equal_pixels(tmp_path):
    root = folder(tmp_path / "d", {"a": 5, "b": 5})
    write(root / "b" / "again.bmp", scene(0), "BMP")
    write(root / "b" / "more.png", scene(0), compress_level=1)
    study = read_study(root)
    copies = find_copies(study, fingerprints(study))
    assert copies.exact == (("a/000.png", "b/again.bmp", "b/more.png"),)
    assert copies.near == copies.edited == ()


def test_the_same_picture_again_is_near(tmp_path):
    copies = copies_of(tmp_path, SLIGHT_CHANGES)
    assert copies.near == (("a/000.png", *sorted(f"b/{name}.png" for name in SLIGHT_CHANGES)),)
    assert copies.exact == copies.edited == ()


def test_the_same_picture_edited_is_told_from_a_near_copy(tmp_path):
    copies = copies_of(tmp_path, EDITS)
    assert copies.near == ()
    assert copies.edited == (("a/000.png", *sorted(f"b/{name}.png" for name in EDITS)),)


def test_mirrored_turned_and_cropped_pictures_are_not_copies(tmp_path):
    copies = copies_of(tmp_path, OTHERS)
    assert copies.exact == copies.near == copies.edited == ()


def test_flat_pictures_are_like_nothing():
    flat = np.stack([np.full((64, 64), level, np.uint8) for level in (0, 0, 40, 255)])
    alike = Likeness.of(flat, np.zeros(4, np.bool_))
    assert not alike.structure.any()
    assert alike.pairs()[0].size == 0


def test_a_shared_black_border_does_not_make_two_pictures_alike():
    framed = np.zeros((6, 64, 64), np.uint8)
    for k in range(6):
        framed[k, 16:48, 16:48] = scene(k, 32)[..., 0]
    assert Likeness.of(framed, np.zeros(6, np.bool_)).pairs()[0].size == 0


def test_normalisation_against_a_plain_sum():
    picture = scene(3, 64)[..., 0]
    padded = np.pad(picture.astype(np.float64), likeness.RADIUS, mode="reflect")
    width = 2 * likeness.RADIUS + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (width, width))
    expected = (picture - windows.mean(axis=(2, 3))) / (windows.std(axis=(2, 3)) + likeness.FLOOR)
    expected = (expected - expected.mean()) / np.linalg.norm(expected - expected.mean())
    assert np.allclose(normalised(picture[None])[0], expected, atol=1e-5)


def test_pairs_are_those_of_a_full_search(monkeypatch):
    monkeypatch.setattr(likeness, "TILE", 7)
    monkeypatch.setattr(likeness, "CHUNK", 5)
    rng = np.random.default_rng(0)
    pictures = np.stack([scene(k % 20, 64)[..., 0] for k in range(50)]).astype(np.int16)
    noisy = np.clip(pictures + rng.integers(-6, 7, pictures.shape), 0, 255).astype(np.uint8)
    found = Likeness.of(noisy, np.zeros(50, np.bool_))
    flat = normalised(noisy).reshape(50, -1)
    expected = np.argwhere(np.triu(flat @ flat.T >= likeness.ALIKE, 1))
    assert sorted(zip(*(side.tolist() for side in found.pairs()), strict=True)) == sorted(map(tuple, expected.tolist()))
    assert len(expected) >= 30


def test_a_chain_does_not_become_one_group():
    line = np.arange(30)
    groups = linked_groups(line[:-1], line[1:], lambda a, b: np.abs(a - b) <= 3)
    assert sorted(k for group in groups for k in group) == sorted({k for group in groups for k in group})
    assert max(map(len, groups)) <= 7
    whole = linked_groups(line[:-1], line[1:], lambda a, b: np.full(len(a), True))
    assert whole == [list(range(30))]


def test_fingerprints_are_kept_and_computed_again_when_lost(tmp_path, monkeypatch):
    study = read_study(folder(tmp_path / "d", {"a": 2, "b": 2}))
    kept = recall(study)
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "other"))
    assert recall(study) is None
    again = fingerprints(study)
    assert np.array_equal(kept.digests, again.digests) and np.array_equal(kept.thumbnails, again.thumbnails)
    next((tmp_path / "other").rglob("*.npz")).write_bytes(b"spoilt")
    assert np.array_equal(fingerprints(study).digests, kept.digests)


def test_fingerprints_do_without_a_place_to_keep_them(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "file"))
    study = read_study(folder(tmp_path / "d", {"a": 2, "b": 2}))
    assert len(fingerprints(study).digests) == 4


def test_digests_tell_shapes_apart():
    flat = np.zeros((4, 6, 3), np.uint8)
    assert fingerprint(flat)[0] != fingerprint(flat.reshape(6, 4, 3))[0]
