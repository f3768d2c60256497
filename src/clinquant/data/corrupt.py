"""Corruptions that pictures suffer on their way to a model, each mild enough that a reader would still read the picture.

The kinds follow MedMNIST-C (Di Salvo et al. 2024, arXiv 2406.17536); strengths are ours, in units of grey levels or of the picture's side.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Corruption:
    """One corruption: what a reader calls it, and what it does to a picture uint8 [h, w, 3] with a seed of the case's own."""

    words: str
    apply: Callable[[Picture, int], Picture]


def corrupted(picture: Picture, name: str, case: str) -> Picture:
    """The picture after the corruption `name`; the same bytes for the same case everywhere Pillow and numpy are the same."""
    return CORRUPTIONS[name].apply(picture, zlib.crc32(case.encode()))


def _noise(picture: Picture, seed: int) -> Picture:
    drawn = np.random.default_rng(seed).normal(0.0, 10.0, picture.shape[:2])[..., None]
    return np.clip(np.rint(picture + drawn), 0, 255).astype(np.uint8)


def _image(change: Callable[[Image.Image], Image.Image]) -> Callable[[Picture, int], Picture]:
    return lambda picture, _: np.asarray(change(Image.fromarray(picture)), dtype=np.uint8)


def _jpeg(quality: int, subsampling: int) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality, subsampling=subsampling)
        return Image.open(out).convert("RGB")

    return change


def _half(image: Image.Image) -> Image.Image:
    small = (max(image.width // 2, 1), max(image.height // 2, 1))
    return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)


CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption("Noise, 10 grey levels", _noise),
    "blur": Corruption("Blur, a 40th of the side", _image(lambda image: image.filter(ImageFilter.GaussianBlur(min(image.size) / 40)))),
    "brighter": Corruption("Brighter by a fifth", _image(lambda image: ImageEnhance.Brightness(image).enhance(1.2))),
    "darker": Corruption("Darker by a fifth", _image(lambda image: ImageEnhance.Brightness(image).enhance(0.8))),
    "contrast": Corruption("Contrast down to 0.7", _image(lambda image: ImageEnhance.Contrast(image).enhance(0.7))),
    "jpeg": Corruption("JPEG, quality 30", _image(_jpeg(30, 2))),
    "half": Corruption("Stored at half size", _image(_half)),
    "decoder": Corruption("Another decoder: JPEG 95, colours subsampled", _image(_jpeg(95, 2))),
}
"""Name -> corruption."""
