"""Names of layers as names of torch's modules and parameters."""

from __future__ import annotations


def child_name(name: str) -> str:
    """`name` without the dots that torch forbids in the name of a module, parameter or buffer."""
    return name.replace(".", "/")
