"""A run directory with damaged files: the same command mends it, and nothing damaged passes for the real thing.

Only a damaged bundle is left as it lies: it may hold what somebody put there.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clinquant.core.artifact import sha256_file
from clinquant.edge.verify import verify
from clinquant.lab.build import build
from clinquant.lab.options import BuildOptions
from tiny_bundle import write_pictures

FILES = (
    *(f"steps/{step}.json" for step in ("audit", "split", "plan", "train", "quantize", "export", "prove", "report")),
    *("study.json", "audit.json", "split.json", "plan.json", "float.card.json", "quantized.json", "recipes.json"),
    *("evidence.json", "claims.json", "cards/integer.json", "predictions/test.float.csv", "float.safetensors", "integer.onnx"),
)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> BuildOptions:
    data = write_pictures(tmp_path_factory.mktemp("data") / "pictures", each=30)
    return BuildOptions(data=str(data), arch="resnet20", size=16, epochs=1)


@pytest.fixture(scope="module")
def built(options: BuildOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "run"
    build(options, out)
    return out


@pytest.mark.parametrize("start", [0, 1, 2])
def test_truncated_files_are_made_again(start: int, options: BuildOptions, built: Path, tmp_path: Path) -> None:
    """Every third file at once, each in its turn."""
    out = tmp_path / "run"
    shutil.copytree(built, out)
    for name in FILES[start::3]:
        path = out / name
        path.write_bytes(path.read_bytes()[:40])
    build(options, out)
    for name in ("float.safetensors", "float.onnx", "integer.onnx", "bundle/model.onnx"):
        assert sha256_file(out / name) == sha256_file(built / name), name
    verify(out / "bundle")
