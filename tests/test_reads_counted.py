"""The count of test set reads survives, and readers at once never get the same number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clinquant.core.errors import ClinquantError
from clinquant.edge import reads as counter

SHA = "a" * 64


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_reads_are_counted_by_hash() -> None:
    assert counter.reads(SHA) == 0
    assert [counter.count_read(SHA) for _ in range(3)] == [1, 2, 3]
    assert counter.count_read("b" * 64) == 1 and counter.reads(SHA) == 3


def test_readers_at_once_get_different_numbers() -> None:
    code = f"from clinquant.edge.reads import count_read\nprint(*[count_read('{SHA}') for _ in range(50)])"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    readers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=paths) for _ in range(3)]
    numbers = [int(word) for reader in readers for word in reader.communicate()[0].split()]
    assert sorted(numbers) == list(range(1, 151))


def test_a_cache_that_cannot_be_written_is_said(cache: Path) -> None:
    cache.write_text("a file stands here")
    with pytest.raises(ClinquantError, match="output-unwritable"):
        counter.count_read(SHA)
    with pytest.raises(ClinquantError, match="CLINQUANT_CACHE"):
        counter.check_countable()
