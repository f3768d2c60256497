"""A class map laid over its picture: where the picture speaks for one class rather than another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clinquant.report.thumbnails import SIDE, shrunk

FOR = np.array([230, 97, 1], np.float64)
AGAINST = np.array([60, 120, 216], np.float64)
"""Orange and blue: told apart with every common colour deficiency, and in grey by the caption's words beside them."""

STRONGEST = 0.62
"""Opacity where the map is strongest: the picture must stay readable below."""


def contrast(pixels: NDArray[np.uint8], maps: NDArray[np.float32], for_class: int, against: int) -> NDArray[np.uint8]:
    """The picture [h, w, 3] tinted by `maps[for_class] - maps[against]`: orange where above zero, blue where below.

    The spatial mean of that difference is (but for the bias) the difference of the two logits, so the tint shows where
    the picture argues for either class. The strongest place of each picture is fully tinted: tints of two pictures are not to be compared.

    Args:
        pixels: uint8 [h, w, 3].
        maps: float32 [k, rows, columns], as the exported file's `class_map` output.
        for_class: index of the class shown in orange.
        against: index of the class shown in blue.
    """
    return tinted(pixels, np.asarray(maps[for_class], np.float32) - np.asarray(maps[against], np.float32))


def tinted(pixels: NDArray[np.uint8], values: NDArray[Any], peak: float | None = None) -> NDArray[np.uint8]:
    """The picture [h, w, 3] tinted by a map [rows, columns]: orange where it is above zero, blue where below.

    Args:
        peak: the absolute value that is fully tinted; None for the map's own greatest.
    """
    small = enlarged(shrunk(pixels))
    height, width = small.shape[:2]
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    smooth = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    most = float(np.abs(smooth).max()) if peak is None else peak
    strength = np.clip(smooth / most, -1, 1) if most > 0 else smooth
    opacity = STRONGEST * np.abs(strength)[..., None]
    tint = np.where(strength[..., None] > 0, FOR, AGAINST)
    return np.rint(small * (1 - opacity) + tint * opacity).astype(np.uint8)


def enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A tiny picture with its pixels repeated until its longest side is near a thumbnail's, so that a map over it is smooth."""
    times = max(1, SIDE // max(pixels.shape[:2]))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)
