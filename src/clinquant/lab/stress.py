"""Stress: both files on corrupted test pictures, and what the rule for pictures out of scope says of these and of controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from clinquant.core.card import Card
from clinquant.core.predictions import Predictions
from clinquant.core.preprocess import Preprocess
from clinquant.core.scope import Scope
from clinquant.data.corrupt import CORRUPTIONS, corrupted
from clinquant.data.pixels import Pixels
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.edge.kept import SCOPE_TABLE, write_distances
from clinquant.edge.predict import predict_corrupted
from clinquant.edge.resize import Resizer
from clinquant.evidence.corrupted import corrupted_figures
from clinquant.evidence.evidence import Corrupted, ScopeFigures
from clinquant.evidence.scope import Distances, of_corruption, scope_figures, share_beyond
from clinquant.lab.run import Run

Picture = NDArray[np.uint8]

MOST = 250
"""Test pictures that are corrupted, at most, drawn: each is run 16 times."""

OF_A_CONTROL = 50
"""Pictures of each control."""

_SEED = 4


def some(ids: Sequence[str], most: int = MOST) -> list[str]:
    """At most `most` of them, drawn."""
    chosen = np.random.default_rng(_SEED).permutation(len(ids))[:most]
    return [ids[i] for i in sorted(chosen.tolist())]


def stress(
    run: Run, study: Study, split: Split, cards: Mapping[str, Card], margin: float, unit_name: str
) -> tuple[tuple[Corrupted, ...], ScopeFigures | None]:
    """One row a corruption, and the rule of scope on test pictures and controls; the rule's distances go to `predictions/scope.csv`.

    Float and integer file read the same corrupted pixels: AUC and accuracy by the same margin, secondary.
    """
    ids = some(split.test)
    tables = {file: _predicted(run, study, split, file, ids) for file in cards}
    plain = {file: Predictions.read(run.path(f"predictions/test.{file}.csv")) for file in cards}
    scope = cards["integer"].scope
    distances = {} if scope is None else _distances(study, split, scope, cards["integer"].preprocess)
    write_distances(run.path("predictions") / SCOPE_TABLE, distances)
    rows = tuple(
        corrupted_figures(
            name,
            CORRUPTIONS[name].words,
            {file: tables[file][name] for file in cards},
            plain,
            margin=margin,
            thresholds=(cards["float"].threshold, cards["integer"].threshold),
            positive=study.positive,
            unit_name=unit_name,
            out_of_scope=None if scope is None else share_beyond(scope.limit, distances[of_corruption(name)]),
        )
        for name in CORRUPTIONS
    )
    return rows, None if scope is None else scope_figures(scope.limit, distances)


def _predicted(run: Run, study: Study, split: Split, file: str, ids: Sequence[str]) -> dict[str, Predictions]:
    with run.narrator.progress(f"run the {file} file on corrupted pictures") as tick:
        out, names = run.path(f"predictions/corrupted.{file}"), tuple(CORRUPTIONS)
        return predict_corrupted(run.path(f"{file}.onnx"), study, ids, split.units, out=out, corruptions=names, progress=tick)


def _distances(study: Study, split: Split, scope: Scope, preprocess: Preprocess) -> Distances:
    """Of test pictures as they are and corrupted, and of controls."""
    resize, pixels, ids = Resizer(preprocess), Pixels(study), some(split.test)

    def far(pictures: Iterable[tuple[str, Picture]]) -> dict[str, float]:
        return {case: scope.distance(resize(picture[None])[0]) for case, picture in pictures}

    found = {
        "test": far((case, pixels[case]) for case in ids),
        "blank": far(_numbered(_blank())),
        "noise": far(_numbered(_noise(preprocess.size))),
        "blurred": far((case, _blurred(pixels[case])) for case in some(split.test, OF_A_CONTROL)),
    }
    return found | {of_corruption(name): far((case, corrupted(pixels[case], name, case)) for case in ids) for name in CORRUPTIONS}


def _numbered(pictures: Iterable[Picture]) -> Iterable[tuple[str, Picture]]:
    return ((str(index), picture) for index, picture in enumerate(pictures))


def _blank() -> Iterable[Picture]:
    for colour in np.random.default_rng(_SEED).integers(0, 256, (OF_A_CONTROL, 3), dtype=np.uint8):
        yield np.broadcast_to(colour, (64, 64, 3)).copy()


def _noise(size: int) -> Iterable[Picture]:
    random = np.random.default_rng(_SEED)
    for _ in range(OF_A_CONTROL):
        yield random.integers(0, 256, (size, size, 3), dtype=np.uint8)


def _blurred(picture: Picture) -> Picture:
    """By a Gaussian of a tenth of the shorter side: nobody could read it."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(min(picture.shape[:2]) / 10)), dtype=np.uint8)
