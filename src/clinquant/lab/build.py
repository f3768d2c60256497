"""`build`: from labelled images to a proven bundle, step by step, each done once and resumable.

Every step reads frozen artifacts of the run directory and writes new ones, so each is a verb of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import dump_json, read_body, read_json, sha256_file, sha256_json, write_json, write_text
from clinquant.core.card import Card
from clinquant.core.predictions import Predictions
from clinquant.data.audit import Audit, audit
from clinquant.data.datasets import reader_for
from clinquant.data.external import External, align_classes, external_test
from clinquant.data.masks import read_masks
from clinquant.data.pixels import Pixels
from clinquant.data.read import read_study
from clinquant.data.split import Split, choosing_half, split
from clinquant.data.study import Study, learnt_sha256
from clinquant.edge.bundle import Bundle, pack
from clinquant.edge.golden import golden_images, record_golden
from clinquant.edge.predict import predict_fresh
from clinquant.edge.reads import check_countable
from clinquant.edge.runtimes import runtime_module
from clinquant.evidence.claims import Claims, check_margin, plan_claims
from clinquant.evidence.conformal import card_sets
from clinquant.evidence.evidence import FILES, Evidence
from clinquant.evidence.fidelity import Fidelity
from clinquant.evidence.referral import choose_referral
from clinquant.evidence.reliability import fit_temperature
from clinquant.evidence.threshold import choose_threshold, parse_rule
from clinquant.lab.architectures import find_architecture
from clinquant.lab.browser_file import BROWSER_FILE, make_browser_file
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.builder import CONTRACT
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.export.qdq import export_qdq
from clinquant.lab.fidelity import check_explain, explains, run_fidelity
from clinquant.lab.ladder import check_budget, check_recipe, climb
from clinquant.lab.objectives import objectives_of
from clinquant.lab.options import BuildOptions
from clinquant.lab.planning import Plan, make_plan, room_warning, tell_plan
from clinquant.lab.prove import Trials, kept_tables, prove, units_by_class
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.recipes import check_finite
from clinquant.lab.quantize.target import PORTABLE, find_target
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.quantize.widths import check_bits
from clinquant.lab.run import Narrator, Run
from clinquant.lab.scope import learn_scope
from clinquant.lab.teacher import FLOAT_FILES, check_teacher
from clinquant.lab.train import choose_architecture, initial_sha256, train


def build(options: BuildOptions, out: Path | str, narrator: Narrator | None = None, *, command: str = "") -> Evidence:
    """All steps, in `out`; what was done before with the same inputs is kept.

    Args:
        command: what the user typed, kept in the plan and the report.

    Raises:
        ClinquantError: whatever a step raises; finished steps are kept.
    """
    run = Run(out, narrator)
    with run.locked():
        prepare(run, options, command)
        for step in (run_train, run_quantize, run_export, run_prove, run_report, run_pack):
            step(run, options)
    return evidence_of(run)


def prepare(run: Run, options: BuildOptions, command: str = "") -> None:
    """Read, audit, split and plan; checks what can be checked before any long work."""
    check_options(options)
    run_read(run, options)
    run_audit(run, options)
    run_split(run, options)
    run_plan(run, options, command)


def check_options(options: BuildOptions) -> None:
    """Raises ClinquantError where a choice is impossible, whatever the images are."""
    parse_rule(options.threshold)
    check_bits(options.bits)
    check_recipe(options.recipe)
    find_target(options.target)
    check_budget(options)
    check_margin(options.margin)
    objectives_of(options)
    check_teacher(options.teacher)
    check_countable()
    check_explain(options)
    if options.masks is not None:
        read_masks(Path(options.masks))
    if options.arch != "auto":
        find_architecture(options.arch)
    for name in options.tests:
        reader_for(name)


def run_read(run: Run, options: BuildOptions) -> Study:
    """study.json: every image decoded once, on every call, so that changed data never pass for the old."""
    with run.narrator.progress("read images") as tick:
        study = read_study(
            options.data,
            groups=options.groups,
            group_column=options.group_column,
            covariates=options.covariates,
            positive=options.positive,
            grey_window=options.grey_window,
            skip_broken=options.skip_broken,
            progress=tick,
            say=run.narrator.say,
        )
    text = dump_json(study, kind="study")
    path = run.path("study.json")
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    for index, name in enumerate(options.tests):
        with run.narrator.progress(f"read {name}") as tick:
            other = read_study(name, grey_window=options.grey_window, skip_broken=options.skip_broken, progress=tick)
        write_json(run.path(f"external/{index}.study.json"), align_classes(other, study.classes, study.positive), kind="study")
    return study


def run_audit(run: Run, options: BuildOptions) -> Audit:
    """audit.json."""

    def make() -> None:
        with run.narrator.progress("look for copies") as tick:
            write_json(run.path("audit.json"), audit(study_of(run), margin=options.margin, progress=tick), kind="audit")

    run.step("audit", {"study": learnt_sha256(study_of(run)), "margin": options.margin}, ("audit.json",), make)
    return audit_of(run)


def run_split(run: Run, options: BuildOptions) -> Split:
    """split.json."""
    externals = {kind: [f"external/{i}{end}.json" for i in range(len(options.tests))] for kind, end in (("raw", ".study"), ("new", ""))}
    inputs = {
        "study": learnt_sha256(study_of(run)),
        "audit": run.sha256("audit.json"),
        "seed": options.seed,
        "external": [run.sha256(raw) for raw in externals["raw"]],
    }

    def make() -> None:
        study = study_of(run)
        parts = split(study, audit_of(run), seed=options.seed)
        write_json(run.path("split.json"), parts, kind="split")
        for raw, new in zip(externals["raw"], externals["new"], strict=True):
            other = read_json(run.path(raw), Study, kind="study")
            write_json(run.path(new), external_test(study, parts, other), kind="external")

    run.step("split", inputs, ("split.json", *externals["new"]), make)
    return split_of(run)


def run_plan(run: Run, options: BuildOptions, command: str = "") -> Plan:
    """plan.json: what was found and what will be done, said before any training."""
    inputs = {"study": run.sha256("study.json"), "split": run.sha256("split.json"), "options": options, **_brought(run, options)}

    def make() -> None:
        write_json(run.path("plan.json"), make_plan(study_of(run), audit_of(run), split_of(run), options, command), kind="plan")

    run.step("plan", inputs, ("plan.json",), make)
    plan = read_json(run.path("plan.json"), Plan, kind="plan")
    tell_plan(plan, run.narrator)
    if warning := room_warning(plan, run.directory):
        run.narrator.say(f"Note: {warning}")
    return plan


def run_train(run: Run, options: BuildOptions) -> Classifier:
    """float.safetensors and float.card.json."""
    names = ("arch", "size", "epochs", "seed", "weights", "threshold", "vertical_flip")
    chosen = {name: getattr(options, name) for name in names}
    objectives = objectives_of(options)
    inputs = {"study": learnt_sha256(study_of(run)), "split": run.sha256("split.json"), **chosen, **_brought(run, options)}
    inputs |= {"epoch chosen on": sha256_json(choosing_half(split_of(run)))}
    asked: dict[str, Any] = {"objectives": objectives} if objectives else {}
    teacher = Path(options.teacher) if options.teacher else None

    def make() -> None:
        with run.narrator.progress("train") as tick:
            train(study_of(run), split_of(run), run.directory, **chosen, objectives=objectives, teacher=teacher, progress=tick)

    run.step("train", inputs | asked, ("float.safetensors", "float.card.json"), make)
    return Classifier.load(run.directory)


def _brought(run: Run, options: BuildOptions) -> dict[str, str]:
    """Hashes of what the user brings besides images, and may change between two calls: a network of his own, a checkpoint."""
    found = {}
    if ":" in options.arch:
        study = study_of(run)
        _, preprocess = choose_architecture(study, options.arch, options.size)
        found["network"] = initial_sha256(options.arch, len(study.classes), preprocess.size, options.seed)
    if options.weights is not None and (path := Path(options.weights)).is_file():
        found["checkpoint"] = sha256_file(path)
    if options.teacher is not None:
        found["teacher"] = sha256_json([sha256_file(Path(options.teacher) / name) for name in FLOAT_FILES])
    return found


def run_quantize(run: Run, options: BuildOptions) -> QuantizedNetwork:
    """quantized.safetensors, quantized.json, recipes.json and both files' untempered predictions on tune."""
    tables = {file: f"predictions/tune.{file}.untempered.csv" for file in FILES}
    names = ["bits", "recipe", *(["margin", "seed"] if options.bits != "w8a8" else [])]
    names += [name for name in ("max_bytes", "max_ms", "max_minutes") if getattr(options, name) is not None]
    names += ["target"] if options.target != PORTABLE.name else []
    chosen = {name: getattr(options, name) for name in names} | ({"objectives": found} if (found := objectives_of(options)) else {})
    inputs = {"float": run.sha256("float.safetensors", "float.card.json"), **chosen, **_brought(run, options)}

    def make() -> None:
        study, parts, classifier = study_of(run), split_of(run), Classifier.load(run.directory)
        preprocess = classifier.card.preprocess
        traced = trace(classifier.module, classifier.card.preprocess.size)
        check_finite(traced)
        folded = fold_batch_norm(traced)
        model = export_float(folded, preprocess, run.path("work/float.onnx"))
        baseline = _predict_tune(run, model, study, parts, run.path(tables["float"]), "float")
        climbed = climb(run, options, classifier, study, parts, baseline)
        best, trials = climbed.best, climbed.trials
        integer = export_integer(lower(best), run.path("work/integer.onnx"))
        _predict_tune(run, integer, study, parts, run.path(tables["integer"]), "integer")
        best.save(run.directory)
        write_json(
            run.path("recipes.json"), Trials(chosen=best.recipe, trials=trials, layers=climbed.layers, worst=climbed.worst), kind="recipes"
        )
        run.narrator.say(f"recipe {best.recipe}: {trials_line(trials, best.recipe)}")

    files = ("quantized.safetensors", "quantized.json", "recipes.json", *tables.values())
    run.step("quantize", inputs, files, make)
    return QuantizedNetwork.load(run.directory)


