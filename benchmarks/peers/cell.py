"""One toolkit on one float baseline, in a process of its own: prints a row a width.

python -m benchmarks.peers.cell RUNS WORK SET ARCH SEED TOOL BITS...
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.peers.case import Case
from benchmarks.peers.tools import TOOLS, Tool
from benchmarks.rows import paired

from clinquant import __version__
from clinquant.edge.runtimes.onnxruntime import version as onnxruntime_version

MARK = "ROW "


def facts(case: Case, tool: Tool, bits: str) -> dict[str, Any]:
    """What one width gives on the test set, or in `failed` the first line of why there is nothing."""
    began = time.monotonic()
    try:
        deployed = tool.load()(case, bits)
        seconds = time.monotonic() - began
        scores = np.asarray(deployed.predict(case.images(case.split.test)), np.float32)
        answered = case.predictions(scores, deployed.runtime)
    except Exception as error:  # every toolkit raises in its own way
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return {"failed": f"{type(error).__name__}: {' '.join(lines[0].split()) if lines else ''}"[:300]}
    baseline = case.predictions(case.answers(case.float_file, case.split.test), onnxruntime_version())
    found = paired(baseline, answered)
    found |= {"test_images": len(scores), "bytes": deployed.bytes, "bytes_ratio": round(deployed.bytes / case.float_file.stat().st_size, 4)}
    found |= {"recipe": deployed.recipe, "runtime": deployed.runtime, "seconds": round(seconds, 1)}
    return found


def version_of(package: str) -> str:
    """The version of an installed package, or of this one."""
    try:
        return __version__ if package == "clinquant" else version(package)
    except PackageNotFoundError:
        return "not installed"


def main(arguments: list[str]) -> None:
    """Prints a line of JSON a toolkit and width."""
    runs, work, name, arch, seed, *pairs = arguments
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    case = Case(name, arch, int(seed), Path(runs), Path(work))
    case.folder.mkdir(parents=True, exist_ok=True)
    for tool_name, bits in (pair.split(":") for pair in pairs):
        tool = TOOLS[tool_name]
        row = {"set": name, "arch": arch, "seed": int(seed), "tool": tool_name, "bits": bits, "mode": tool.mode}
        print(MARK + json.dumps(row | {"version": version_of(tool.package)} | facts(case, tool, bits)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
