"""Runs a target's process until it has answered, failed, or stood still for too long."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from clinquant.core.errors import ClinquantError, Exit
from clinquant.edge.agree.job import ANSWERS
from clinquant.edge.agree.targets import Waiting

STILL_SECONDS = 300.0
"""A target that has written nothing for so long is ended: the slowest emulated network answers a picture in seconds."""

LOOK_SECONDS = 0.2


def run_process(command: Sequence[str], folder: Path, waiting: Waiting, *, environment: Mapping[str, str] | None = None) -> None:
    """Runs `command` until it ends by itself, or has written `answers.json` (a browser never ends by itself).

    Raises:
        ClinquantError: `target-failed`, with the last line that it said.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT) as process:
            try:
                _watch(process, folder, waiting)
            finally:
                process.terminate()
        if not (folder / ANSWERS).exists():
            said.seek(0)
            raise failed(command[0], (said.read().strip().splitlines() or [f"it ended with {process.returncode}"])[-1])


def _watch(process: subprocess.Popen[bytes], folder: Path, waiting: Waiting) -> None:
    seen, since = 0, time.monotonic()
    while process.poll() is None and not (folder / ANSWERS).exists() and not (folder / "error.txt").exists():
        time.sleep(LOOK_SECONDS)
        waiting()
        if (now := answered(folder)) != seen:
            seen, since = now, time.monotonic()
        if time.monotonic() - since > STILL_SECONDS:
            raise failed(str(process.args), f"nothing was answered for {STILL_SECONDS:.0f} s")
    if (folder / "error.txt").exists():
        raise failed("the browser", (folder / "error.txt").read_text(encoding="utf-8"))


def answered(folder: Path) -> int:
    """Pictures that have been answered so far."""
    return sum(1 for _ in folder.glob("*.logits.bin"))


def failed(who: str, why: str) -> ClinquantError:
    """The error of a target that could not answer."""
    return ClinquantError(
        "target-failed",
        f"{who} could not answer: {' '.join(why.split())[:300]}",
        fix="see that it runs by itself; 'clinquant agree' without it compares the others.",
        exit_code=Exit.ENVIRONMENT,
    )
