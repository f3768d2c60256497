"""Fits the rule of `core.scope` (training pictures give mean and whitening, unseen ones the limit), and counts whom it excludes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clinquant.core.scope import BLOCKS, LAGS, LEVELS, Scope, distance
from clinquant.evidence.evidence import ScopeFigures
from clinquant.evidence.metrics import Floats
from clinquant.evidence.wilson import wilson

FLAGGED = 0.02
"""Share of pictures like those of train and tune that may be called out of scope by mistake."""

FEWEST_TRAIN, FEWEST_TUNE = 20, 10
"""With fewer pictures no rule is fitted."""

CONTROLS = ("blank", "noise", "blurred")
"""Pictures that are out of scope whatever the study."""

Distances = Mapping[str, Mapping[str, float]]
"""`test`, a control or `of_corruption(name)` -> case -> distance of that picture from the training pictures."""

SHARES = tuple(10.0 ** (-half / 2) for half in range(9))
"""Shares of the identity that are tried: 1 to 0.0001."""

FOLDS = 5
_SEED = 0

_TEXTURES = 2 * len(LAGS) + 1
SMALLEST_DEVIATION = np.array([1.0] * BLOCKS**2 + [0.1] * _TEXTURES + [0.02] * _TEXTURES + [0.5] * 2 + [0.02] * LEVELS)
"""A figure's standard deviation is taken for no less than this, so that a figure which never varied (the colour of grey pictures) does not
exclude a picture for the noise of another camera's JPEG. Grey levels, their roots, and roots of shares."""


def fit_scope(
    train: NDArray[np.float64], tune: NDArray[np.float64], units: Sequence[str] | None = None, *, flagged: float = FLAGGED
) -> Scope | None:
    """The rule from figures of training pictures [n, 40] and of tune's [m, 40]; None with fewer than 20 or 10 of them.

    The covariance of the figures, each over its standard deviation, is shrunk towards the identity as far as makes held-out training
    pictures most likely (`shrunk`). `units` [n] names the independent unit of each training picture, by default itself. The limit is the
    ceil((n + m + 1)(1 - flagged))-th smallest of the distances of tune and of training pictures from a rule that was fitted without
    their fold (cross-conformal prediction: Vovk 2015, Ann Math Artif Intell 74:9), so that a new picture like them is beyond it with
    chance about `flagged`, however few tune has; or the largest where n + m is too small to say that.
    """
    if len(train) < FEWEST_TRAIN or len(tune) < FEWEST_TUNE:
        return None
    units = units or [str(row) for row in range(len(train))]
    rule = _unlimited(train, units)
    distances = sorted([distance(row, rule) for row in tune.tolist()] + _held_out(train, units))
    rank = min(math.ceil((len(distances) + 1) * (1 - flagged) - 1e-9), len(distances))
    return replace(rule, limit=distances[rank - 1])


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


def shrunk(values: Floats, units: Sequence[str]) -> Floats:
    """Covariance of centred values [n, p], shrunk towards a multiple of the identity by the share that makes held-out values most likely.

    The share is the one of `SHARES` with the greatest normal log likelihood over five folds of whole units (Warton 2008, J Am Stat Assoc
    103:340). A share that is best for the covariance itself (Ledoit & Wolf 2004) is too great for its inverse, which the distance needs:
    it widens the narrow directions, in which blurred pictures differ.
    """
    fold = _folds(units)
    parts = [(_second_moment(values[fold != each]), values[fold == each]) for each in range(FOLDS) if 0 < (fold == each).sum() < len(fold)]
    likely = [sum(_log_likelihood(_towards_identity(moment, share), held) for moment, held in parts) for share in SHARES]
    return _towards_identity(_second_moment(values), SHARES[int(np.argmax(likely))])


def _unlimited(train: NDArray[np.float64], units: Sequence[str]) -> Scope:
    """The rule with a limit of 0."""
    mean = train.mean(axis=0)
    deviation = np.maximum(train.std(axis=0), SMALLEST_DEVIATION)
    values = (train - mean) / deviation
    covariance = shrunk(values, units)
    covariance += np.diag(1.0 - np.square(values).mean(axis=0))  # what the smallest deviation adds; 0 where it does not bind
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)) / deviation
    rows, columns = np.tril_indices(len(mean))
    return Scope(mean=_rounded(mean), whitening=_rounded(whitening[rows, columns]), limit=0.0)


def _held_out(train: NDArray[np.float64], units: Sequence[str]) -> list[float]:
    """The distance of every training picture from a rule fitted without its fold; none where all are of one unit."""
    fold, found = _folds(units), []
    for each in range(FOLDS):
        held = fold == each
        if held.any() and not held.all():
            rule = _unlimited(train[~held], [unit for unit, out in zip(units, held.tolist(), strict=True) if not out])
            found += [distance(row, rule) for row in train[held].tolist()]
    return found


def _folds(units: Sequence[str]) -> NDArray[np.int64]:
    """int64 [n], the fold of each picture, 0 to FOLDS - 1; a unit is in one."""
    names, unit = np.unique(np.array(units), return_inverse=True)
    return np.asarray(np.random.default_rng(_SEED).permutation(len(names))[unit] % FOLDS, np.int64)


def _second_moment(values: Floats) -> Floats:
    return np.asarray(values.T @ values / len(values))


def _towards_identity(moment: Floats, share: float) -> Floats:
    size = float(np.trace(moment)) / len(moment) or 1.0  # equal pictures do not vary
    return np.asarray((1 - share) * moment + share * size * np.eye(len(moment)))


def _log_likelihood(covariance: Floats, values: Floats) -> float:
    """Of values [n, p] under a normal distribution about 0, less what does not depend on the covariance."""
    factor = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(factor, values.T)
    return -0.5 * float(np.square(whitened).sum()) - len(values) * float(np.log(np.diag(factor)).sum())


def _rounded(values: Floats) -> tuple[float, ...]:
    """Seven significant digits: short in the card, and the limit is measured with these very numbers."""
    return tuple(float(f"{value:.7g}") for value in values.tolist())
