"""Proves: both exported files on the locked test set, in fresh processes, against claims that were written down before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from clinquant import __version__
from clinquant.core.artifact import read_json, sha256_file, sha256_json
from clinquant.core.card import Card
from clinquant.core.predictions import Predictions
from clinquant.core.sets import PredictionSets
from clinquant.data.corrupt import CORRUPTIONS
from clinquant.data.external import External
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.edge.bench import bench
from clinquant.edge.browser_model import BrowserModel
from clinquant.edge.integer_audit import integer_audit
from clinquant.edge.kept import SCOPE_TABLE, ExternalTables, Kept, read_distances
from clinquant.edge.machine import machine
from clinquant.edge.predict import predict_fresh
from clinquant.edge.reads import count_read
from clinquant.evidence.chance import no_better_than_chance
from clinquant.evidence.claims import Claims
from clinquant.evidence.conformal import RULES, calibrate
from clinquant.evidence.evidence import FILES, Evidence, FileFacts, Pair, TestSet
from clinquant.evidence.fidelity import Fidelity, unfloored
from clinquant.evidence.pair import compare_pair, test_set_sha256
from clinquant.evidence.summary import summarise
from clinquant.lab.browser_file import BROWSER_FILE, prove_browser_file
from clinquant.lab.mixed import LayerWidth
from clinquant.lab.quantize.losses import LayerLoss
from clinquant.lab.recipe import Trial
from clinquant.lab.run import Run
from clinquant.lab.stress import stress


@dataclass(frozen=True, kw_only=True)
class Trials:
    """`recipes.json`: what each recipe did on tune, the table of layers where widths were mixed, and the
    layers that lose most where no file holds.
    """

    chosen: str
    trials: tuple[Trial, ...]
    layers: tuple[LayerWidth, ...] = ()
    worst: tuple[LayerLoss, ...] = ()


def units_by_class(study: Study, ids: Sequence[str], units: Mapping[str, str]) -> dict[str, int]:
    """Number of independent units of each class among `ids`."""
    members: list[set[str]] = [set() for _ in study.classes]
    for case in ids:
        members[study.label_of[case]].add(units.get(case, case))
    return {name: len(found) for name, found in zip(study.classes, members, strict=True)}


def describe_test(study: Study, ids: Sequence[str], units: Mapping[str, str], reads: int) -> TestSet:
    """Who is in a test set; the unit is the patient where patients are given and one has several images."""
    cases = {case.id: case for case in study.cases}
    labels = [cases[case].label for case in ids]
    number = len({units.get(case, case) for case in ids})
    patients = any(cases[case].group is not None for case in ids)
    return TestSet(
        name=study.name,
        sha256=test_set_sha256(ids, labels, [cases[case].sha256 for case in ids]),
        images=len(ids),
        units=number,
        unit="image" if number == len(ids) else "patient" if patients else "group of copies",
        images_by_class={name: labels.count(index) for index, name in enumerate(study.classes)},
        reads=reads,
    )


def prove(
    run: Run,
    study: Study,
    split: Split,
    claims: Claims,
    external: Mapping[str, External],
    *,
    browser: BrowserModel | None = None,
    explain: Callable[[], tuple[Fidelity, ...]] = lambda: (),
) -> Evidence:
    """Evidence of `float.onnx` and `integer.onnx` of the run, the test set read now and the read counted.

    Args:
        claims: as written down.
        external: name -> another hospital's cases, new to the model.
        browser: what a browser runs in the integer file's place, made at `BROWSER_FILE`; None where it runs that itself.
        explain: measures explanations of test cases, once both files' predictions of them are written.
    """
    cards = {file: read_json(run.path(f"cards/{file}.json"), Card, kind="card") for file in FILES}
    test = describe_test(study, split.test, split.units, reads=0)
    sets = {file: _sets(run, split, file) for file in FILES}
    pair = _pair(run, study, split.test, split.units, claims, cards, sets, "test", test)
    others = tuple(_external(run, other, claims, cards, sets, name) for name, other in external.items())
    with run.narrator.progress("time both files"):
        latency = bench({file: run.path(f"{file}.onnx") for file in FILES}, cards["integer"].preprocess.size)
    unit = "patient" if pair.test.unit == "image" else pair.test.unit
    corruptions, scope = stress(run, study, split, cards, claims.claims[0].margin, unit)
    audits = {file: integer_audit(run.path(f"{file}.onnx"), cards["integer"].preprocess.size) for file in FILES}
    tests = {"test": (study, split.test), **{f"external-{name}": (other.study, other.ids) for name, other in external.items()}}
    proven = None if browser is None else prove_browser_file(run, browser, tests, islands=cards["integer"].float_islands > 0)
    trials = read_json(run.path("recipes.json"), Trials, kind="recipes")
    fidelity = explain()
    return Evidence(
        **{field.name: getattr(pair, field.name) for field in dataclasses.fields(Pair)},
        summary=summarise(pair.findings, warning=no_better_than_chance(Predictions.read(run.path("predictions/test.float.csv")))),
        corruptions=corruptions,
        scope=scope,
        claims=claims.claims,
        claims_sha256=sha256_json(claims),
        classes=study.classes,
        positive=study.positive,
        model=_model(run, cards["integer"], trials.chosen),
        files={file: _facts(run.path(f"{file}.onnx")) for file in FILES} | ({"browser": _facts(run.path(BROWSER_FILE))} if proven else {}),
        browser=proven,
        latency=latency,
        runtime=Predictions.read(run.path("predictions/test.integer.csv")).runtime,
        machine=machine(),
        audits=audits,
        external=others,
        recipes_on_tune=tuple({key: value for key, value in vars(found).items() if value is not None} for found in trials.trials),
        layers_on_tune=tuple(
            {"layer": row.layer, "weights": row.weights, "bits": f"w{row.weight}a{row.activation}", **row.divergence}
            for row in trials.layers
        ),
        fidelity=fidelity,
        not_shown=(*not_shown(study, pair.test, cards["integer"], bool(others)), *unfloored(fidelity)),
        parents={name: run.sha256(f"{name}.json") for name in ("study", "split", "claims")}
        | {f"{part}.{file}": run.sha256(f"predictions/{part}.{file}.csv") for part in ("tune", "test") for file in FILES},
        clinquant=__version__,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def not_shown(study: Study, test: TestSet, card: Card, external: bool) -> list[str]:
    """What this evidence does not show, in plain sentences."""
    sentences = [
        "The integer file was compared with its float baseline, not with clinicians; how good either is for patients is not shown.",
        "Latency was measured on this machine only, with one thread and one picture at a time.",
    ]
    if card.bits != "w8a8":
        sentences.append("Fewer bits make the file smaller, not faster: no common runtime has faster kernels below 8 bits on a CPU.")
    if card.float_islands:
        sentences.append(
            f"{card.float_islands} operators of the integer file (softmax, layer norm) compute in float, so other processors may answer a "
            "little differently; 'clinquant verify' compares the golden vectors of the bundle by tolerance."
        )
    elif card.portable is False:
        sentences.append(
            f"The integer file is made for {card.target}: other processors may compute other integers. 'clinquant verify' replays the "
            "golden vectors of the bundle and refuses where they do."
        )
    if not external:
        sentences.append("All images come from one data set; nothing is shown about another hospital, scanner or population.")
    if all(case.group is None for case in study.cases):
        sentences.append(
            "No patient ids were given: if one patient has several images, the intervals are too narrow and the split may leak."
        )
    if not covariates_of(study):
        sentences.append("No site, age, sex or other column was given (--covariates): no subgroup but the classes was compared.")
    if test.reads > 1:
        sentences.append(f"This test set was read {test.reads} times on this account; only the first reading was blind.")
    if card.weights == "random":
        sentences.append("The network started from random weights; pretrained weights might give a better baseline.")
    return sentences


Sets = Mapping[str, tuple[PredictionSets, ...]]


def _sets(run: Run, split: Split, file: str) -> tuple[PredictionSets, ...]:
    """Every rule of prediction sets, calibrated on the half of tune that chose neither recipe nor temperature."""
    predictions = Predictions.read(run.path(f"predictions/tune.{file}.csv"))
    kept = set(split.referral)
    half = predictions.take(np.array([case in kept for case in predictions.ids], dtype=bool))
    return tuple(found for rule in RULES if (found := calibrate(half, rule)) is not None)


def kept_tables(run: Run, study: Study, split: Split, external: int) -> Kept:
    """What a bundle shall keep besides the predictions of the test set, as far as this run has it; `external` counts external sets."""
    corrupted = {name: run.path(f"predictions/corrupted.{FILES[0]}/{name}.csv") for name in CORRUPTIONS}
    return Kept(
        covariates=_of_cases(covariates_of(study), split.test),
        distances=read_distances(run.path("predictions") / SCOPE_TABLE),
        corrupted={
            name: {file: Predictions.read(run.path(f"predictions/corrupted.{file}/{name}.csv")) for file in FILES}
            for name, path in corrupted.items()
            if path.is_file()
        },
        external=tuple(_kept_external(run, index) for index in range(external)),
    )


def _kept_external(run: Run, index: int) -> ExternalTables:
    other = read_json(run.path(f"external/{index}.json"), External, kind="external")
    return ExternalTables(
        tables={file: Predictions.read(run.path(f"predictions/external-{index}.{file}.csv")) for file in FILES},
        covariates=_of_cases(covariates_of(other.study), other.ids),
    )


def _of_cases(covariates: Mapping[str, Mapping[str, str]], ids: Sequence[str]) -> dict[str, dict[str, str]]:
    chosen = set(ids)
    return {name: {case: value for case, value in values.items() if case in chosen} for name, values in covariates.items()}


def _external(run: Run, other: External, claims: Claims, cards: Mapping[str, Card], sets: Sets, name: str) -> Pair:
    test = describe_test(other.study, other.ids, other.units, reads=0)
    return _pair(run, other.study, other.ids, other.units, claims, cards, sets, f"external-{name}", test)


def _pair(
    run: Run,
    study: Study,
    ids: Sequence[str],
    units: Mapping[str, str],
    claims: Claims,
    cards: Mapping[str, Card],
    sets: Sets,
    part: str,
    test: TestSet,
) -> Pair:
    read = describe_test(study, ids, units, count_read(test.sha256))
    tables = {}
    for file in FILES:
        out = run.path(f"predictions/{part}.{file}.csv")
        with run.narrator.progress(f"run the {file} file on {part}") as tick:
            tables[file] = predict_fresh(run.path(f"{file}.onnx"), study, ids, dict(units), out=out, progress=tick)
    return compare_pair(
        tables["float"],
        tables["integer"],
        claims.claims,
        test=read,
        thresholds=(cards["float"].threshold, cards["integer"].threshold),
        rule=cards["integer"].threshold_rule,
        positive=study.positive,
        temperatures=(cards["float"].temperature, cards["integer"].temperature),
        refer_below=(cards["float"].refer_below, cards["integer"].refer_below),
        sets=sets,
        covariates=covariates_of(study),
    )


def covariates_of(study: Study) -> dict[str, dict[str, str]]:
    """Site and every other covariate of the study: name -> case id -> value."""
    found: dict[str, dict[str, str]] = {}
    for case in study.cases:
        values = case.covariates | ({} if case.site is None else {"site": case.site})
        for name, value in values.items():
            found.setdefault(name, {})[case.id] = value
    return dict(sorted(found.items()))


def _model(run: Run, card: Card, recipe: str) -> dict[str, str | int | float | None]:
    from clinquant.lab.quantize.quantized import QuantizedNetwork

    quantized = QuantizedNetwork.load(run.directory)
    return {
        "architecture": card.architecture,
        "bits": printed_bits(card),
        "bits_a_weight": round(quantized.mean_weight_bits, 2),
        "target": card.target,
        "recipe": recipe,
        "size": card.preprocess.size,
        "parameters": quantized.network.parameter_count,
        "weights": card.weights,
    }


def printed_bits(card: Card) -> str:
    """The width as reports print it: the portable target's 8-bit weights have 7 bits, first and last layers keep them, and that is said."""
    if card.bits == "w8a8":
        return f"{card.bits} (7-bit weights)" if card.target == "portable" else card.bits
    return f"{card.bits} (first and last layer {'7-bit weights' if card.target == 'portable' else 'w8a8'})"


def _facts(path: Path) -> FileFacts:
    return FileFacts(bytes=path.stat().st_size, sha256=sha256_file(path))
