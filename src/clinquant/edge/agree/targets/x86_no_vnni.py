"""A processor with AVX2 and without 8-bit dot products, emulated: the same Python and runtime, under qemu."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from clinquant.edge.agree.process import run_process
from clinquant.edge.agree.targets import Waiting

WEB = False
THREADS = 1
PROCESSOR = "Haswell"
EMULATORS = ("qemu-x86_64", "qemu-x86_64-static")


def missing() -> str | None:
    """What is not installed."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "it runs this machine's own Python, so it needs Linux on x86-64."
    return None if _emulator() else "qemu-x86_64 is not installed. On Debian: apt-get install qemu-user."


def answer(folder: Path, waiting: Waiting) -> None:
    """Answers the job in `folder`."""
    emulator = _emulator()
    assert emulator is not None
    machine = f"x86-64 {PROCESSOR} (AVX2, no VNNI), emulated by {Path(emulator).name}"
    run_process([emulator, "-cpu", PROCESSOR, sys.executable, "-m", "clinquant.edge.agree.replay", str(folder), machine], folder, waiting)


def _emulator() -> str | None:
    return next((path for name in EMULATORS if (path := shutil.which(name))), None)
