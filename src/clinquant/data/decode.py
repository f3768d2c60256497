"""Encoded image bytes to pixels: one stated rule for every kind of file, and a named error for a broken one."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from clinquant.core.errors import ClinquantError

Pixels8 = NDArray[np.uint8]

FULL_WINDOW = (0, 65535)
"""The whole nominal range of 16-bit grey."""

MOST_PIXELS = 80_000_000
"""A larger picture is refused unread: a small file may claim a size that fills the memory (a decompression bomb)."""

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
"""Only these decoders are ever tried: others (EPS, for one) start programs."""

IMAGE_SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k"],
)
"""File name endings that count as images, in lower case."""

DICOM_MARK = b"DICM"
"""At byte 128 of a DICOM file."""

EXPORT_DICOM = "export the pictures as PNG, grey of 8 or 16 bits (and give 16 bits a --grey-window)."

_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A decoded image.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, grey repeated.
        mode: as stored in the file (Pillow's name): `L`, `RGB`, `I;16` ...
        levels: lowest and highest stored level of grey above 8 bits, before the window; None for other pictures.
        frames: frames or pages in the file; the first was read.
    """

    pixels: Pixels8
    mode: str
    levels: tuple[int, int] | None = None
    frames: int = 1


def is_dicom(path: Path) -> bool:
    """True for a file that ends in `.dcm` or `.dicom` or bears the mark of the format (DICOM PS3.10, section 7.1)."""
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == DICOM_MARK
    except OSError:
        return False


def decode(data: bytes, grey_window: tuple[int, int] = FULL_WINDOW, *, name: str = "the image") -> Pixels8:
    """The picture as uint8 [H, W, 3]. See `picture` for the rules and the errors."""
    return picture(data, grey_window, name=name).pixels


def picture(data: bytes | NDArray[Any], grey_window: tuple[int, int] = FULL_WINDOW, *, name: str = "the image") -> Picture:
    """The decoded picture and how it was stored.

    Grey above 8 bits: level -> 255 (level - low) / (high - low), rounded half to even and clipped. Transparency (RGBA, LA,
    palette, tRNS) is laid over black. Palette, CMYK and YCbCr become RGB. EXIF rotation is applied. Of a file with several
    frames the first is read. An array of pixels follows the same rules.

    Args:
        data: the encoded bytes of a file, or uint8 or uint16 [H, W], [H, W, 1] or [H, W, 3].
        grey_window: the 16-bit levels that become 0 and 255.
        name: what an error calls the image.

    Raises:
        ClinquantError: `image-broken` (truncated, damaged, no image), `image-too-large`, `image-mode`, `window-empty`.
    """
    low, high = grey_window
    if low >= high:
        raise ClinquantError("window-empty", f"the grey window {low} to {high} is empty.", fix="give a low level below the high one.")
    return _from_file(data, grey_window, name) if isinstance(data, bytes) else _from_array(data, grey_window, name)


def _from_file(data: bytes, window: tuple[int, int], name: str) -> Picture:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            mode, frames = image.mode, getattr(image, "n_frames", 1)
            _refuse_bomb(image, name)
            upright = ImageOps.exif_transpose(image)
            return Picture(pixels=_rgb(upright, window, name), mode=mode, levels=_levels(upright), frames=frames)
    except ClinquantError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, str(error)) from error
    except Exception as error:  # Pillow's decoders raise nearly every kind on damaged bytes
        if data[128:132] == DICOM_MARK:
            raise ClinquantError("image-broken", f"{name} is DICOM, which is not read.", fix=EXPORT_DICOM) from error
        reason = "no known image format" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
        raise ClinquantError(
            "image-broken",
            f"{name} cannot be decoded ({reason.splitlines()[0]}).",
            fix="replace or remove the file, or leave broken files out with --skip-broken.",
        ) from error


def _from_array(array: NDArray[Any], window: tuple[int, int], name: str) -> Picture:
    grey = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if grey.ndim not in (2, 3) or (grey.ndim == 3 and grey.shape[2] != 3) or grey.dtype not in (np.uint8, np.uint16):
        raise ClinquantError(
            "image-mode",
            f"{name} is {array.dtype} {list(array.shape)}, expected uint8 or uint16 [H, W] or [H, W, 3].",
            fix="store the pixels so.",
        )
    mode = ("L" if grey.ndim == 2 else "RGB") if grey.dtype == np.uint8 else ("I;16" if grey.ndim == 2 else "RGB;16")
    eight = grey if grey.dtype == np.uint8 else windowed(grey, window)
    levels = None if grey.dtype == np.uint8 else (int(grey.min()), int(grey.max()))
    return Picture(pixels=_repeated(eight) if grey.ndim == 2 else np.ascontiguousarray(eight), mode=mode, levels=levels)


def _rgb(image: Image.Image, window: tuple[int, int], name: str) -> Pixels8:
    if image.mode in _SIXTEEN_BIT:
        return _repeated(windowed(np.asarray(image), window))
    if image.mode == "F":
        raise ClinquantError(
            "image-mode", f"{name} holds floating-point grey levels, which have no nominal range.", fix="save it as 8 or 16 bit grey."
        )
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, (0, 0, 0, 255)), over)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _levels(image: Image.Image) -> tuple[int, int] | None:
    if image.mode not in _SIXTEEN_BIT:
        return None
    grey = np.asarray(image)
    return int(grey.min()), int(grey.max())


def windowed(grey: NDArray[Any], window: tuple[int, int]) -> Pixels8:
    """Grey levels mapped linearly so that `window` becomes 0 to 255: uint8, same shape, half to even, clipped."""
    low, high = window
    scaled = (grey.astype(np.float64) - low) * (255.0 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _repeated(grey: Pixels8) -> Pixels8:
    return np.repeat(grey[..., None], 3, axis=2)


def _refuse_bomb(image: Image.Image, name: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(name, f"{image.width} x {image.height} pixels")


def _too_large(name: str, size: str) -> ClinquantError:
    return ClinquantError(
        "image-too-large",
        f"{name} is refused: {size}, at most {MOST_PIXELS:,} pixels are read.",
        fix="save it smaller, or leave it out with --skip-broken.",
    )
