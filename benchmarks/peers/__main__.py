"""Fills the table of peers: every toolkit on every float baseline at every width, a row as each finishes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.floats import baselines
from benchmarks.peers.cell import MARK, version_of
from benchmarks.peers.page import page
from benchmarks.peers.tools import TOOLS
from benchmarks.rows import Rows

from clinquant.core.artifact import write_text

KEY = ("set", "arch", "seed", "tool", "bits", "mode")
QAT_ARCHS = ("resnet20",)


def run_cell(asked: argparse.Namespace, name: str, arch: str, seed: int, tool: str, widths: list[str]) -> list[dict[str, Any]]:
    """Rows of one toolkit on one baseline, from a process of its own; a width it did not answer has the reason in `failed`."""
    command = [sys.executable, "-m", "benchmarks.peers.cell", asked.runs, asked.work, name, arch, str(seed), tool, *widths]
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=asked.minutes * 60)
        output, reason = done.stdout, f"the process ended with {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1][:200]}"
    except subprocess.TimeoutExpired as error:
        output, reason = (error.stdout or b"").decode(errors="replace"), f"not done within {asked.minutes} minutes"
    rows = [json.loads(line.removeprefix(MARK)) for line in output.splitlines() if line.startswith(MARK)]
    answered = {row["bits"] for row in rows}
    row = {"set": name, "arch": arch, "seed": seed, "tool": tool, "mode": TOOLS[tool].mode, "version": version_of(TOOLS[tool].package)}
    return rows + [row | {"bits": bits, "failed": reason} for bits in widths if bits not in answered]


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
    parser.add_argument("--minutes", type=float, default=40, help="of one toolkit on one baseline")
    asked = parser.parse_args()
    rows = Rows(asked.out, KEY)
    if asked.page:
        write_text(asked.page, page(rows.rows))
        return
    for name, arch, seed in baselines(3):
        wanted = seed in asked.seeds and (not asked.sets or name in asked.sets) and (not asked.archs or arch in asked.archs)
        if not wanted or not (asked.runs / f"{name}-{arch}-{seed}" / "float.safetensors").exists():
            continue
        for tool in asked.tools:
            if TOOLS[tool].mode == "qat" and arch not in QAT_ARCHS:
                continue
            named = {"set": name, "arch": arch, "seed": seed, "tool": tool, "mode": TOOLS[tool].mode}
            missing = [bits for bits in TOOLS[tool].widths if named | {"bits": bits} not in rows]
            for row in run_cell(asked, name, arch, seed, tool, missing) if missing else []:
                rows.add(row)


if __name__ == "__main__":
    main()
