"""What the audit needs of every image, taken in the same pass that reads it: a digest of its pixels and a thumbnail."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from clinquant.core.artifact import replacing, sha256_json
from clinquant.core.errors import ClinquantError
from clinquant.core.progress import Progress
from clinquant.data.cache import cache_folder
from clinquant.data.decode import Pixels8
from clinquant.data.pixels import Pixels
from clinquant.data.study import Case, Study

SIDE = 64
"""Side of the thumbnails, pixels: at 32 different chests correlate like copies, at 64 they do not."""

FILTER = Image.Resampling.BICUBIC
"""Keeps different patients as far apart as box averaging does, and a resized copy as near as the bilinear filter does."""

DIGEST_BYTES = 16

KEPT = 8
"""Studies whose fingerprints stay in the cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprints:
    """Of n cases, in the order of the study.

    Attributes:
        digests: uint8 [n, 16]; equal if and only if the decoded pixels are.
        thumbnails: uint8 [n, 64, 64], grey.
    """

    digests: NDArray[np.uint8]
    thumbnails: NDArray[np.uint8]

    @classmethod
    def stack(cls, single: Sequence[tuple[bytes, Pixels8]]) -> Fingerprints:
        """The fingerprints of many images from that of each (see `fingerprint`)."""
        digests = np.frombuffer(b"".join(digest for digest, _ in single), np.uint8).reshape(-1, DIGEST_BYTES)
        thumbnails = np.array([thumbnail for _, thumbnail in single], np.uint8).reshape(-1, SIDE, SIDE)
        return cls(digests=digests, thumbnails=thumbnails)


def fingerprint(pixels: Pixels8) -> tuple[bytes, Pixels8]:
    """Digest and thumbnail of uint8 [H, W, 3] pixels."""
    digest = hashlib.blake2b(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes(), digest_size=DIGEST_BYTES)
    grey = Image.fromarray(pixels).convert("L")
    return digest.digest(), np.asarray(grey.resize((SIDE, SIDE), FILTER))


def fingerprints(study: Study, progress: Progress | None = None) -> Fingerprints:
    """The study's fingerprints, from the cache where reading it left them there, else from its pixels."""
    kept = recall(study)
    if kept is not None:
        return kept
    pixels, single = Pixels(study), []
    for done, case in enumerate(study.cases, 1):
        single.append(fingerprint(pixels[case.id]))
        if progress:
            progress(done, len(study))
    computed = Fingerprints.stack(single)
    keep(study.cases, study.source.grey_window, computed)
    return computed


def keep(cases: Sequence[Case], grey_window: tuple[int, int], found: Fingerprints) -> None:
    """Leaves fingerprints in the cache; without a place to write them they are computed again when they are needed."""
    path = _path(cases, grey_window)
    try:
        with replacing(path) as temporary:
            np.savez(temporary, digests=found.digests, thumbnails=found.thumbnails)
        _forget_oldest(path.parent)
    except (ClinquantError, OSError):
        return


def recall(study: Study) -> Fingerprints | None:
    """The fingerprints that were left in the cache, or None."""
    try:
        with np.load(_path(study.cases, study.source.grey_window), allow_pickle=False) as file:
            found = Fingerprints(digests=file["digests"], thumbnails=file["thumbnails"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    whole = found.digests.shape == (len(study), DIGEST_BYTES) and found.thumbnails.shape == (len(study), SIDE, SIDE)
    return found if whole else None


def _path(cases: Sequence[Case], grey_window: tuple[int, int]) -> Path:
    """Named by everything that decides the pixels: the encoded bytes, the window and the decoder."""
    key = sha256_json([PIL.__version__, SIDE, FILTER.name, grey_window, [case.sha256 for case in cases]])
    return cache_folder("fingerprints") / f"{key[:32]}.npz"


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[KEPT:]:
        path.unlink(missing_ok=True)
