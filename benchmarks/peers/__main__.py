"""Fills the table of peers: every toolkit on every float baseline at every width, a row as each finishes."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.floats import baselines
from benchmarks.peers.cell import MARK, version_of
from benchmarks.peers.page import page
from benchmarks.peers.tools import TOOLS
from benchmarks.rows import Rows

from clinquant.core.artifact import write_text

KEY = ("set", "arch", "seed", "tool", "bits", "mode")
TRAINED = {("pneumoniamnist_rebuilt", "resnet18_28", 0), ("kermany_cxr_224", "efficientnet_lite0", 0)}
"""Baselines beside ResNet-20 that toolkits train on."""
Pair = tuple[str, str]


def run_cell(asked: argparse.Namespace, case: tuple[str, str, int], pairs: list[Pair]) -> Iterator[dict[str, Any]]:
    """Rows of (toolkit, bits) on one baseline as a process of their own prints them.

    When the process ends or stalls before it has answered all, the first without an answer gets the reason in `failed`, and another process
    does those after it.
    """
    while pairs:
        names = [f"{tool}:{bits}" for tool, bits in pairs]
        command = [sys.executable, "-m", "benchmarks.peers.cell", asked.runs, asked.work, *case, *names]
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
            subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        ):
            assert process.stdout is not None
            watch = threading.Timer(asked.minutes * 60 * len(pairs), process.kill)
            watch.start()
            for line in process.stdout:
                if line.startswith(MARK):
                    pairs = pairs[1:]
                    yield json.loads(line.removeprefix(MARK))
            watch.cancel()
            errors.seek(0)
            last = [line for line in errors.read().splitlines() if line.strip()][-1:]
        if process.wait() in (-signal.SIGTERM, -signal.SIGINT):
            raise SystemExit("stopped: the rows that are missing are made by the next call")
        if pairs:
            (tool, bits), pairs = pairs[0], pairs[1:]
            reason = f"the process ended with {process.returncode}: {' '.join(last)[:200]}"
            yield named(case, tool, bits) | {"version": version_of(TOOLS[tool].package), "failed": reason}


def named(case: tuple[str, str, int], tool: str, bits: str) -> dict[str, Any]:
    """The key of a row."""
    return dict(zip(KEY, (*case, tool, bits, TOOLS[tool].mode), strict=True))


def main() -> None:
    """Makes the rows that are missing, or only the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--runs", "--work", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--page", type=Path, help="write this page from the table, and make no row")
    parser.add_argument("--tools", nargs="*", default=list(TOOLS))
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--archs", nargs="*")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=60, help="allowed for each row, on the whole")
    asked = parser.parse_args()
    rows = Rows(asked.out, KEY)
    if asked.page:
        write_text(asked.page, page(rows.rows))
        return
    for name, arch, seed in baselines(3):
        wanted = seed in asked.seeds and (not asked.sets or name in asked.sets) and (not asked.archs or arch in asked.archs)
        if not wanted or not (asked.runs / f"{name}-{arch}-{seed}" / "float.safetensors").exists():
            continue
        case = (name, arch, seed)
        trains = arch == "resnet20" or case in TRAINED
        pairs = [(tool, bits) for tool in asked.tools for bits in TOOLS[tool].widths if trains or TOOLS[tool].mode == "ptq"]
        missing = [(tool, bits) for tool, bits in pairs if named(case, tool, bits) not in rows]
        # NNCF changes torch when it is imported: it gets a process for itself.
        for alone in (False, True):
            for row in run_cell(asked, case, [pair for pair in missing if pair[0].startswith("nncf") is alone]):
                rows.add(row)


if __name__ == "__main__":
    main()
