"""The user's cache: downloads, and what was computed from images once. Deleting it costs time and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import platformdirs

from clinquant.core.artifact import writing_to
from clinquant.core.errors import ClinquantError, Exit


def cache_folder(part: str) -> Path:
    """The folder for `part` (`downloads`, `fingerprints`): under `CLINQUANT_CACHE`, or the system's place for caches."""
    root = os.environ.get("CLINQUANT_CACHE") or platformdirs.user_cache_dir("clinquant", appauthor=False)
    return Path(root) / part


def room_for(folder: Path, size: int, what: str) -> None:
    """Makes `folder` and sees that `size` bytes fit.

    Raises:
        ClinquantError: `disk-full` or `output-unwritable`.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if free < size:
        raise ClinquantError(
            "disk-full",
            f"{what} needs {size / 1e6:.0f} MB in {folder}, {free / 1e6:.0f} MB are free.",
            fix="free some space, or set CLINQUANT_CACHE to a folder on another disk.",
            exit_code=Exit.ENVIRONMENT,
        )
