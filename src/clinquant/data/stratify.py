"""Dividing units of unequal size over sides, so that every side has its share of every class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

Labels = Mapping[str, Counter[int]]
"""Unit -> how many images of each class it holds."""


def assign(units: Labels, shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Unit -> side, so that the images of each class are divided as `shares`, no unit being cut.

    Greedy: classes from the rarest, in each the larger units first (equal ones in random order), each unit to the side that lacks
    most of what it holds; the longest-processing-time rule (Graham 1969) with a target a side. Afterwards every side, in the order
    of `shares`, gets at least one unit of every class as far as there are units.

    Args:
        units: what each unit holds.
        shares: side -> share, summing to 1; the first side is served first where a class has fewer units than sides.
        seed: of the random order; the same units and seed give the same result in whatever order they come.
    """
    order = _order(units, seed)
    totals: Counter[int] = sum((units[unit] for unit in units), Counter())
    lacking = {side: {label: share * count for label, count in totals.items()} for side, share in shares.items()}
    placed: dict[str, str] = {}
    for unit in order:
        side = max(shares, key=lambda side: sum(n * lacking[side][label] / totals[label] for label, n in units[unit].items()))
        placed[unit] = side
        for label, n in units[unit].items():
            lacking[side][label] -= n
    for label in sorted(totals, key=lambda label: totals[label]):
        _seat(label, units, placed, list(shares), order)
    return placed


def _order(units: Labels, seed: int) -> list[str]:
    """Units by rarest class, then size, equal ones shuffled."""
    having = Counter(label for labels in units.values() for label in labels)
    names = sorted(units)
    shuffled = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
    return sorted(shuffled, key=lambda unit: (min((having[label], label) for label in units[unit]), -units[unit].total()))


def _seat(label: int, units: Labels, placed: dict[str, str], sides: list[str], order: list[str]) -> None:
    """Moves the smallest units that hold `label` to sides that have none, from the side that has most."""
    holding = [unit for unit in order if label in units[unit]]
    for side in sides[: len(holding)]:
        count = Counter(placed[unit] for unit in holding)
        if count[side] == 0:
            richest = max(sides, key=lambda other: count[other])
            movable = [unit for unit in holding if placed[unit] == richest]
            placed[min(reversed(movable), key=lambda unit: units[unit].total())] = side


def proportional(counts: Mapping[int, int], wanted: int) -> dict[int, int]:
    """`wanted` places divided as `counts` are, by largest remainders (Hamilton's rule), never over `counts`.

    Every class has a place of its own before the rest is divided, if there are as many places as classes.
    """
    wanted = min(wanted, sum(counts.values()))
    places = dict.fromkeys(counts, int(wanted >= len(counts)))
    room = {label: count - places[label] for label, count in counts.items()}
    left, total = wanted - sum(places.values()), sum(room.values())
    for label in counts:
        places[label] += left * room[label] // max(total, 1)
    by_remainder = sorted(counts, key=lambda label: (-(left * room[label] % max(total, 1)), label))
    for label in by_remainder[: wanted - sum(places.values())]:
        places[label] += 1
    return places
