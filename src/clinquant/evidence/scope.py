"""Fits the rule of `core.scope` (training pictures give mean and whitening, tune gives the limit), and counts whom it excludes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clinquant.core.scope import BLOCKS, LAGS, LEVELS, Scope, distance
from clinquant.evidence.evidence import ScopeFigures
from clinquant.evidence.measured import wilson
from clinquant.evidence.metrics import Floats

FLAGGED = 0.02
"""Share of pictures like those of tune that may be called out of scope by mistake."""

FEWEST_TRAIN, FEWEST_TUNE = 20, 10
"""With fewer pictures no rule is fitted."""

CONTROLS = ("blank", "noise", "blurred")
"""Pictures that are out of scope whatever the study."""

Distances = Mapping[str, Mapping[str, float]]
"""`test`, a control or `of_corruption(name)` -> case -> distance of that picture from the training pictures."""

_TEXTURES = 2 * len(LAGS) + 1
SMALLEST_DEVIATION = np.array([1.0] * BLOCKS**2 + [0.1] * _TEXTURES + [0.02] * _TEXTURES + [0.5] * 2 + [0.02] * LEVELS)
"""A figure's standard deviation is taken for no less than this, so that a figure which never varied (the colour of grey pictures) does not
exclude a picture for the noise of another camera's JPEG. Grey levels, their roots, and roots of shares."""


def fit_scope(train: NDArray[np.float64], tune: NDArray[np.float64], *, flagged: float = FLAGGED) -> Scope | None:
    """The rule from figures of training pictures [n, 40] and of tune's [m, 40]; None with fewer than 20 or 10 of them.

    The covariance of the figures, each over its standard deviation, is shrunk towards the identity (`ledoit_wolf`). The limit is the
    ceil((m + 1)(1 - flagged))-th smallest distance of tune, so that a new picture like tune's is beyond it with chance at most `flagged`
    (Vovk et al. 2005), or the largest where m is too small to say that.
    """
    if len(train) < FEWEST_TRAIN or len(tune) < FEWEST_TUNE:
        return None
    mean = train.mean(axis=0)
    deviation = np.maximum(train.std(axis=0), SMALLEST_DEVIATION)
    covariance = ledoit_wolf((train - mean) / deviation)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)) / deviation
    rows, columns = np.tril_indices(len(mean))
    rule = Scope(mean=_rounded(mean), whitening=_rounded(whitening[rows, columns]), limit=0.0)
    distances = sorted(distance(row, rule) for row in tune.tolist())
    rank = min(math.ceil((len(tune) + 1) * (1 - flagged) - 1e-9), len(tune))
    return Scope(mean=rule.mean, whitening=rule.whitening, limit=distances[rank - 1])


def scope_figures(limit: float, distances: Distances) -> ScopeFigures:
    """What a rule with this limit says of test pictures and of controls."""
    cases = len(distances["test"])
    out = sum(each > limit for each in distances["test"].values())
    bounds = wilson(out, cases)
    return ScopeFigures(
        limit=limit,
        inside=out / cases,
        lower=bounds.lower,
        upper=bounds.upper,
        cases=cases,
        controls={name: share_beyond(limit, distances[name]) for name in CONTROLS},
    )


def of_corruption(name: str) -> str:
    """The key under which the distances of corrupted pictures stand; there is a control and a corruption called `noise`."""
    return f"corrupted {name}"


def share_beyond(limit: float, distances: Mapping[str, float]) -> float:
    """Share of pictures farther than the limit."""
    return sum(each > limit for each in distances.values()) / len(distances)


def ledoit_wolf(values: Floats) -> Floats:
    """Covariance of centred values [n, p], shrunk towards a multiple of the identity by the share with least expected squared error.

    Ledoit & Wolf 2004, J Multivar Anal 88:365, equations 14 to 16, in the paper's symbols.
    """
    n, p = values.shape
    s = values.T @ values / n
    m = float(np.trace(s)) / p
    d2 = float(np.square(s - m * np.eye(p)).sum()) / p
    b2 = float((np.square(values).T @ np.square(values) / n - np.square(s)).sum()) / (n * p)
    share = min(b2, d2) / d2 if d2 > 0 else 1.0
    return np.asarray(share * m * np.eye(p) + (1 - share) * s)


def _rounded(values: Floats) -> tuple[float, ...]:
    """Seven significant digits: short in the card, and the limit is measured with these very numbers."""
    return tuple(float(f"{value:.7g}") for value in values.tolist())
