"""What clinquant stands on here: versions, processor, caches and disk."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from clinquant import __version__
from clinquant.data.cache import cache_folder
from clinquant.edge.machine import cpu_features, machine

PACKAGES = ("numpy", "onnx", "onnxruntime", "pillow", "torch", "safetensors", "jinja2", "timm")
"""What the edge ring and the extras use."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """A folder of what clinquant keeps for this user, and its files' bytes in all."""

    path: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Health:
    """What was found.

    Attributes:
        clinquant, python: versions.
        packages: name -> version, or None where it is not installed.
        machine: processor in words.
        cores: this process may use.
        portable_fast: the processor has the 8-bit dot products that make integers several times faster than floats.
        caches: name -> folder and bytes.
        disk_free: bytes left in the current folder.
    """

    clinquant: str
    python: str
    packages: dict[str, str | None]
    machine: str
    cores: int
    portable_fast: bool
    caches: dict[str, Cache]
    disk_free: int


def doctor() -> Health:
    """Looks, imports nothing heavy and changes nothing."""
    return Health(
        clinquant=__version__,
        python=f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        packages={name: _version(name) for name in PACKAGES},
        machine=machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        portable_fast=bool({"avx512_vnni", "avx_vnni", "asimddp"} & set(cpu_features())),
        caches=_caches(),
        disk_free=shutil.disk_usage(Path.cwd()).free,
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _caches() -> dict[str, Cache]:
    root = cache_folder("").resolve()
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return {path.name: Cache(path=str(path), bytes=_bytes(path)) for path in folders}


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
