"""A 64-bit ARM processor, emulated: a Python for ARM with numpy and ONNX Runtime, under qemu. `docs/agree.md` says how to install it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import clinquant
from clinquant.data.cache import cache_folder
from clinquant.edge.agree.process import run_process
from clinquant.edge.agree.targets import Waiting

WEB = False
THREADS = 1
PROCESSOR = "cortex-a72"
"""Of the Raspberry Pi 4: NEON, without 8-bit dot products."""

EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")


def missing() -> str | None:
    """What is not installed."""
    if not _emulator():
        return "qemu-aarch64 is not installed. On Debian: apt-get install qemu-user; then see docs/agree.md."
    folder = environment_folder()
    if _python(folder) is None or not (folder / "site" / "onnxruntime").is_dir():
        return f"there is no Python for ARM with ONNX Runtime in {folder}; docs/agree.md says how to install it."
    return None


def answer(folder: Path, waiting: Waiting) -> None:
    """Answers the job in `folder`."""
    place, emulator = environment_folder(), _emulator()
    python = _python(place)
    assert emulator is not None and python is not None
    machine = f"64-bit ARM {PROCESSOR}, emulated by {Path(emulator).name}"
    command = [emulator, "-cpu", PROCESSOR, "-L", str(place / "root"), str(python), "-m", "clinquant.edge.agree.replay"]
    paths = os.pathsep.join((str(place / "site"), str(Path(clinquant.__file__).parents[1])))
    of_arm = {"PYTHONHOME": str(place / "root" / "usr"), "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    run_process([*command, str(folder), machine], folder, waiting, environment={**os.environ, **of_arm})


def environment_folder() -> Path:
    """Where the ARM environment is looked for: `root/` with Python and its libraries, `site/` with numpy and ONNX Runtime."""
    return Path(os.environ.get("CLINQUANT_ARM64") or cache_folder("arm64"))


def _python(folder: Path) -> Path | None:
    found = sorted(path for path in (folder / "root" / "usr" / "bin").glob("python3.*") if path.name[8:].isdigit())
    return found[0] if found else None


def _emulator() -> str | None:
    return next((path for name in EMULATORS if (path := shutil.which(name))), None)
