"""Pictures small enough to travel inside the page, as data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 176
"""Longest side of a thumbnail, pixels: about a column of the gallery."""

TINY = 64
"""Up to this side a picture is stored as it is, so that a 28-pixel study shows its true pixels."""


def thumbnail(pixels: NDArray[np.uint8], side: int = SIDE) -> str:
    """A data URI of `pixels` [h, w, 3], no side longer than `side`: PNG up to 64 pixels, else JPEG."""
    if max(pixels.shape[:2]) <= TINY:
        return data_uri(pixels, "PNG")
    return data_uri(shrunk(pixels, side), "JPEG")


def shrunk(pixels: NDArray[np.uint8], side: int = SIDE) -> NDArray[np.uint8]:
    """`pixels` with its longest side at most `side`, never enlarged."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return pixels
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), dtype=np.uint8)


def data_uri(pixels: NDArray[np.uint8], form: str) -> str:
    """`pixels` encoded as `form` (`PNG` or `JPEG`); a picture whose channels are equal is stored grey."""
    grey = bool((pixels == pixels[..., :1]).all())
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0])) if grey else Image.fromarray(pixels)
    out = io.BytesIO()
    if form == "PNG":
        image.save(out, "PNG", optimize=True)
    else:
        image.save(out, "JPEG", quality=80, optimize=True)
    return f"data:image/{form.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"
