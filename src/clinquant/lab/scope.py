"""Learns what is out of scope from a study's own pictures, as the exported files resize them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clinquant.core.preprocess import Preprocess
from clinquant.core.scope import FIGURES, Scope, figures
from clinquant.data.pixels import Pixels
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.edge.resize import Resizer
from clinquant.evidence.scope import fit_scope

MOST = 1000
"""Pictures of train, and of tune, that are looked at, at most: a covariance of 40 figures does not move with more."""

_SEED = 3


def learn_scope(study: Study, split: Split, preprocess: Preprocess) -> Scope | None:
    """The rule fitted on train, its limit on tune and held-out parts of train; None where the study is too small. No label enters."""
    pixels, resize = Pixels(study), Resizer(preprocess)
    chosen = _some(split.train)
    train, tune = (_figures(pixels, resize, ids) for ids in (chosen, _some(split.tune)))
    return fit_scope(train, tune, [split.units.get(case, case) for case in chosen])


def _some(ids: Sequence[str]) -> list[str]:
    """At most MOST of them, drawn."""
    chosen = np.random.default_rng(_SEED).permutation(len(ids))[:MOST]
    return [ids[i] for i in sorted(chosen.tolist())]


def _figures(pixels: Pixels, resize: Resizer, ids: Sequence[str]) -> NDArray[np.float64]:
    rows = [figures(resize(pixels[case][None])[0]) for case in ids]
    return np.array(rows, np.float64).reshape(len(rows), FIGURES)