def run_export(run: Run, options: BuildOptions) -> None:
    """float.onnx, integer.onnx, qdq.onnx, their cards (temperature, threshold, referral) and their predictions on tune."""
    outputs = ("float.onnx", "integer.onnx", "qdq.onnx")
    tables = {file: f"predictions/tune.{file}.csv" for file in FILES}
    cards = {file: f"cards/{file}.json" for file in FILES}
    inputs = {
        "float": run.sha256("float.safetensors", "float.card.json"),
        "quantized": run.sha256("quantized.safetensors", "quantized.json"),
        "threshold": options.threshold,
    }

    def make() -> None:
        study, parts = study_of(run), split_of(run)
        classifier, quantized = Classifier.load(run.directory), QuantizedNetwork.load(run.directory)
        temperature = {file: _temperature(run, parts, file) for file in FILES}
        scope = learn_scope(study, parts, classifier.card.preprocess)
        folded = fold_batch_norm(trace(classifier.module, classifier.card.preprocess.size))
        export_float(folded, classifier.card.preprocess, run.path("float.onnx"), temperature=temperature["float"], description=CONTRACT)
        export_integer(lower(quantized, temperature=temperature["integer"]), run.path("integer.onnx"), description=CONTRACT)
        export_qdq(quantized, run.path("qdq.onnx"), temperature=temperature["integer"], description=CONTRACT)
        for file, card in (("float", classifier.card), ("integer", quantized.card)):
            predictions = _predict_tune(run, run.path(f"{file}.onnx"), study, parts, run.path(tables[file]), file)
            decided = decided_card(replace(card, temperature=temperature[file], scope=scope), predictions, parts, options.threshold)
            write_json(run.path(cards[file]), replace(decided, parents=_parents(run)), kind="card")

    run.step("export", inputs, (*outputs, *tables.values(), *cards.values()), make)


