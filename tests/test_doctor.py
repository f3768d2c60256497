"""The doctor reports what is there and imports nothing heavy; registries are read without importing what they list."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clinquant.cli.methods import REGISTRIES
from clinquant.core.registry import read_registry
from clinquant.edge.doctor import doctor


def test_it_finds_versions_and_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path))
    (tmp_path / "downloads" / "deep").mkdir(parents=True)
    (tmp_path / "downloads" / "deep" / "a.npz").write_bytes(bytes(1000))
    health = doctor()
    assert health.packages["numpy"] == np.__version__
    assert health.caches["downloads"].bytes == 1000
    assert health.disk_free > 0 and health.cores >= 1


def test_it_imports_nothing_heavy() -> None:
    code = "import sys; from clinquant.edge.doctor import doctor; doctor(); print({'torch', 'onnx', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("kind", REGISTRIES)
def test_a_registry_is_read_as_it_is(kind: str) -> None:
    """The oracle is the dictionary itself, imported."""
    module, variable = REGISTRIES[kind]
    pytest.importorskip("torch")
    real = getattr(__import__(module, fromlist=[variable]), variable)
    assert list(read_registry(module, variable)) == list(real)


def test_no_registry_is_a_fault() -> None:
    with pytest.raises(LookupError):
        read_registry("clinquant.edge.runtimes", "NOTHING")
