"""The edge ring is imported, and runs, where torch and every other lab package is blocked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tiny_bundle import write_bundle, write_pictures

BLOCKER = """
import importlib, pkgutil, sys

class Blocker:
    BLOCKED = {"torch", "torchvision", "timm", "safetensors", "jinja2", "matplotlib", "scipy", "sklearn", "statsmodels", "pandas"}

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.BLOCKED:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
"""

IMPORTS = """
import clinquant
for room in ("core", "evidence", "data", "edge", "cli"):
    package = importlib.import_module(f"clinquant.{room}")
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
assert "torch" not in sys.modules
print("imported")
"""

RUN = """
from clinquant.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def blocked(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCKER + code, *arguments], capture_output=True, text=True, check=False)


def test_the_blocker_blocks() -> None:
    """The control: without it the tests below would prove nothing."""
    assert "torch is blocked" in blocked("import torch").stderr


def test_every_module_of_the_ring_is_imported() -> None:
    done = blocked(IMPORTS)
    assert done.stdout == "imported\n", done.stderr


def test_a_bundle_is_verified_predicts_and_is_timed(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    pictures = write_pictures(tmp_path / "pictures", each=2)
    assert blocked(RUN, "verify", str(bundle.path)).returncode == 0
    answers = blocked(RUN, "predict", str(bundle.path), str(pictures))
    assert answers.returncode == 0, answers.stderr
    assert [line.split(",")[1] for line in answers.stdout.splitlines()] == ["class", "bright", "bright", "dark", "dark"]
    timed = blocked(RUN, "bench", str(bundle.model), "--size", "16", "--runs", "3")
    assert timed.returncode == 0, timed.stderr


def test_methods_are_listed_without_torch() -> None:
    done = blocked(RUN, "methods")
    assert done.returncode == 0, done.stderr
    assert "efficientnet_lite0" in done.stdout


def test_the_runtime_reports_nothing_to_anybody() -> None:
    code = "import os, clinquant.edge.runtimes.onnxruntime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