def run_prove(run: Run, options: BuildOptions) -> Evidence:
    """claims.json, then evidence.json."""
    study, parts = study_of(run), split_of(run)
    external = {f"{index}": read_json(run.path(f"external/{index}.json"), External, kind="external") for index in range(len(options.tests))}
    claims = write_claims(run, study, parts, options.margin)
    browser = make_browser_file(run)
    inputs = {
        "study": run.sha256("study.json"),
        "claims": run.sha256("claims.json"),
        "files": run.sha256("float.onnx", "integer.onnx"),
        **({"browser": run.sha256(BROWSER_FILE)} if browser else {}),
        "cards": run.sha256(*(f"cards/{file}.json" for file in FILES)),
        "external": [sha256_json(other) for other in external.values()],
        **({"explain": True, "noise floor": options.noise_floor} if explains(options) else {}),
        **({"masks": read_masks(Path(options.masks)).sha256(parts.test)} if options.masks else {}),
    }

    def explain() -> tuple[Fidelity, ...]:
        return run_fidelity(run, study, parts, options)

    def make() -> None:
        write_json(run.path("evidence.json"), prove(run, study, parts, claims, external, browser=browser, explain=explain), kind="evidence")

    run.step("prove", inputs, ("evidence.json", *(f"predictions/test.{file}.csv" for file in FILES)), make)
    return evidence_of(run)


def write_claims(run: Run, study: Study, parts: Split, margin: float) -> Claims:
    """claims.json, written before the test set is read."""
    from clinquant.lab.prove import describe_test

    test = describe_test(study, parts.test, parts.units, reads=0)
    planned = plan_claims(study.classes, study.positive, units_by_class(study, parts.test, parts.units), margin)
    claims = Claims(claims=planned, test_sha256=test.sha256)
    write_json(run.path("claims.json"), claims, kind="claims")
    return claims


