"""Targets: what a device executes, as grids."""

from __future__ import annotations

from dataclasses import dataclass

from clinquant.core.affine import TensorSpec
from clinquant.core.errors import ClinquantError
from clinquant.lab.quantize.widths import Widths

PAIR_LIMIT = 2**15 - 1
"""Where `vpmaddubsw`, the 8-bit product of x86 without VNNI, saturates the sum of two products."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The grids that a device's integer operators compute on.

    Attributes:
        name: as printed and written into the card.
        weight: grid of convolution and linear weights.
        activation: grid of activations.
        note: what it costs and gains.
        widths: bits that a layer's weight, and the activations it reads, may have; a weight of 8 takes the bits of `weight`.
    """

    name: str
    weight: TensorSpec
    activation: TensorSpec
    note: str
    widths: tuple[int, ...] = (8, 4, 2)

    @property
    def portable(self) -> bool:
        """Whether the outputs are the same bits on every processor: no pair of products can saturate."""
        return 2 * self.activation.qmax * self.weight.qmax <= PAIR_LIMIT

    def check(self, widths: Widths) -> None:
        """Raises ClinquantError `bits-unsupported`, naming the first layer whose width the target cannot execute."""
        for kind, layers in (("weights", widths.weight), ("activations", widths.activation)):
            for layer, bits in layers.items():
                if bits not in self.widths:
                    raise ClinquantError(
                        "bits-unsupported",
                        f"{layer}: {bits}-bit {kind}, which target {self.name} cannot execute.",
                        fix=f"give the layer {', '.join(map(str, self.widths[:-1]))} or {self.widths[-1]} bits.",
                    )


def _signed(bits: int) -> TensorSpec:
    return TensorSpec(bits=bits, signed=True, symmetric=True, narrow=True, axis=0)


NOTES: dict[str, str] = {
    "portable": "uint8 activations, 7-bit weights: the same bits everywhere, as 16-bit sums cannot overflow (2 x 255 x 63 < 2^15).",
    "x86-vnni": "full 8-bit weights, for x86 with VNNI (AVX512-VNNI, AVX-VNNI, AMX); other numbers on x86 without it.",
    "arm-dotprod": "full 8-bit weights, for ARM with dot products (ARMv8.2 and later); other numbers on x86 without VNNI.",
}
"""What each target costs and gains, in a sentence."""

PORTABLE = Target(
    name="portable",
    weight=_signed(7),
    activation=TensorSpec(bits=8),
    note=NOTES["portable"],
)

X86_VNNI = Target(
    name="x86-vnni",
    weight=_signed(8),
    activation=TensorSpec(bits=8),
    note=NOTES["x86-vnni"],
)

ARM_DOTPROD = Target(
    name="arm-dotprod",
    weight=_signed(8),
    activation=TensorSpec(bits=8),
    note=NOTES["arm-dotprod"],
)

TARGETS: dict[str, Target] = {"portable": PORTABLE, "x86-vnni": X86_VNNI, "arm-dotprod": ARM_DOTPROD}
"""What `--target` takes; see docs/methods/targets.md."""


def find_target(name: str) -> Target:
    """The target called `name`. Raises ClinquantError `target-unknown`."""
    if name not in TARGETS:
        raise ClinquantError("target-unknown", f"target {name!r} is not known.", fix=f"use one of: {', '.join(TARGETS)}.")
    return TARGETS[name]
