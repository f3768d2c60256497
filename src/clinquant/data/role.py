"""The words for a split's sides: whatever a data set calls them, here they are train, tune and test."""

from __future__ import annotations

ROLES = {
    "train": "train",
    "training": "train",
    "val": "tune",
    "valid": "tune",
    "validation": "tune",
    "tune": "tune",
    "tuning": "tune",
    "dev": "tune",
    "test": "test",
    "testing": "test",
}


def role(word: str) -> str | None:
    """`train`, `tune` or `test` for a word such as `Training`, `val` or `TEST`; None for any other."""
    return ROLES.get(word.strip().lower())
