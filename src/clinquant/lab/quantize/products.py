"""Keeps every product of codes away from halves, so that all float32 arithmetic rounds it alike.

QLinearMul computes d r + zero of the integer product d = (a - zero_a)(b - zero_b) with r = s_a s_b / s in float32: on x86 and ARM as
d (s_a s_b / s) + zero, fused or not, elsewhere as ((s_a a) (s_b b)) / s + zero. Where r is a fraction m / D with an odd denominator, d r is
at least 1 / (2 D) away from every half. With D below some 5,000 that is more than all these roundings together can move a code, and one of
the three scales has to grow by less than a thousandth for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from clinquant.core.affine import QParams
from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network, Node

ROUNDING = 2.0**-24
"""Largest relative error of one float32 operation."""

OPERATIONS = 6
"""Roundings of a product in the longest of the orders above, and of the scale that is chosen here."""

LARGEST_PRODUCT = 255 * 255


def settled_scales(
    network: Network,
    activations: Mapping[str, QParams],
    grid_of: Mapping[str, str],
    fixed: Iterable[str] = (),
    rather_not: Collection[str] = (),
) -> dict[str, np.float32]:
    """New scales, each a little larger, of one tensor at every product: its result, or else one of its factors.

    Args:
        activations: tensor -> its grid.
        grid_of: node name -> the tensor whose grid its output is on.
        fixed: tensors whose scale must stay (those around additions).
        rather_not: tensors whose scale changes only where no other can.

    Raises:
        ClinquantError: `operator-unsupported` where all three scales of a product are bound by additions or other products.
    """
    scales = {name: float(grid.scale) for name, grid in activations.items()}
    bound, settled = set(fixed), dict[str, np.float32]()
    for node in network:
        if node.op != "mul":
            continue
        a, b, out = (grid_of[name] for name in (*node.inputs, node.name))
        candidates = sorted((out, b, a), key=lambda name: name in rather_not)
        free = next((name for name in candidates if name not in bound and (name == out or a != b)), None)
        if free is None:
            raise _bound(node)
        settled[free] = settled_scale(scales, a, b, out, free)
        scales[free] = float(settled[free])
        bound |= {a, b, out}
    return settled


def settled_scale(scales: Mapping[str, float], a: str, b: str, out: str, free: str) -> np.float32:
    """The scale of `free`, one of the three tensors, that is at or just above its own and makes the ratio a settled one."""
    ratio = scales[a] * scales[b] / scales[out]
    if free == out:
        return np.float32(scales[a] * scales[b] / settled_ratio(ratio, upwards=False))
    other = a if free == b else b
    return np.float32(settled_ratio(ratio, upwards=True) * scales[out] / scales[other])


def settled_ratio(ratio: float, *, upwards: bool) -> float:
    """The fraction with an odd denominator nearest to `ratio` on one side, such that no product comes near a half."""
    largest = min(LARGEST_PRODUCT * ratio, 256.0)
    error = OPERATIONS * ROUNDING * largest + 2.0**-16
    denominators = np.arange(1, max(int(1 / (2 * error)), 1) + 1, 2, dtype=np.float64)
    numerators = np.ceil(ratio * denominators) if upwards else np.maximum(np.floor(ratio * denominators), 1.0)
    distances = np.abs(numerators / denominators - ratio)
    best = int(np.argmin(distances))
    return float(numerators[best] / denominators[best])


def _bound(node: Node) -> ClinquantError:
    return ClinquantError(
        "operator-unsupported",
        f"{node.name}: its factors and its result all take part in additions or other products.",
        fix="put a convolution or an activation between the product and the sum.",
    )
