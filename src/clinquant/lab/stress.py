"""Stress: both files on corrupted test pictures, and what the rule for pictures out of scope says of these and of controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from clinquant.core.card import Card
from clinquant.core.predictions import Predictions
from clinquant.core.scope import Scope
from clinquant.data.corrupt import CORRUPTIONS, corrupted
from clinquant.data.pixels import Pixels
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.edge.predict import predict_corrupted
from clinquant.edge.resize import Resizer
from clinquant.evidence.churn import agreement
from clinquant.evidence.claims import Claim, Role
from clinquant.evidence.compare import Thresholds, compare
from clinquant.evidence.evidence import Corrupted, ScopeFigures
from clinquant.evidence.measured import wilson
from clinquant.evidence.paired import pair_up
from clinquant.lab.run import Run

Picture = NDArray[np.uint8]

MOST = 250
"""Test pictures that are corrupted, at most, drawn: each is run 16 times."""

CONTROLS = 50
"""Pictures of each control."""

_SEED = 4


def some(ids: Sequence[str], most: int = MOST) -> list[str]:
    """At most `most` of them, drawn."""
    chosen = np.random.default_rng(_SEED).permutation(len(ids))[:most]
    return [ids[i] for i in sorted(chosen.tolist())]


def stress(run: Run, study: Study, split: Split, cards: Mapping[str, Card], margin: float, unit_name: str) -> tuple[Corrupted, ...]:
    """One row a corruption: float and integer file on the same corrupted pixels, AUC and accuracy by the same margin, secondary."""
    ids = some(split.test)
    tables = {}
    for file in cards:
        with run.narrator.progress(f"run the {file} file on corrupted pictures") as tick:
            out = run.path(f"predictions/corrupted.{file}")
            tables[file] = predict_corrupted(
                run.path(f"{file}.onnx"), study, ids, split.units, out=out, corruptions=tuple(CORRUPTIONS), progress=tick
            )
    plain = {file: _rows(Predictions.read(run.path(f"predictions/test.{file}.csv")), ids) for file in cards}
    thresholds = (cards["float"].threshold, cards["integer"].threshold)
    claims = [Claim(metric=metric, role=Role.SECONDARY, margin=margin) for metric in ("auc", "accuracy")]
    clean = {file: float((table.decisions == table.labels).mean()) for file, table in plain.items()}
    scope = cards["integer"].scope
    outside = {} if scope is None else _outside(study, ids, scope, Resizer(cards["integer"].preprocess))
    return tuple(
        _row(name, {file: tables[file][name] for file in cards}, claims, thresholds, study.positive, unit_name, clean, outside.get(name))
        for name in CORRUPTIONS
    )


def scope_figures(study: Study, split: Split, card: Card) -> ScopeFigures | None:
    """What the card's rule says of test pictures and of controls; None without a rule."""
    if card.scope is None:
        return None
    scope, resize, pixels = card.scope, Resizer(card.preprocess), Pixels(study)
    ids = some(split.test)
    out = sum(scope.excludes(resize(pixels[case][None])[0]) for case in ids)
    bounds = wilson(out, len(ids))
    blurred = (_blurred(pixels[case]) for case in some(split.test, CONTROLS))
    controls = {"blank": _blank(), "noise": _noise(card.preprocess.size), "blurred": blurred}
    return ScopeFigures(
        limit=scope.limit,
        inside=out / len(ids),
        lower=bounds.lower,
        upper=bounds.upper,
        cases=len(ids),
        controls={name: _share(scope, resize, pictures) for name, pictures in controls.items()},
    )


def _share(scope: Scope, resize: Resizer, pictures: Iterable[Picture]) -> float:
    return float(np.mean([scope.excludes(resize(picture[None])[0]) for picture in pictures]))


def _blank() -> Iterable[Picture]:
    for colour in np.random.default_rng(_SEED).integers(0, 256, (CONTROLS, 3), dtype=np.uint8):
        yield np.broadcast_to(colour, (64, 64, 3)).copy()


def _noise(size: int) -> Iterable[Picture]:
    random = np.random.default_rng(_SEED)
    for _ in range(CONTROLS):
        yield random.integers(0, 256, (size, size, 3), dtype=np.uint8)


def _blurred(picture: Picture) -> Picture:
    """By a Gaussian of a tenth of the shorter side: nobody could read it."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(min(picture.shape[:2]) / 10)), dtype=np.uint8)


def _outside(study: Study, ids: Sequence[str], scope: Scope, resize: Resizer) -> dict[str, float]:
    pixels = Pixels(study)
    counts = dict.fromkeys(CORRUPTIONS, 0)
    for case in ids:
        picture = pixels[case]
        for name in CORRUPTIONS:
            counts[name] += scope.excludes(resize(corrupted(picture, name, case)[None])[0])
    return {name: count / len(ids) for name, count in counts.items()}


def _rows(table: Predictions, ids: Sequence[str]) -> Predictions:
    row = {case: i for i, case in enumerate(table.ids)}
    return table.take(np.array([row[case] for case in ids], dtype=np.int64))


def _row(
    name: str,
    tables: Mapping[str, Predictions],
    claims: Sequence[Claim],
    thresholds: Thresholds,
    positive: int | None,
    unit_name: str,
    clean: Mapping[str, float],
    outside: float | None,
) -> Corrupted:
    paired = pair_up(tables["float"], tables["integer"], unit_name)
    return Corrupted(
        name=name,
        words=CORRUPTIONS[name].words,
        cases=len(paired.labels),
        findings=compare(tables["float"], tables["integer"], claims, positive=positive, unit_name=unit_name),
        agreement=agreement(paired, thresholds, positive),
        clean=dict(clean),
        out_of_scope=outside,
    )
