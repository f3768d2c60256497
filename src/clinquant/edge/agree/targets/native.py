"""This machine again, in a second process and with two threads: what must agree if anything does."""

from __future__ import annotations

import sys
from pathlib import Path

from clinquant.edge.agree.process import run_process
from clinquant.edge.agree.targets import Waiting
from clinquant.edge.machine import machine

WEB = False
THREADS = 2


def missing() -> str | None:
    """Nothing can be missing."""
    return None


def answer(folder: Path, waiting: Waiting) -> None:
    """Answers the job in `folder`."""
    run_process([sys.executable, "-m", "clinquant.edge.agree.replay", str(folder), machine()], folder, waiting)
