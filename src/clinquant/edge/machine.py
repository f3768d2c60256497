"""What this machine is, in words that stand beside every measurement."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
"""Processor flags that decide how fast integers run, as Linux names them."""


@cache
def machine() -> str:
    """Processor model, architecture and the integer features it has."""
    features = cpu_features()
    return f"{_model_name()} {platform.machine()}" + (f" ({' '.join(features)})" if features else "")


@cache
def cpu_features() -> tuple[str, ...]:
    """Those of `FEATURES` that the processor has; empty where the system does not tell."""
    flags = set(_cpuinfo("flags").split()) | set(_cpuinfo("Features").split())
    return tuple(feature for feature in FEATURES if feature in flags)


def _model_name() -> str:
    return _cpuinfo("model name") or platform.processor() or "unknown processor"


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
