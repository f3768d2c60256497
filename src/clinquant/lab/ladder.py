"""The ladder: the cheapest way to the asked bits whose exported file holds on tune."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant import __version__
from clinquant.core.artifact import read_json, sha256_json, write_json
from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.core.progress import Progress
from clinquant.data.pixels import Pixels
from clinquant.data.split import Split, choosing_half
from clinquant.data.study import Study, learnt_sha256
from clinquant.edge.resize import model_pixels
from clinquant.lab.classifier import Classifier
from clinquant.lab.mixed import LayerWidth, TunedOn, mix, told
from clinquant.lab.objectives import objectives_of
from clinquant.lab.options import BuildOptions
from clinquant.lab.quantize.agreement import Agreement
from clinquant.lab.quantize.fake_quant import METHODS
from clinquant.lab.quantize.losses import LayerLoss, worst_layers
from clinquant.lab.quantize.model import Calibration, Model, Pass
from clinquant.lab.quantize.passes import FineTune
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.recipes import RANGES, RECIPES, before_training, begin, run_recipes
from clinquant.lab.quantize.target import PORTABLE, find_target
from clinquant.lab.quantize.widths import MIXED
from clinquant.lab.recipe import Trial, try_recipe
from clinquant.lab.run import Run

NAMES = (*RECIPES, *METHODS)
"""What `--recipe` takes beside `auto`: recipes after training, and quantization-aware training."""

RUNGS: tuple[tuple[str, ...], ...] = ((*RANGES, "gptq"), ("equalize",), ("adaround",), ("lsq",))
"""What `auto` tries, the cheap first; a rung is begun only when no file of those below it holds. At 8 bits the last two stay out."""


def check_recipe(recipe: str) -> None:
    """Raises ClinquantError `recipe-unknown`."""
    if recipe != "auto" and recipe not in NAMES:
        raise ClinquantError("recipe-unknown", f"recipe {recipe!r} is not known.", fix=f"use auto or one of: {', '.join(NAMES)}.")


def check_budget(options: BuildOptions) -> None:
    """Raises ClinquantError `budget-missing` or `budget-unused`."""
    budgets = (options.max_bytes, options.max_ms)
    if options.bits == "auto" and budgets == (None, None):
        raise ClinquantError("budget-missing", "--bits auto has no budget.", fix="give --max-bytes (for example 300k) or --max-ms.")
    if options.bits != "auto" and budgets != (None, None):
        raise ClinquantError("budget-unused", f"--bits {options.bits} leaves nothing to a budget.", fix="give --bits auto.")


@dataclass(frozen=True, kw_only=True)
class Climbed:
    """What the ladder gives.

    Attributes:
        best: the chosen quantized network.
        trials: what every recipe tried did on tune, in order.
        layers: the table of layers where widths were mixed.
        worst: where the best file does not hold, the layers that rounding costs most, and why.
    """

    best: QuantizedNetwork
    trials: tuple[Trial, ...]
    layers: tuple[LayerWidth, ...] = ()
    worst: tuple[LayerLoss, ...] = ()


@dataclass(kw_only=True)
class Climb:
    """One climb: what it works with, and the best file so far."""

    run: Run
    options: BuildOptions
    classifier: Classifier
    study: Study
    parts: Split
    baseline: Predictions
    model: Model
    calibration: Calibration
    trials: list[Trial] = field(default_factory=list)
    forwards: dict[str, Agreement] = field(default_factory=dict)
    best: QuantizedNetwork | None = None
    began: float = field(default_factory=time.monotonic)

    def take(self, names: tuple[str, ...]) -> None:
        """Tries the recipes of those names and keeps the best file."""
        ready = {name: found for name in names if (found := self.kept(name)) is not None}
        todo = tuple(name for name in names if name not in ready)
        made: dict[str, Model] = {}
        if todo:
            with self.run.narrator.progress(f"quantize ({', '.join(todo)})") as tick:
                recipes = {name: self.passes(name, tick) for name in todo}
                made = run_recipes(self.model, replace(self.calibration, progress=tick), recipes)
        for name in names:
            found = ready.get(name) or self.keep(made[name].quantized(name))
            trial = try_recipe(found, self.baseline, self.study, self.parts, self.run.narrator)
            if forward := self.forwards.get(name):
                trial = replace(trial, forward_top1=forward.top1, forward_codes=forward.codes)
                self.run.narrator.say(f"{name}: {forward}.")
            if all(trial.divergence < other.divergence for other in self.trials):
                self.best = found
            self.trials.append(trial)

    def holds(self) -> bool:
        """Whether the best file so far decides like the float file on all but less than the margin of tune."""
        assert self.best is not None
        return next(trial.agreement for trial in self.trials if trial.recipe == self.best.recipe) > 1 - self.options.margin

    def tell_worst(self) -> tuple[LayerLoss, ...]:
        """Names the layers that lose most by rounding, and says why where that is known."""
        rounded = run_recipes(self.model, self.calibration, {"mse": RECIPES["mse"]})["mse"]
        worst = worst_layers(rounded, self.calibration)
        self.run.narrator.say("No file decides as the float file does on all of tune but the margin. Rounding costs most in:")
        for loss in worst:
            self.run.narrator.say(f"  {loss}")
        return worst

    def has_time(self) -> bool:
        """Whether another rung may be begun."""
        return self.options.max_minutes is None or time.monotonic() - self.began < 60 * self.options.max_minutes

    def passes(self, name: str, tick: Progress) -> tuple[Pass, ...]:
        """The recipe of that name, with the images that training needs."""
        if name in RECIPES:
            return RECIPES[name]
        return (*before_training(name), self.fine_tune(name, tick))

    def fine_tune(self, method: str, tick: Progress) -> FineTune:
        """Quantization-aware training of this run."""
        train, tune = (self.labelled(ids) for ids in (self.parts.train, choosing_half(self.parts)))
        folder = self.run.path(f"train/{method}-{self.bits}")

        def compared(forward: Agreement) -> None:
            self.forwards[method] = forward

        return FineTune(
            train=train,
            tune=tune,
            folder=folder,
            method=method,
            objectives=objectives_of(self.options),
            seed=self.options.seed,
            progress=tick,
            compared=compared,
        )

    def labelled(self, ids: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Input pixels and labels, the pixels those that float training kept."""
        preprocess, key = self.classifier.card.preprocess, learnt_sha256(self.study)
        pixels = model_pixels(Pixels(self.study), ids, preprocess, cache=self.run.path("train"), key=key)
        return pixels, self.study.labels(ids)

    def place(self, name: str) -> Path:
        """Where the network of a recipe is kept between two runs."""
        return self.run.path(f"work/{name}-{self.bits}")

    @property
    def bits(self) -> str:
        """The widths' name, with the target's where that is not the portable one."""
        return self.options.bits if self.options.target == PORTABLE.name else f"{self.options.bits}-{self.options.target}"

    def key(self) -> str:
        """Hash of what decides what a recipe makes."""
        return sha256_json(
            {
                "clinquant": __version__,
                "float": self.run.sha256("float.safetensors", "float.card.json"),
                "split": self.run.sha256("split.json"),
                "seed": self.options.seed,
                "widths": self.model.widths,
                "target": self.model.target.name,
            }
            | ({"objectives": found} if (found := objectives_of(self.options)) else {})
        )

    def kept(self, name: str) -> QuantizedNetwork | None:
        """What an interrupted run made by that recipe, or None."""
        try:
            kept = read_json(self.place(name) / "key.json", Kept, kind="kept")
            found = QuantizedNetwork.load(self.place(name)) if kept.key == self.key() else None
        except (ClinquantError, OSError):
            return None
        if found and kept.forward:
            self.forwards[name] = kept.forward
        return found

    def keep(self, made: QuantizedNetwork) -> QuantizedNetwork:
        """Keeps what took long for a run that is interrupted and called again."""
        if made.recipe in RUNGS[0]:
            return made
        made.save(self.place(made.recipe))
        write_json(self.place(made.recipe) / "key.json", Kept(key=self.key(), forward=self.forwards.get(made.recipe)), kind="kept")
        return made


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a kept network was made from, and how far training's own forward was from it."""

    key: str
    forward: Agreement | None = None


