"""Every kind of image file becomes the same uint8 RGB by one stated rule, or a named error."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFile

from clinquant.core.errors import ClinquantError
from clinquant.data import decode as rules
from clinquant.data.decode import decode, picture
from pictures import encoded, scene


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


GREY = np.array([[0, 17, 128], [200, 254, 255]], np.uint8)
DEEP = np.array([[0, 1000, 32767], [32768, 65534, 65535]], np.uint16)


def test_grey_is_repeated():
    assert np.array_equal(decode(saved(Image.fromarray(GREY))), np.repeat(GREY[..., None], 3, axis=2))


def test_colour_keeps_its_order():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert np.array_equal(decode(saved(Image.fromarray(pixels))), pixels)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("window", [(0, 65535), (1000, 3000)])
def test_sixteen_bit_grey_is_windowed(kind, window):
    low, high = window
    expected = np.clip(np.rint((DEEP.astype(float) - low) * 255 / (high - low)), 0, 255)
    got = picture(saved(Image.fromarray(DEEP), kind), window)
    assert np.array_equal(got.pixels, np.repeat(expected.astype(np.uint8)[..., None], 3, axis=2))
    assert got.mode.startswith("I")


def test_big_endian_sixteen_bit_grey():
    image = Image.frombytes("I;16B", (3, 2), DEEP.astype(">u2").tobytes())
    assert np.array_equal(decode(saved(image, "TIFF")), decode(saved(Image.fromarray(DEEP))))


def test_the_window_leaves_eight_bit_grey_alone():
    data = saved(Image.fromarray(GREY))
    assert np.array_equal(decode(data, (0, 100)), decode(data))


def test_an_empty_window_is_refused():
    with pytest.raises(ClinquantError, match="window-empty"):
        decode(saved(Image.fromarray(DEEP)), (100, 100))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_black(mode):
    image = Image.new(mode, (2, 1), (200, 200, 200, 255)[-len(mode) :])
    image.putalpha(Image.fromarray(np.array([[0, 128]], np.uint8)))
    assert np.abs(decode(saved(image)).astype(int)[0] - [[0] * 3, [100] * 3]).max() <= 1


def test_a_palette_with_a_transparent_entry():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250])
    assert decode(saved(image)).tolist() == [[[250, 0, 0], [0, 250, 0], [0, 0, 250]]]
    assert decode(saved(image, transparency=1)).tolist() == [[[250, 0, 0], [0, 0, 0], [0, 0, 250]]]


def test_one_bit_and_cmyk_become_rgb():
    assert decode(saved(Image.fromarray(np.array([[True, False]])))).tolist() == [[[255] * 3, [0] * 3]]
    assert decode(saved(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF")).tolist() == [[[255, 0, 0]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    upright = scene(1, 32)[:20]
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    stored = Image.fromarray(upright)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose[turns[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode(saved(stored, exif=exif)), upright)


def test_arrays_follow_the_same_rules():
    assert np.array_equal(picture(GREY).pixels, decode(saved(Image.fromarray(GREY))))
    assert np.array_equal(picture(GREY[..., None]).pixels, picture(GREY).pixels)
    assert np.array_equal(picture(DEEP, (1000, 3000)).pixels, decode(saved(Image.fromarray(DEEP)), (1000, 3000)))
    with pytest.raises(ClinquantError, match="image-mode"):
        picture(GREY.astype(np.float32))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_named(kind, share):
    data = encoded(scene(2), kind)
    with pytest.raises(ClinquantError, match=r"image-broken.*ward/7\.png") as caught:
        decode(data[: int(len(data) * share)], name="ward/7.png")
    assert "\n" not in caught.value.message
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 64, b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_named(data):
    with pytest.raises(ClinquantError, match=r"image-broken.*x\.png"):
        decode(data, name="x.png")


def test_damaged_bytes_give_pixels_or_a_named_error():
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP"):
        good = encoded(scene(3, 48), kind)
        for _ in range(40):
            bad = bytearray(good)
            for place in rng.integers(0, len(bad), 6):
                bad[place] = rng.integers(0, 256)
            try:
                assert decode(bytes(bad)).dtype == np.uint8
            except ClinquantError as error:
                assert error.code in ("image-broken", "image-too-large", "image-mode")


def test_a_decompression_bomb_is_refused(monkeypatch):
    data = saved(Image.new("1", (300, 300)))
    monkeypatch.setattr(rules, "MOST_PIXELS", 300 * 300 - 1)
    with pytest.raises(ClinquantError, match=r"image-too-large.*300 x 300"):
        decode(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ClinquantError, match="image-too-large"):
        decode(data)


def test_floating_point_grey_is_refused():
    with pytest.raises(ClinquantError, match="image-mode"):
        decode(saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"))


def test_of_several_frames_the_first_is_read():
    for kind in ("MPO", "TIFF", "GIF"):
        frames = [Image.fromarray(scene(seed, 32)) for seed in (1, 2)]
        several = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        alone = saved(frames[0], "JPEG" if kind == "MPO" else kind)
        assert np.array_equal(decode(several), decode(alone)), kind
