"""Explanations out of an exported file, without a gradient: its own class map, occlusion, RISE; and the curves that test a map.

A map is float64 [h, w] on the network's input pixels: large where the picture speaks for the class.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import softmax
from clinquant.edge.runtimes import Session
from clinquant.evidence.maps import curve_area

Pixels = NDArray[np.uint8]
Map = NDArray[np.float64]

BATCH = 64
"""Changed copies of a picture that are run together."""
WINDOW = 7
"""A side of the picture is so many windows of occlusion; they overlap by half."""
MASKS, CELLS, KEPT = 400, 7, 0.5
"""RISE: how many masks, cells a side, and the chance that a cell is kept (its section 4)."""
STEPS = 16
"""Of the insertion and deletion curves."""


def class_map(session: Session, pixels: Pixels, label: int) -> Map:
    """The file's own class activation map of class `label`, enlarged to the picture: its mean is the logit, but for the bias.

    Raises:
        ClinquantError: `explain-no-map` where the network does not end in global pooling and a linear layer.
    """
    found = session.run(pixels[None]).class_map
    if found is None:
        raise ClinquantError("explain-no-map", "this file has no class map.", fix="ask for occlusion or rise.")
    return enlarged(found[0, label], pixels.shape[:2])


def occlusion(session: Session, pixels: Pixels, label: int, *, windows: int = WINDOW) -> Map:
    """How far the class's log odds fall when a window is greyed out, at each place the mean over the windows that cover it.

    Zeiler and Fergus 2014, arXiv 1311.2901, section 4.2. The grey is the mean of the picture, channel by channel.
    """
    height, width = pixels.shape[:2]
    side = max(1, max(height, width) // windows)
    starts = [range(0, max(1, length - side // 2), max(1, side // 2)) for length in (height, width)]
    places = [(top, left) for top in starts[0] for left in starts[1]]
    grey = np.rint(pixels.mean((0, 1))).astype(np.uint8)
    changed = np.repeat(pixels[None], len(places), axis=0)
    covered = np.zeros((len(places), height, width))
    for row, (top, left) in enumerate(places):
        changed[row, top : top + side, left : left + side] = grey
        covered[row, top : top + side, left : left + side] = 1
    fall = log_odds(answers(session, pixels[None]), label) - log_odds(answers(session, changed), label)
    return np.asarray(np.tensordot(fall, covered, 1) / np.maximum(covered.sum(0), 1))


def rise(session: Session, pixels: Pixels, label: int, *, masks: int = MASKS, seed: int = 0) -> Map:
    """RISE (Petsiuk, Das and Saenko 2018, arXiv 1806.07421, eq. 6): the mean of random masks, weighted by the class's probability.

    Masks are 7 x 7 cells, each kept with chance one half, enlarged bilinearly and shifted at random; what is not kept fades to black.
    """
    height, width = pixels.shape[:2]
    generator = np.random.default_rng(seed)
    total, weights = np.zeros((height, width)), 0.0
    for start in range(0, masks, BATCH):
        drawn = np.stack([_mask(generator, height, width) for _ in range(min(BATCH, masks - start))])
        changed = np.rint(pixels[None] * drawn[..., None]).astype(np.uint8)
        probability = softmax(answers(session, changed))[:, label]
        total += np.tensordot(probability, drawn, 1)
        weights += float(probability.sum())
    return total / (masks * KEPT)


def _mask(generator: np.random.Generator, height: int, width: int) -> Map:
    cell_h, cell_w = -(-height // CELLS), -(-width // CELLS)
    cells = (generator.random((CELLS + 1, CELLS + 1)) < KEPT).astype(np.float32)
    whole = enlarged(cells, ((CELLS + 1) * cell_h, (CELLS + 1) * cell_w))
    top, left = generator.integers(0, cell_h), generator.integers(0, cell_w)
    return np.clip(whole[top : top + height, left : left + width], 0, 1)


FILE_METHODS: dict[str, Callable[[Session, Pixels, int], Map]] = {"class_map": class_map, "occlusion": occlusion, "rise": rise}
"""Method -> how it explains one picture by running an exported file."""


def insertion_and_deletion(session: Session, pixels: Pixels, values: Map, label: int, *, steps: int = STEPS) -> tuple[float, float]:
    """Areas under the class's probability while positions are put in, or taken out, the greatest of the map first (RISE, section 4.2).

    Insertion begins with the picture blurred, deletion ends with it grey (its own mean). A good map has a large first and a small second.
    """
    order = np.argsort(-values.ravel(), kind="stable")
    counts = np.rint(np.linspace(0, len(order), steps + 1)).astype(np.int64)
    grey, soft = np.broadcast_to(np.rint(pixels.mean((0, 1))).astype(np.uint8), pixels.shape), blurred(pixels)
    shown = np.zeros((steps + 1, len(order)), bool)
    for row, count in enumerate(counts):
        shown[row, order[:count]] = True
    shown = shown.reshape(steps + 1, *pixels.shape[:2], 1)
    put_in, taken_out = np.where(shown, pixels, soft), np.where(shown, grey, pixels)
    probability = softmax(answers(session, np.concatenate([put_in, taken_out])))[:, label]
    return curve_area(probability[: steps + 1]), curve_area(probability[steps + 1 :])


def blurred(pixels: Pixels) -> Pixels:
    """The picture with nothing finer than a seventh of its side, by shrinking and enlarging it."""
    height, width = pixels.shape[:2]
    small = Image.fromarray(pixels).resize((CELLS, CELLS), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.uint8)


def answers(session: Session, images: Pixels) -> NDArray[np.float32]:
    """Logits [n, k] of uint8 [n, h, w, 3], in batches."""
    return np.concatenate([session.run(images[start : start + BATCH]).logits for start in range(0, len(images), BATCH)])


def log_odds(logits: NDArray[np.float32], label: int) -> NDArray[np.float64]:
    """[n] log of the odds of class `label` against all others together."""
    others = np.delete(logits.astype(np.float64), label, axis=1)
    peak = others.max(1)
    return np.asarray(logits[:, label] - peak - np.log(np.exp(others - peak[:, None]).sum(1)))


def enlarged(values: NDArray[np.float32], shape: tuple[int, int]) -> Map:
    """A map [rows, columns], bilinear on [h, w]."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32)).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float64)
