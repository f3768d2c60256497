"""The harness of the build's kill test: forks builds of a tiny study, kills them, and prints what became of the files.

Forking after the imports, in a process that has not computed yet, starts a build in milliseconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from clinquant.core.artifact import sha256_file
from clinquant.lab.build import build
from clinquant.lab.options import BuildOptions

FILES = ("float.safetensors", "float.onnx", "integer.onnx", "bundle/model.onnx")


def options(data: Path) -> BuildOptions:
    return BuildOptions(data=str(data), arch="resnet20", size=16, epochs=2)


def start(data: Path, out: Path) -> int:
    """A build in a process of its own; its pid."""
    if child := os.fork():
        return child
    os.setsid()
    try:
        build(options(data), out)
    except BaseException as error:
        print(error, file=sys.stderr)
        os._exit(1)
    os._exit(0)


def ended(child: int, within: float) -> int | None:
    """The exit status of a build that ends in time, else None."""
    deadline = time.perf_counter() + within
    while time.perf_counter() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def digests(out: Path) -> dict[str, str]:
    return {name: sha256_file(out / name) for name in FILES}


def main(data: Path, folder: Path, kills: int) -> dict[str, object]:
    """The unbroken build's files, and those of every build that was killed on its way, `kills` times in all."""
    begun = time.perf_counter()
    assert ended(start(data, folder / "unbroken"), 300) == 0
    seconds, moments = time.perf_counter() - begun, random.Random(1)
    done, runs, steps = 0, 0, set()
    while done < kills:
        out = folder / f"run{runs}"
        child = start(data, out)
        status = ended(child, moments.uniform(0, seconds))
        if status is None:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            done += 1
            steps.add(len(list((out / "steps").glob("*.json"))) if out.exists() else 0)
        else:
            assert status == 0
            runs += 1
    assert ended(start(data, folder / f"run{runs}"), 300) == 0
    return {
        "unbroken": digests(folder / "unbroken"),
        "killed": [digests(folder / f"run{index}") for index in range(runs + 1)],
        "steps": sorted(steps),
        "seconds": seconds,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
