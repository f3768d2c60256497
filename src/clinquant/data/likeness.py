"""How alike two pictures are: a perceptual hash finds candidates, their pixels decide.

Both work on the thumbnail after local contrast normalisation (Jarrett et al. 2009, section 2.1: the local mean is taken off, then
divided by the local deviation), so that brightness, window and re-encoding hardly matter while the fine structure that tells two
patients apart counts everywhere, and not only at the strong edges which all chests or all skulls share.

Measured on real sets, as the correlation of two normalised thumbnails: the most alike chests of different patients reach 0.63,
overlapping crops of blood cells 0.80, neighbouring slices of one head 0.85 (one pair of 7,019 pictures); the same picture in JPEG at
quality 20, resized or brightened 0.94 and above, sharpened or with another contrast mostly above 0.85. At 28 pixels the most alike
chests reach 0.75 and eye grounds 0.92, so small pictures must agree more.
Mirrored and turned pictures are not alike; a picture cropped by more than a hundredth or two may stay undetected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]

RADIUS = 3
"""Half side of the neighbourhood of the local mean and deviation, thumbnail pixels."""

FLOOR = 4.0
"""Grey levels added to the local deviation, so that noise in flat areas is not blown up."""

ALIKE, ALIKE_SMALL = 0.85, 0.92
"""Correlation from which two pictures are the same one; the second where a side is under `SMALL` pixels."""

AKIN, AKIN_SMALL = 0.70, 0.85
"""Correlation to its representative below which a picture leaves a group that it is only linked to by a chain."""

SMALL = 64

SLIGHT = 15.0
"""Mean absolute difference, grey levels, up to which a change of brightness is a small one."""

HASH_BITS = 256
HASH_DISTANCE = 76
"""Bits of 256. A search without the hash found 12,691 alike pairs in eight real sets; 12,689 of them lie within."""

TILE = 1024
CHUNK = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Likeness:
    """The pictures of a study, ready to be compared.

    Attributes:
        structure: float16 [n, 4096], the normalised thumbnails, each of length 1, or 0 where a picture is flat.
        coarse: uint8 [n, 1024], the thumbnails at 32 x 32.
        small: bool [n], a side under 64 pixels.
    """

    structure: NDArray[np.float16]
    coarse: NDArray[np.uint8]
    small: NDArray[np.bool_]

    @classmethod
    def of(cls, thumbnails: NDArray[np.uint8], small: NDArray[np.bool_]) -> Likeness:
        """From uint8 [n, 64, 64] thumbnails."""
        n = len(thumbnails)
        structure = np.empty((n, thumbnails[0].size if n else 0), np.float16)
        coarse = np.empty((n, structure.shape[1] // 4), np.uint8)
        for rows in _chunks(n):
            structure[rows] = normalised(thumbnails[rows]).reshape(len(thumbnails[rows]), -1)
            coarse[rows] = _halved(thumbnails[rows])
        return cls(structure=structure, coarse=coarse, small=small)

    def correlation(self, i: Index, j: Index) -> NDArray[np.float32]:
        """Of the pairs (i, j), in [-1, 1]; 0 with a flat picture."""
        out = np.empty(len(i), np.float32)
        for rows in _chunks(len(i)):
            out[rows] = np.einsum("nd,nd->n", self.structure[i[rows]].astype(np.float32), self.structure[j[rows]].astype(np.float32))
        return out

    def difference(self, i: Index, j: Index) -> NDArray[np.float32]:
        """Mean absolute difference of the pairs (i, j), grey levels."""
        out = np.empty(len(i), np.float32)
        for rows in _chunks(len(i)):
            out[rows] = np.abs(self.coarse[i[rows]].astype(np.int16) - self.coarse[j[rows]]).mean(axis=1)
        return out

    def alike(self, i: Index, j: Index) -> NDArray[np.bool_]:
        """Whether the pairs (i, j) show the same picture."""
        return np.asarray(self.correlation(i, j) >= np.where(self.small[i] | self.small[j], ALIKE_SMALL, ALIKE))

    def akin(self, i: Index, j: Index) -> NDArray[np.bool_]:
        """Whether the pairs (i, j) are near enough to share a group with a chain of alike pictures between them."""
        return np.asarray(self.correlation(i, j) >= np.where(self.small[i] | self.small[j], AKIN_SMALL, AKIN))

    def pairs(self) -> tuple[Index, Index]:
        """All pairs i < j that are alike: those within `HASH_DISTANCE`, verified on their pixels."""
        found = [(i[same], j[same]) for i, j in self._candidates() if (same := self.alike(i, j)).any()]
        if not found:
            return np.empty(0, np.intp), np.empty(0, np.intp)
        return np.concatenate([i for i, _ in found]), np.concatenate([j for _, j in found])

    def _candidates(self) -> Iterator[tuple[Index, Index]]:
        signs = perceptual_hash(self.structure)
        agreeing = HASH_BITS - 2 * HASH_DISTANCE  # for codes of -1 and 1 the inner product is bits - 2 Hamming distance
        for top in range(0, len(signs), TILE):
            for left in range(top, len(signs), TILE):
                close = signs[top : top + TILE] @ signs[left : left + TILE].T >= agreeing
                i, j = np.nonzero(np.triu(close, 1) if top == left else close)
                yield i + top, j + left


def perceptual_hash(structure: NDArray[Any]) -> NDArray[np.float32]:
    """256 bits a picture as -1 and 1, float32 [n, 256]: signs of its cosine coefficients 1 to 16 both ways; 0 for a flat one.

    pHash (Zauner 2010, section 3.2.1) with a larger block and the threshold at 0, which is the middle after normalisation.
    """
    side = int(structure.shape[1] ** 0.5)
    frequencies = np.arange(1, int(HASH_BITS**0.5) + 1)[:, None]
    basis = np.cos(np.pi / side * frequencies * (np.arange(side) + 0.5)).astype(np.float32)
    signs = np.empty((len(structure), HASH_BITS), np.float32)
    for rows in _chunks(len(structure)):
        pictures = structure[rows].astype(np.float32).reshape(-1, side, side)
        signs[rows] = np.sign(basis @ pictures @ basis.T).reshape(-1, HASH_BITS)
    return signs


def normalised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Local contrast normalisation of [n, h, w] grey pictures: float32, mean 0 and length 1 each; all 0 for a flat picture."""
    grey = thumbnails.astype(np.float32)
    mean = _local_mean(grey)
    deviation = np.sqrt(np.maximum(_local_mean(grey * grey) - mean * mean, 0.0))
    flat = ((grey - mean) / (deviation + FLOOR)).reshape(len(grey), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.where(length > 1e-3, flat / np.maximum(length, 1e-3), 0.0), np.float32).reshape(grey.shape)


def _local_mean(pictures: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean over a (2 RADIUS + 1) square, mirrored at the border, by running sums in float64."""
    means: NDArray[Any] = pictures
    for axis in (1, 2):
        edges = [(RADIUS, RADIUS) if k == axis else (0, 0) for k in range(3)]
        sums = np.cumsum(np.pad(means, edges, mode="reflect"), axis=axis, dtype=np.float64)
        sums = np.pad(sums, [(1, 0) if k == axis else (0, 0) for k in range(3)])
        width = 2 * RADIUS + 1
        ends, starts = sums.take(range(width, sums.shape[axis]), axis), sums.take(range(sums.shape[axis] - width), axis)
        means = (ends - starts) / width
    return np.asarray(means, np.float64)


def _halved(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    n, height, width = thumbnails.shape
    blocks = thumbnails.reshape(n, height // 2, 2, width // 2, 2)
    return np.asarray(np.rint(blocks.mean(axis=(2, 4))), np.uint8).reshape(n, -1)


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, n, CHUNK))
