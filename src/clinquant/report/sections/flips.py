"""The cases the two files decide differently, worst first, with their pictures and class maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinquant.core.predictions import Predictions
from clinquant.evidence.evidence import Evidence, Flip
from clinquant.report.overlay import contrast
from clinquant.report.thumbnails import data_uri, thumbnail
from clinquant.report.wording import counted, rate

SHOWN = 24
"""Most flipped cases with pictures; the others are counted, and all stand in evidence.json."""

Images = Callable[[str], NDArray[np.uint8]]
ClassMaps = Callable[[list[str]], dict[str, NDArray[np.float32]]]

OUTCOMES = {
    "lost": "Integer wrong, float right",
    "gained": "Integer right, float wrong",
    "neither": "Both wrong",
    "unknown": "No reference label",
}
"""Kind of a flip -> what stands above its picture."""

TALLY = {
    "lost": "the integer file is wrong where the float file was right",
    "gained": "the integer file is right where the float file was wrong",
    "neither": "both are wrong, in different ways",
    "unknown": "no reference label is known",
}
"""Kind of a flip -> how the sentence that counts them goes on."""


@dataclass(frozen=True, kw_only=True)
class FlipCard:
    """One flipped case; `id`, `group` and the class names are untrusted text, `picture` and `overlay` data URIs."""

    id: str
    group: str
    label: str
    baseline: str
    candidate: str
    baseline_probability: str
    candidate_probability: str
    outcome: str
    kind: str
    picture: str
    overlay: str | None


@dataclass(frozen=True, kw_only=True)
class Flips:
    """The gallery and the tally; `probability_of` names the class whose probability is printed, or None for each decision's own."""

    cards: tuple[FlipCard, ...]
    total: int
    left_out: int
    tally: str
    probability_of: str | None
    mapped: bool


def flips(evidence: Evidence, predictions: Mapping[str, Predictions], images: Images, class_maps: ClassMaps | None) -> Flips:
    """Flipped cases of the locked test set: those the integer file lost first, then by how far the probabilities moved."""
    ordered = worst_first(evidence.flips, predictions)
    shown = ordered[:SHOWN]
    maps = class_maps([flip.id for flip in shown]) if class_maps is not None and shown else {}
    return Flips(
        cards=tuple(_card(flip, evidence.classes, images(flip.id), maps.get(flip.id)) for flip in shown),
        total=len(ordered),
        left_out=len(ordered) - len(shown),
        tally=_tally([outcome(flip) for flip in ordered]),
        probability_of=None if evidence.positive is None else evidence.classes[evidence.positive],
        mapped=bool(maps),
    )


def worst_first(flipped: Sequence[Flip], predictions: Mapping[str, Predictions]) -> list[Flip]:
    """Lost cases, then cases wrong both times, then gained ones; within each, the largest move of any class probability first."""
    row = {case: i for i, case in enumerate(predictions["float"].ids)}
    moved = np.abs(predictions["integer"].probabilities - predictions["float"].probabilities).max(axis=1)
    rank = {"lost": 0, "unknown": 1, "neither": 2, "gained": 3}
    return sorted(flipped, key=lambda flip: (rank[outcome(flip)], -float(moved[row[flip.id]]), flip.id))


def outcome(flip: Flip) -> str:
    """`lost` when only the float file was right, `gained` when only the integer file was, `neither`, or `unknown` without a label."""
    if flip.label < 0:
        return "unknown"
    if flip.label == flip.baseline:
        return "lost"
    return "gained" if flip.label == flip.candidate else "neither"


def _card(flip: Flip, classes: Sequence[str], pixels: NDArray[np.uint8], maps: NDArray[np.float32] | None) -> FlipCard:
    tinted = None if maps is None else contrast(pixels, maps, for_class=flip.candidate, against=flip.baseline)
    kind = outcome(flip)
    return FlipCard(
        id=flip.id,
        group=flip.group,
        label=classes[flip.label] if flip.label >= 0 else "not known",
        baseline=classes[flip.baseline],
        candidate=classes[flip.candidate],
        baseline_probability=rate(flip.baseline_probability),
        candidate_probability=rate(flip.candidate_probability),
        outcome=OUTCOMES[kind],
        kind=kind,
        picture=thumbnail(pixels),
        overlay=None if tinted is None else data_uri(tinted, "JPEG"),
    )


def _tally(outcomes: Sequence[str]) -> str:
    if not outcomes:
        return "No test case was decided differently by the two files."
    counts = [(outcomes.count(kind), words) for kind, words in TALLY.items()]
    parts = [f"in {number} {words}" for number, words in counts if number]
    return f"{counted(len(outcomes), 'test case')} decided differently: {', '.join(parts)}."