def climb(run: Run, options: BuildOptions, classifier: Classifier, study: Study, parts: Split, baseline: Predictions) -> Climbed:
    """The quantized network that the options ask for, and what every recipe tried did on tune.

    `auto` climbs `RUNGS` until the best file disagrees with the float file on less than the margin of tune, or no time is left; what
    diverges least wins. A recipe by name is the only one tried.

    Args:
        baseline: the float file's predictions of tune.
    """
    preprocess = classifier.card.preprocess
    pixels = model_pixels(Pixels(study), parts.calibration, preprocess, cache=run.path("work"), key=learnt_sha256(study))
    calibration, model = (
        Calibration(pixels=pixels, preprocess=preprocess),
        begin(classifier, options.bits, target=find_target(options.target)),
    )
    climbing = Climb(
        run=run,
        options=options,
        classifier=classifier,
        study=study,
        parts=parts,
        baseline=baseline,
        model=model,
        calibration=calibration,
    )
    table: tuple[LayerWidth, ...] = ()
    if options.bits in MIXED:
        with run.narrator.progress("measure every layer at fewer bits") as tick:
            mixed = mix(model, calibration, tuned_on(climbing), options, climbing.place("layers"), climbing.key(), tick)
        climbing.model, table = replace(model, widths=mixed.widths), mixed.table
        for line in told(table):
            run.narrator.say(line)
    rungs = ((options.recipe,),) if options.recipe != "auto" else RUNGS[:2] if options.bits == "w8a8" else RUNGS
    for names in rungs:
        climbing.take(names)
        if climbing.holds() or not climbing.has_time():
            break
    assert climbing.best is not None
    worst = () if climbing.holds() else climbing.tell_worst()
    return Climbed(best=climbing.best, trials=tuple(climbing.trials), layers=table, worst=worst)


def tuned_on(climbing: Climb) -> TunedOn:
    """The choosing half of tune as pixels, labels and the float file's logits."""
    ids = choosing_half(climbing.parts)
    rows: Mapping[str, int] = {case: row for row, case in enumerate(climbing.baseline.ids)}
    pixels, labels = climbing.labelled(ids)
    return TunedOn(pixels=pixels, labels=labels, logits=climbing.baseline.scores[[rows[case] for case in ids]])
