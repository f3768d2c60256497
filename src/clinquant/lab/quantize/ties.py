"""Ties the scales around every addition so that it is exact in float32, and so the same on every device.

On x86 and ARM, QLinearAdd computes a r_a + b r_b + zero in float32, with ratios r = s_input / s_output, on some processors with fused
multiply-add; elsewhere (WebAssembly) round((a s_a + b s_b) / s_output) + zero. All give the same bits only when every product and
every sum is exact, that is when the scales have few significant bits, their ratios too, and the smaller is not too small beside the
larger. So within a cluster of additions the scales of sums are a short common base times powers of two, and the scales of tensors that
are only summed are that times a short fraction. Scales only grow (nothing more is clipped), the sums' by at most two. The zero point of
a sum is even: then a tie goes the same way whether it is added before or after rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clinquant.core.affine import round_up_mantissa
from clinquant.core.graph import Network

BASE_BITS, FRACTION_BITS = 6, 6
DISPARITY_BITS = 8
"""No scale of an addition has a bit below this many places under its largest: a code of 8 bits and a sign, a base, and these are 24."""

CANDIDATES = 64
"""Bases tried in one octave."""


def tied_scales(network: Network, scales: Mapping[str, float], grid_of: Mapping[str, str]) -> dict[str, np.float32]:
    """New scales for every tensor that an addition reads or writes.

    Args:
        scales: tensor -> the scale its calibration asks for.
        grid_of: node name -> the tensor whose grid its output is on.
    """
    tied: dict[str, np.float32] = {}
    together = [{grid_of[name] for name in (node.name, *node.inputs)} for node in network if node.op == "add"]
    for sums, summands in clusters(network, grid_of):
        tied |= _tie(sums, summands, scales, [names for names in together if names & set(sums)])
    return tied


def sums_of(network: Network, grid_of: Mapping[str, str]) -> set[str]:
    """The tensors that additions write."""
    return {name for sums, _ in clusters(network, grid_of) for name in sums}


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


def _tie(sums: list[str], summands: list[str], scales: Mapping[str, float], together: list[set[str]]) -> dict[str, np.float32]:
    wanted = np.array([scales[name] for name in sums])
    bases = [round_up_mantissa(2.0 ** (step / CANDIDATES), BASE_BITS) for step in range(CANDIDATES)]
    waste = [float(np.sum(np.log2(_powers(base, wanted) / wanted))) for base in bases]
    base = float(bases[int(np.argmin(waste))])
    steps = {name: float(step) / base for name, step in zip(sums, _powers(np.asarray(base), wanted), strict=True)}
    steps |= {name: float(round_up_mantissa(scales[name] / base, FRACTION_BITS)) for name in summands}
    _raise_the_smallest(steps, together)
    return {name: np.float32(base * step) for name, step in steps.items()}


def _raise_the_smallest(steps: dict[str, float], together: list[set[str]]) -> None:
    """Makes every step a multiple of the largest's power of two, `DISPARITY_BITS` down, in every addition, until nothing changes."""
    settled = False
    while not settled:
        settled = True
        for names in together:
            unit = 2.0 ** (np.floor(np.log2(max(steps[name] for name in names))) - DISPARITY_BITS)
            for name in names:
                multiple = float(np.ceil(steps[name] / unit) * unit)
                if multiple != steps[name]:
                    steps[name], settled = multiple, False


def _powers(base: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The smallest base 2^k at or above each wanted scale, float64."""
    exponent = np.ceil(np.log2(wanted / float(base)) - 1e-9)
    return np.asarray(float(base) * 2.0**exponent)