def run_report(run: Run, options: BuildOptions) -> Path:
    """report.html."""
    inputs = {"evidence": run.sha256("evidence.json"), "plan": run.sha256("plan.json")}

    def make() -> None:
        from clinquant.report.page import render

        study = study_of(run)
        pixels = Pixels(study)

        def class_maps(file: str) -> Callable[[list[str]], dict[str, NDArray[np.float32]]]:
            session = runtime_module("onnxruntime").load(run.path(f"{file}.onnx"), 1)

            def found(cases: list[str]) -> dict[str, NDArray[np.float32]]:
                maps = {case: session.run(pixels[case][None]).class_map for case in cases}
                return {case: each[0] for case, each in maps.items() if each is not None}

            return found

        tables = {file: Predictions.read(run.path(f"predictions/test.{file}.csv")) for file in FILES}
        page = render(
            evidence_of(run),
            predictions=tables,
            audit=audit_of(run),
            study=study,
            split=split_of(run),
            images=pixels.__getitem__,
            class_maps=class_maps("integer"),
            float_maps=class_maps("float"),
            plan=read_body(run.path("plan.json"), kind="plan"),
        )
        write_text(run.path("report.html"), page)

    run.step("report", inputs, ("report.html",), make)
    return run.path("report.html")


def run_pack(run: Run, options: BuildOptions) -> Bundle:
    """bundle/."""
    card = read_json(run.path("cards/integer.json"), Card, kind="card")
    model, evidence = run.path("integer.onnx"), evidence_of(run)
    return pack(
        run.path("bundle"),
        model=model,
        card=card,
        evidence=evidence,
        predictions={file: run.path(f"predictions/test.{file}.csv") for file in FILES},
        golden=record_golden(model, golden_images(card.preprocess.size)),
        kept=kept_tables(run, study_of(run), split_of(run), len(evidence.external)),
        licences={
            "data": f"{study_of(run).name}: {card.data_licence}\n",
            "weights": f"Initial weights: {card.weights}\n",
        },
    )


def decided_card(card: Card, predictions: Predictions, parts: Split, rule: str) -> Card:
    """`card` with the operating threshold chosen on tune, and referral confidence and prediction sets on the half that chose no file.

    Where tune has cases of one class only, the likelier class decides, whatever the rule.
    """
    if card.positive is None or len(np.unique(predictions.labels)) == 1:
        rule = "argmax"
    threshold = choose_threshold(predictions, card.positive, rule)
    kept = np.array([case in set(parts.referral) for case in predictions.ids], dtype=bool)
    referral = predictions.take(kept)
    below = choose_referral(referral, threshold=threshold, positive=card.positive) if len(referral) else None
    sets = card_sets(referral) if len(referral) else None
    return replace(card, threshold=threshold, threshold_rule=rule, refer_below=below, sets=sets)


def study_of(run: Run) -> Study:
    """The run's study. Raises ClinquantError `artifact-missing`."""
    return read_json(run.path("study.json"), Study, kind="study")


def audit_of(run: Run) -> Audit:
    """The run's audit."""
    return read_json(run.path("audit.json"), Audit, kind="audit")


def split_of(run: Run) -> Split:
    """The run's split."""
    return read_json(run.path("split.json"), Split, kind="split")


def evidence_of(run: Run) -> Evidence:
    """The run's evidence."""
    return read_json(run.path("evidence.json"), Evidence, kind="evidence")


def trials_line(trials: Any, chosen: str) -> str:
    """The chosen recipe's figures on tune, in words."""
    found = next(trial for trial in trials if trial.recipe == chosen)
    return f"agrees with float on {found.agreement:.1%} of tune, divergence {found.divergence:.2g} nats."


def _temperature(run: Run, parts: Split, file: str) -> float:
    """Fitted on the choosing half of tune, on the file's own logits."""
    predictions = Predictions.read(run.path(f"predictions/tune.{file}.untempered.csv"))
    half = set(choosing_half(parts))
    chosen = predictions.take(np.array([case in half for case in predictions.ids], dtype=bool))
    return fit_temperature(chosen.scores, chosen.labels)


def _predict_tune(run: Run, model: Path, study: Study, parts: Split, out: Path, file: str) -> Predictions:
    with run.narrator.progress(f"run the {file} file on tune") as tick:
        out.parent.mkdir(parents=True, exist_ok=True)
        return predict_fresh(model, study, parts.tune, parts.units, out=out, progress=tick)


def _parents(run: Run) -> dict[str, str]:
    return {
        "study": learnt_sha256(study_of(run)),
        "split": run.sha256("split.json"),
        "float": run.sha256("float.safetensors"),
        "quantized": run.sha256("quantized.safetensors"),
    }


STEPS: dict[str, Callable[[Run, BuildOptions], Any]] = {
    "audit": run_audit,
    "split": run_split,
    "train": run_train,
    "quantize": run_quantize,
    "export": run_export,
    "prove": run_prove,
    "report": run_report,
    "pack": run_pack,
}
"""Verb -> its step, in order."""
