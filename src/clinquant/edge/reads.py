"""How often a test set has been read, by its hash, in the user's cache: deleting a run's folder resets nothing."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from clinquant.core.artifact import writing_to
from clinquant.core.errors import ClinquantError, Exit
from clinquant.data.cache import cache_folder

LINE = len("2025-01-01T00:00:00Z\n")  # bytes


def count_read(sha256: str) -> int:
    """How often the test set of this hash has now been read, this time included.

    A read is one dated line appended to the test set's own file. Appending is atomic and its end is this reader's own place, so two
    processes at once get different numbers without a lock that a killed process could leave behind.

    Raises:
        ClinquantError: `disk-full` or `output-unwritable` when the cache cannot be written.
    """
    path = reads_file(sha256)
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(file, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ\n").encode("ascii"))
            return os.lseek(file, 0, os.SEEK_CUR) // LINE
        finally:
            os.close(file)


def check_countable() -> None:
    """Raises ClinquantError `output-unwritable` when the next reading could not be counted; told before long work."""
    folder = cache_folder("test-reads")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise ClinquantError(
            "output-unwritable",
            f"readings of the test set are counted in {folder}, which cannot be written.",
            fix="set CLINQUANT_CACHE to a folder that this user may write to.",
            exit_code=Exit.ENVIRONMENT,
        )


def reads(sha256: str) -> int:
    """How often the test set of this hash has been read so far; 0 when never."""
    path = reads_file(sha256)
    return path.stat().st_size // LINE if path.exists() else 0


def reads_file(sha256: str) -> Path:
    """Where the reads of a test set are kept."""
    return cache_folder("test-reads") / sha256
