"""Ties the scales around every addition so that no sum comes near a half, and so is the same code on every device.

QLinearAdd rounds a r_a + b r_b, with r = s_input / s_output, in as many ways as there are processors: x86 in float32, in part with fused
multiply-add, the zero point added before rounding to even; 64-bit ARM with integer multipliers of 22 bits, halves rounded away from zero,
the zero point added after; WebAssembly as round((a s_a + b s_b) / s_output) + zero. They agree where no sum is nearer to a half than their
errors reach. So within a cluster of additions every scale is a multiple of one unit, and that of a sum an odd multiple m: sums of codes
are then multiples of 1 / m, and every one is at least 1 / (2 m) away from all halves. Scales only grow, so that nothing more is clipped:
by less than a hundredth where the scales of a cluster are alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clinquant.core.graph import Network

LARGEST_MULTIPLE = 1025
"""Of the unit. The errors on the way of a term a r_a, |a| <= 255, are at most six roundings of 2^-24 (two scales, their ratio, its
product, the sum, one to spare) and ARM's 2^-22 of the greater r; of the result, below 512, 2^-16. With multiples m_a, m_b of the summed
tensors, that is 2 255 max(m_a, m_b) / m (6 2^-24 + 2^-22) + 2^-16, and below 1 / (2 m) for all multiples up to 1,566."""

CANDIDATES = 64
"""Units tried in one octave."""


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
    names = [*sums, *summands]
    wanted, odd = np.array([scales[name] for name in names]), np.arange(len(names)) < len(sums)
    units = [wanted.max() / (LARGEST_MULTIPLE - 2) * 2.0 ** (step / CANDIDATES) for step in range(CANDIDATES)]
    waste = [float(np.log2(_multiples(wanted / unit, odd) * unit / wanted).sum()) for unit in units]
    unit = units[int(np.argmin(waste))]
    return {name: np.float32(unit * multiple) for name, multiple in zip(names, _multiples(wanted / unit, odd), strict=True)}


def _multiples(wanted: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """The smallest whole numbers at or above `wanted`, odd ones where `odd`, float64."""
    above = np.maximum(np.ceil(wanted - 1e-9), 1.0)
    return np.where(odd & (above % 2 == 0), above + 1.0, above)
