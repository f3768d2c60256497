"""Targets: what a device executes, as grids."""

from __future__ import annotations

from dataclasses import dataclass

from clinquant.core.affine import TensorSpec


@dataclass(frozen=True, kw_only=True)
class Target:
    """The grids that a device's integer operators compute on.

    Attributes:
        name: as printed and written into the card.
        weight: grid of convolution and linear weights.
        activation: grid of activations.
        note: what it costs and gains.
    """

    name: str
    weight: TensorSpec
    activation: TensorSpec
    note: str


PORTABLE = Target(
    name="portable",
    weight=TensorSpec(bits=7, signed=True, symmetric=True, narrow=True, axis=0),
    activation=TensorSpec(bits=8),
    note="uint8 activations, 7-bit weights in int8: the form whose outputs do not depend on the processor (tried: x86 with "
    "and without VNNI), because 16-bit sums of pairs cannot saturate (2 x 255 x 63 < 2^15).",
)

TARGETS: dict[str, Target] = {"portable": PORTABLE}
