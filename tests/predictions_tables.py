"""Small tables of predictions for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.predictions import Predictions

NAMES = ("normal", "benign", "malignant", "other", "fifth", "sixth")


def table(scores: NDArray[Any], labels: Sequence[int] | NDArray[Any], groups: Sequence[str] | None = None) -> Predictions:
    n, k = scores.shape
    ids = tuple(f"case{i:06d}" for i in range(n))
    return Predictions(
        ids=ids,
        groups=tuple(groups) if groups is not None else ids,
        labels=np.asarray(labels, dtype=np.int64),
        scores=np.asarray(scores, dtype=np.float32),
        classes=NAMES[:k],
        model_sha256="0" * 64,
        runtime="test 1",
    )


def separated(counts: Sequence[int], seed: int = 0, gap: float = 3.0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores and labels of a good classifier: normal noise, and `gap` more on the true class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    scores = np.random.default_rng(seed).normal(size=(len(labels), len(counts)))
    scores[np.arange(len(labels)), labels] += gap
    return scores, labels


def binary(right: Sequence[bool], labels: Sequence[int]) -> NDArray[np.float64]:
    """Scores [n, 2] that decide each case rightly or wrongly as asked."""
    decided = np.where(np.asarray(right), labels, 1 - np.asarray(labels))
    return np.eye(2)[decided] * 4.0 - 2.0
