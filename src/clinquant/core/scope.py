"""Out of scope: whether a picture is unlike the training pictures, by one short rule that gives the same bits in every language.

Forty figures of the pixels that the network reads (brightness in blocks, texture at several distances, colour, a histogram of brightness)
and their Mahalanobis distance from the training pictures (Lee et al. 2018, arXiv 1807.03888, who take it of features). The figures
are made of integer sums, divisions and square roots, which IEEE 754 rounds in one way, and summed in one order.
`docs/methods/out-of-scope.md` states the rule, tells why it looks at pixels and not at logits or features, and what it was measured on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError

BLOCKS = 4
"""Rows and columns of blocks whose mean brightness is taken."""

LAGS = (1, 2, 4)
"""Distances in pixels over which brightness is compared."""

LEVELS = 8
"""Bins of the histogram of brightness."""

FIGURES = BLOCKS * BLOCKS + 2 * (2 * len(LAGS) + 1) + 2 + LEVELS
"""How many figures a picture has: 40."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The rule as a card carries it.

    Attributes:
        mean: [40] of the training pictures' figures.
        whitening: [820] the lower triangle, row by row, of the matrix that makes the figures' deviations uncorrelated with variance 1.
        limit: a picture whose distance is above this is out of scope; chosen on tune and held-out training pictures.
    """

    mean: tuple[float, ...]
    whitening: tuple[float, ...]
    limit: float

    def __post_init__(self) -> None:
        if len(self.mean) != FIGURES or len(self.whitening) != FIGURES * (FIGURES + 1) // 2:
            raise ClinquantError(
                "card-invalid",
                f"the card's scope has {len(self.mean)} means and {len(self.whitening)} weights.",
                fix=f"it needs {FIGURES} and {FIGURES * (FIGURES + 1) // 2}: build the bundle again.",
            )

    def distance(self, pixels: NDArray[np.uint8]) -> float:
        """How far a picture, uint8 [side, side, 3], is from the training pictures; about 6 for one like them."""
        return distance(figures(pixels), self)

    def excludes(self, pixels: NDArray[np.uint8]) -> bool:
        """Whether a picture is out of scope."""
        return self.distance(pixels) > self.limit


def distance(values: Sequence[float], scope: Scope) -> float:
    """sqrt(sum_i (sum_{j <= i} w_ij (x_j - m_j))^2) of figures x [40], every sum in the order of its index."""
    deviation = [x - m for x, m in zip(values, scope.mean, strict=True)]
    total, place = 0.0, 0
    for row in range(FIGURES):
        component = 0.0
        for column in range(row + 1):
            component += scope.whitening[place] * deviation[column]
            place += 1
        total += component * component
    return math.sqrt(total)


def figures(pixels: NDArray[np.uint8]) -> tuple[float, ...]:
    """The forty figures of a picture, uint8 [side, side, 3], side 8 or more: its file's output `pixels`.

    16 block means of brightness (grey levels), 7 textures (mean absolute differences: across and down at 1, 2 and 4 pixels, and the
    Laplacian's; grey levels), the fourth roots of these 7, the square roots of 2 mean absolute differences of colours (red - green,
    green - blue), and the square roots of 8 shares of a histogram of brightness. Brightness is red + green + blue, 0 to 765.
    """
    colours = pixels.astype(np.int64)
    grey = colours.sum(axis=2)
    textures = _textures(grey)
    colour = [_mean(np.abs(colours[..., i] - colours[..., i + 1])) for i in (0, 1)]
    shares = np.bincount((grey * LEVELS // 766).ravel(), minlength=LEVELS).tolist()
    return (
        *_blocks(grey),
        *textures,
        *(math.sqrt(math.sqrt(each)) for each in textures),
        *(math.sqrt(each) for each in colour),
        *(math.sqrt(count / grey.size) for count in shares),
    )


def _blocks(grey: NDArray[np.int64]) -> list[float]:
    """Mean grey level of each block, row by row; block i reaches from floor(i side / 4) to floor((i + 1) side / 4)."""
    side = len(grey)
    edges = [i * side // BLOCKS for i in range(BLOCKS + 1)]
    spans = [slice(start, stop) for start, stop in itertools.pairwise(edges)]
    return [_mean(grey[rows, columns], 3) for rows in spans for columns in spans]


def _textures(grey: NDArray[np.int64]) -> list[float]:
    found = []
    for lag in LAGS:
        found += [_mean(np.abs(grey[:, lag:] - grey[:, :-lag]), 3), _mean(np.abs(grey[lag:] - grey[:-lag]), 3)]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return [*found, _mean(np.abs(4 * grey[1:-1, 1:-1] - around), 3)]


def _mean(values: NDArray[np.int64], divisor: int = 1) -> float:
    """One division of two exact integers."""
    return int(values.sum()) / (divisor * values.size)
