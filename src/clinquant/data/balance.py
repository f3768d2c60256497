"""What a data set is made of: classes, sizes, modes, and whether the kind of file gives the class away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from clinquant.data.study import Case, Study

COMMONEST = 8
"""Sizes listed by name."""

GIVEN_AWAY = 0.5
"""Share of the wrong guesses that knowing a file's size or mode takes away, from which a warning is due."""

FEW = 10
"""Units of a class below which it can hardly be learnt, nor anything be shown about it."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Picture sizes, `width x height` in pixels.

    Attributes:
        distinct: how many different sizes there are.
        smallest, largest: by area.
        commonest: size -> number of images, at most 8 of them.
    """

    distinct: int
    smallest: str
    largest: str
    commonest: dict[str, int]


def balance(study: Study, units: dict[str, str]) -> dict[str, dict[str, int]]:
    """Class -> counts: `images`, `units`, and `train`, `tune`, `test` images where the data came with a split."""
    table: dict[str, dict[str, int]] = {}
    for label, name in enumerate(study.classes):
        cases = [case for case in study.cases if case.label == label]
        sides = Counter(case.split for case in cases if case.split)
        table[name] = {"images": len(cases), "units": len({units[case.id] for case in cases}), **dict(sorted(sides.items()))}
    return table


def sizes(study: Study) -> Sizes:
    """The sizes of the study's pictures."""
    counts = Counter((case.width, case.height) for case in study.cases)
    by_area = sorted(counts, key=lambda size: (size[0] * size[1], size))
    return Sizes(
        distinct=len(counts),
        smallest=_size(by_area[0]),
        largest=_size(by_area[-1]),
        commonest={_size(size): count for size, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:COMMONEST]},
    )


def modes(study: Study) -> dict[str, int]:
    """Pillow's mode of the stored images -> number of images."""
    return dict(sorted(Counter(case.mode for case in study.cases).items()))


def composition_warnings(study: Study, table: dict[str, dict[str, int]]) -> list[str]:
    """Sentences on classes with few units, on imbalance, and on sizes or modes that give the class away."""
    few = {name: row["units"] for name, row in table.items() if row["units"] < FEW}
    warnings = few_sentences(few, "independent units", "too few to learn or to show anything about")
    most, least = (pick(table, key=lambda name: table[name]["images"]) for pick in (max, min))
    if table[most]["images"] > 10 * table[least]["images"]:
        warnings.append(f"Imbalance: {table[most]['images']} images of {most!r}, {table[least]['images']} of {least!r}.")
    for what, trait in (("size", lambda case: (case.width, case.height)), ("mode (grey or colour)", lambda case: case.mode)):
        if (share := _given_away(study, trait)) >= GIVEN_AWAY:
            warnings.append(
                f"A picture's {what} alone removes {share:.0%} of wrong guesses of its class: a network may learn that instead."
            )
    return warnings


MANY_CLASSES = 3
"""Classes with few units, above which one sentence names them all."""


def few_sentences(few: dict[str, int], what: str, therefore: str) -> list[str]:
    """A sentence for each class of which there is little, or one for many; `few` is class -> number of `what`.

    >>> few_sentences({"a": 1}, "units in test", "too few")
    ["Class 'a' has only 1 unit in test: too few."]
    """
    if len(few) <= MANY_CLASSES:
        return [f"Class {name!r} has only {_counted(count, what)}: {therefore}." for name, count in few.items()]
    listed = ", ".join(f"{name!r} {count}" for name, count in few.items())
    return [f"{len(few)} classes have few {what} ({listed}): {therefore}."]


def _counted(count: int, what: str) -> str:
    return f"{count} {what.replace('units', 'unit') if count == 1 else what}"


def _given_away(study: Study, trait: Callable[[Case], object]) -> float:
    """Goodman and Kruskal's lambda (1954): by what share knowing `trait` lowers the errors of guessing the class, in [0, 1].

    Traits that fewer than 5 images share are left as they are: unique sizes would otherwise tell every class.
    """
    counts: dict[object, Counter[int]] = defaultdict(Counter)
    for case in study.cases:
        counts[trait(case)][case.label] += 1
    common = [row for row in counts.values() if row.total() >= 5]
    together = sum(common, Counter[int]())
    if not common or together.total() == max(together.values()):
        return 0.0
    without = together.total() - max(together.values())
    knowing = sum(row.total() - max(row.values()) for row in common)
    return 1.0 - knowing / without


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
