"""Ties the scales around every addition so that it is exact in float32, and so the same on every device.

QLinearAdd computes a r_a + b r_b + zero in float32, on some processors with fused multiply-add. Both give the same bits only
when every product and the sum are exact, that is when the ratios r = s_input / s_output have few significant bits. So within
a cluster of additions the scales of sums are a common base times powers of two, and the scales of tensors that are only
summed are that times a six-bit fraction. Scales only grow (nothing more is clipped), the sums' by at most two.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clinquant.core.affine import round_up_mantissa
from clinquant.core.graph import Network

BASE_BITS, FRACTION_BITS = 12, 6
CANDIDATES = 64
"""Bases tried in one octave."""


def tied_scales(network: Network, scales: Mapping[str, float], grid_of: Mapping[str, str]) -> dict[str, np.float32]:
    """New scales for every tensor that an addition reads or writes.

    Args:
        scales: tensor -> the scale its calibration asks for.
        grid_of: node name -> the tensor whose grid its output is on.
    """
    tied: dict[str, np.float32] = {}
    for sums, summands in clusters(network, grid_of):
        tied |= _tie(sums, summands, scales)
    return tied


def clusters(network: Network, grid_of: Mapping[str, str]) -> list[tuple[list[str], list[str]]]:
    """Connected additions as (tensors that are sums, tensors that are only summed), each sorted."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            name = parent[name]
        return name

    additions = [node for node in network if node.op == "add"]
    for node in additions:
        out = root(grid_of[node.name])
        for source in node.inputs:
            parent[root(grid_of[source])] = out
    sums = {grid_of[node.name] for node in additions}
    found: dict[str, tuple[list[str], list[str]]] = {}
    for name in sorted(parent):
        found.setdefault(root(name), ([], []))[0 if name in sums else 1].append(name)
    return [found[key] for key in sorted(found)]


def _tie(sums: list[str], summands: list[str], scales: Mapping[str, float]) -> dict[str, np.float32]:
    wanted = np.array([scales[name] for name in sums])
    bases = [round_up_mantissa(2.0 ** (step / CANDIDATES), BASE_BITS) for step in range(CANDIDATES)]
    waste = [float(np.sum(np.log2(_powers(base, wanted) / wanted))) for base in bases]
    base = bases[int(np.argmin(waste))]
    tied = {name: np.float32(scale) for name, scale in zip(sums, _powers(base, wanted), strict=True)}
    for name in summands:
        tied[name] = np.float32(base * round_up_mantissa(scales[name] / float(base), FRACTION_BITS))
    return tied


def _powers(base: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The smallest base 2^k at or above each wanted scale, float64."""
    exponent = np.ceil(np.log2(wanted / float(base)) - 1e-9)
    return np.asarray(float(base) * 2.0**exponent)
