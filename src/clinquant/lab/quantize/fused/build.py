"""Compiles `kernels.cpp` once per machine, compiler and source, with whatever C++ compiler there is; without one, torch does the work.

The kernels have a C interface: no header of Python or PyTorch is read, so that a build takes seconds and outlives their versions.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from clinquant.data.cache import cache_folder

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
"""No fused multiply-add: results are then the same on every instruction set."""
EXTRAS = (("-march=native", "-fopenmp"), ("-fopenmp",), ())
"""Flags that some compilers lack: the first that work are taken. Without OpenMP the kernels run on one thread."""
SECONDS = 600
"""After which a compiler is given up."""

log = logging.getLogger(__name__)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where `CLINQUANT_FUSED=0`, where no compiler is found, or where it fails (told once, in the log)."""
    if os.environ.get("CLINQUANT_FUSED") == "0":
        return None
    compiler = find_compiler()
    if compiler is None:
        log.info("no C++ compiler found: quantization-aware training runs in plain torch, two to three times as slow")
        return None
    try:
        return ctypes.CDLL(str(built(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("the training kernels could not be built (%s): quantization-aware training runs in plain torch", _reason(error))
        return None


def arithmetic() -> str:
    """Names what computes a quantized network's training: its last bits differ between the two."""
    if library() is None:
        return "torch"
    return f"fused {hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}"


def find_compiler() -> str | None:
    """`CXX` or the first of c++, g++ and clang++ on the path."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next((found for name in names if (found := shutil.which(name))), None)


def built(compiler: str) -> Path:
    """The shared library in the user's cache, compiled now if it is not there.

    Raises:
        OSError, subprocess.SubprocessError: where the compiler or the cache fails.
    """
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=SECONDS).stdout
    key = hashlib.sha256(b"\0".join((SOURCE.read_bytes(), version, repr((FLAGS, EXTRAS)).encode(), processor().encode()))).hexdigest()[:24]
    folder = cache_folder("kernels")
    path = folder / f"{key}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            made = Path(fresh) / "kernels.so"
            _compile(compiler, made)
            os.replace(made, path)
    return path


def processor() -> str:
    """What `-march=native` depends on: the processor's model and instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    told = {line for line in lines if line.split(":")[0].strip() in ("model name", "flags", "Features", "CPU part")}
    return f"{platform.machine()} {sorted(told)}"


def _compile(compiler: str, made: Path) -> None:
    for extras in EXTRAS:
        command = [compiler, *FLAGS, *extras, str(SOURCE), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, check=extras == EXTRAS[-1], timeout=SECONDS)
        if done.returncode == 0:
            return


def _reason(error: Exception) -> str:
    said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
    return (said.splitlines() or [str(error)])[0]
