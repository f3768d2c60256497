"""Whether explanations survived: distances beside a floor and a control, and class maps of both files side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinquant.core.predictions import Predictions
from clinquant.evidence.evidence import Evidence
from clinquant.evidence.fidelity import Estimate, Fidelity
from clinquant.evidence.maps import spearman
from clinquant.report.overlay import tinted
from clinquant.report.sections.flips import ClassMaps, Images
from clinquant.report.thumbnails import data_uri, thumbnail
from clinquant.report.wording import counted

SHOWN = 6
"""Cases with pictures, evenly spaced over the test set."""

METHODS = {
    "class_map": "class map",
    "occlusion": "occlusion",
    "rise": "RISE",
    "gradient": "gradient",
    "integrated_gradients": "integrated gradients",
    "smoothgrad": "SmoothGrad",
    "grad_cam": "Grad-CAM",
}
METRICS = {
    "spearman": "rank correlation",
    "ssim": "structural similarity",
    "top_iou": "overlap of the greatest tenth",
    "insertion": "insertion area (more is better)",
    "deletion": "deletion area (less is better)",
    "gini": "sparsity (Gini)",
    "pointing": "pointing hits",
}


@dataclass(frozen=True, kw_only=True)
class FidelityRow:
    """One metric of one method, as text."""

    method: str
    metric: str
    baseline: str
    candidate: str
    distance: str
    floor: str
    fraction: str
    control: str


@dataclass(frozen=True, kw_only=True)
class MapCard:
    """One case: data URIs of the picture and of both files' maps over it, and the maps' rank correlation."""

    id: str
    class_name: str
    picture: str
    baseline: str
    candidate: str
    alike: str


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """The section; `floored` tells whether there is a second float network to compare with."""

    words: str
    images: int
    floored: bool
    rows: tuple[FidelityRow, ...]
    cards: tuple[MapCard, ...]


def explanations(
    evidence: Evidence,
    predictions: Mapping[str, Predictions],
    images: Images,
    class_maps: ClassMaps | None,
    float_maps: ClassMaps | None,
) -> Explanations | None:
    """The section; None where fidelity was not measured."""
    if not evidence.fidelity:
        return None
    floored = all(each.floor is not None for each in evidence.fidelity)
    return Explanations(
        words=words(evidence, floored),
        images=evidence.fidelity[0].images,
        floored=floored,
        rows=tuple(_row(each) for each in evidence.fidelity),
        cards=_cards(evidence, predictions["float"], images, class_maps, float_maps),
    )


def words(evidence: Evidence, floored: bool) -> str:
    """What the table says, in a sentence or two."""
    if not floored:
        return (
            "There is no second float network to tell chance from change: how far training again would move the explanations is not known. "
            "Build with --noise-floor to train one."
        )
    similar = [each for each in evidence.fidelity if each.metric in ("spearman", "ssim", "top_iou") and each.fraction is not None]
    least, most = min(similar, key=_fraction), max(similar, key=_fraction)
    return (
        f"Quantization moved the explanations by {_fraction(least):.2f} (by {METRICS[least.metric]} of the {METHODS[least.method]}) to "
        f"{_fraction(most):.2f} ({METRICS[most.metric]} of the {METHODS[most.method]}) of what training the float network again, with "
        "another seed, moves them. That says how stable they are, not that they are right."
    )


def _fraction(each: Fidelity) -> float:
    assert each.fraction is not None
    return each.fraction.value


def _row(each: Fidelity) -> FidelityRow:
    return FidelityRow(
        method=METHODS.get(each.method, each.method),
        metric=_metric(each),
        baseline="–" if each.baseline is None else f"{each.baseline:.3f}",
        candidate="–" if each.candidate is None else f"{each.candidate:.3f}",
        distance=_text(each.distance),
        floor=_text(each.floor),
        fraction=_text(each.fraction),
        control=_text(each.control),
    )


def _metric(each: Fidelity) -> str:
    """The metric in words; of pointing hits also how many images have a mask, and what chance would hit."""
    words = METRICS.get(each.metric, each.metric)
    if each.chance is None:
        return words
    return f"{words}, {counted(each.images, 'image')} with a finding ({each.chance:.3f} by chance)"


def _text(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.3f} [{estimate.lower:.3f}, {estimate.upper:.3f}]"


def _cards(
    evidence: Evidence, predictions: Predictions, images: Images, class_maps: ClassMaps | None, float_maps: ClassMaps | None
) -> tuple[MapCard, ...]:
    if class_maps is None or float_maps is None:
        return ()
    rows = np.unique(np.linspace(0, len(predictions.ids) - 1, min(SHOWN, len(predictions.ids))).astype(np.int64))
    cases = [predictions.ids[row] for row in rows]
    integer, floating = class_maps(cases), float_maps(cases)
    shown = [
        (case, int(predictions.scores[row].argmax())) for case, row in zip(cases, rows, strict=True) if case in integer and case in floating
    ]
    return tuple(_card(case, evidence.classes[label], images(case), floating[case][label], integer[case][label]) for case, label in shown)


def _card(case: str, class_name: str, pixels: NDArray[np.uint8], baseline: NDArray[np.float32], candidate: NDArray[np.float32]) -> MapCard:
    peak = float(max(np.abs(baseline).max(), np.abs(candidate).max()))
    return MapCard(
        id=case,
        class_name=class_name,
        picture=thumbnail(pixels),
        baseline=data_uri(tinted(pixels, baseline, peak), "JPEG"),
        candidate=data_uri(tinted(pixels, candidate, peak), "JPEG"),
        alike=f"rank correlation {spearman(baseline, candidate):.2f}",
    )
