"""How alike two explanations of one image are, and what one explanation is like: numbers of maps [h, w], in numpy alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[Any]

TOP = 0.1
"""Share of the positions that `top_iou` takes from each map."""

C1, C2 = 0.01**2, 0.03**2
"""(K1 L)^2 and (K2 L)^2 of `ssim`, L = 1."""

WINDOW = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2) / np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2).sum()
"""Weights [11] of its Gaussian window along one axis."""


def spearman(first: Map, second: Map) -> float:
    """Correlation of the ranks of two maps' positions, -1 to 1, ties at their mean rank; 0 where a map is flat."""
    a, b = (ranks(values.ravel()) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def ranks(values: Map) -> NDArray[np.float64]:
    """Ranks of [n] from 1, equal values at the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = last - (counts - 1) / 2.0
    return mean[inverse]


def ssim(first: Map, second: Map) -> float:
    """Structural similarity (Wang et al. 2004, IEEE TIP 13, 600-612, eq. 13) of two maps, each stretched to 0..1 first; -1 to 1.

    A Gaussian window of 11 positions and deviation 1.5, K1 = .01, K2 = .03, the mean over windows that lie inside.

    Raises:
        ValueError: for maps narrower than the window.
    """
    a, b = stretched(first), stretched(second)
    if min(a.shape) < len(WINDOW):
        raise ValueError(f"SSIM needs maps of {len(WINDOW)} positions or more a side, not {a.shape}")
    mean_a, mean_b = blurred(a), blurred(b)
    variance_a, variance_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    covariance = blurred(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + C1) * (2 * covariance + C2)
    return float((likeness / ((mean_a**2 + mean_b**2 + C1) * (variance_a + variance_b + C2))).mean())


def stretched(values: Map) -> NDArray[np.float64]:
    """The map with its least value at 0 and its greatest at 1; a flat one is 0."""
    found = np.asarray(values, np.float64) - float(values.min())
    peak = float(found.max())
    return found / peak if peak > 0 else found


def blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Gaussian mean at every place where the window lies inside."""
    reach = len(WINDOW) - 1
    rows = sum(weight * values[i : values.shape[0] - reach + i] for i, weight in enumerate(WINDOW))
    return np.asarray(sum(weight * rows[:, i : values.shape[1] - reach + i] for i, weight in enumerate(WINDOW)))


def top_iou(first: Map, second: Map, share: float = TOP) -> float:
    """Intersection over union of the `share` of positions with the greatest values in either map, 0 to 1."""
    a, b = (top(values, share) for values in (first, second))
    return float((a & b).sum() / (a | b).sum())


def top(values: Map, share: float = TOP) -> NDArray[np.bool_]:
    """bool [n]: the greatest positions, at least one; of equals the first."""
    flat = values.ravel()
    chosen = np.zeros(len(flat), bool)
    chosen[np.argsort(-flat, kind="stable")[: max(1, round(share * len(flat)))]] = True
    return chosen


def gini(values: Map) -> float:
    """Gini index of the absolute values, 0 (all alike) to nearly 1 (one position holds all): how sparse a map is.

    Hurley and Rickard 2009, IEEE Trans. Information Theory 55, 4723-4741, table I: 1 - 2 sum of c_k / |c| (N - k + 1/2) / N.
    """
    ordered = np.sort(np.abs(np.asarray(values, np.float64)).ravel())
    total = float(ordered.sum())
    if total == 0:
        return 0.0
    count = len(ordered)
    return 1.0 - 2.0 * float((ordered / total) @ ((count - np.arange(1, count + 1) + 0.5) / count))


def pointing_hit(values: Map, mask: NDArray[np.bool_]) -> float:
    """1 where the map's greatest position lies within `mask` [h, w], else 0 (the pointing game, Zhang et al. 2016, arXiv 1608.00507)."""
    return float(mask.ravel()[int(np.argmax(values))])


def curve_area(values: Map) -> float:
    """Area under a curve of probabilities at equal steps from 0 to 1: trapezoids, 0 to 1."""
    return float((values[1:] + values[:-1]).sum() / (2 * (len(values) - 1)))


SIMILARITIES: dict[str, Callable[[Map, Map], float]] = {"spearman": spearman, "ssim": ssim, "top_iou": top_iou}
"""Metric of two maps of one image: 1 for equal ones."""


def similarities(shape: tuple[int, ...]) -> dict[str, Callable[[Map, Map], float]]:
    """Those of `SIMILARITIES` that maps [h, w] of `shape` are large enough for."""
    return {name: metric for name, metric in SIMILARITIES.items() if name != "ssim" or min(shape) >= len(WINDOW)}
