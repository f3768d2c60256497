"""What the paper's study compares: how a network is trained and put on integers, and at which widths."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a file comes about.

    Attributes:
        guided: its float network is trained with saliency guidance.
        recipe: of quantization: a key of `RECIPES` or `fake_quant.METHODS`; None leaves it float.
        preserving: attribution is preserved in training (`PreserveAttribution`).
        against: the way that it is compared with, image by image, at the same widths.
    """

    guided: bool = False
    recipe: str | None = None
    preserving: bool = False
    against: str | None = None


WAYS: dict[str, Way] = {
    "float": Way(),
    "sgt": Way(guided=True, against="float"),
    "ptq": Way(recipe="mse"),
    "lsq": Way(recipe="lsq", against="ptq"),
    "pact": Way(recipe="pact", against="lsq"),
    "sgt+lsq": Way(guided=True, recipe="lsq", against="lsq"),
    "lsq+ap": Way(recipe="lsq", preserving=True, against="lsq"),
}
"""Name -> way. `ptq` is rounding after training, `lsq` and `pact` quantization-aware training, `ap` attribution preservation."""

BITS = ("w4a4", "w2a2", "w42", "w8a8")
"""The paper's widths: 4, 2, mixed 4/2 and 8 bits, the most telling first."""


@dataclass(frozen=True, kw_only=True, order=True)
class Key:
    """What names a row."""

    set: str
    arch: str
    seed: int
    way: str
    bits: str


def planned(sets: tuple[str, ...], arch: str, seeds: tuple[int, ...], bits: tuple[str, ...], ways: tuple[str, ...]) -> list[Key]:
    """Every row, in the order they are made: a seed is complete before the next begins, a width before the next."""
    floats = [way for way in ways if WAYS[way].recipe is None]
    others = [way for way in ways if WAYS[way].recipe is not None]
    return [
        Key(set=name, arch=arch, seed=seed, way=way, bits=width)
        for seed in seeds
        for width, chosen in (("float", floats), *((width, others) for width in bits))
        for name in sets
        for way in chosen
    ]
