"""The plan of a build: what was found in the data, what will be done, how long it may take, and what can be shown at all."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.card import RESEARCH_USE, Card
from clinquant.core.errors import ClinquantError
from clinquant.data.audit import Audit
from clinquant.data.split import Split, choosing_half
from clinquant.data.study import Study
from clinquant.evidence.power import Decidable, decidable
from clinquant.lab.architectures import find_architecture
from clinquant.lab.objectives import objectives_of
from clinquant.lab.options import BuildOptions
from clinquant.lab.plan import plan_training
from clinquant.lab.prove import units_by_class
from clinquant.lab.quantize.lint import lint
from clinquant.lab.rehearsal import rehearse
from clinquant.lab.run import Narrator
from clinquant.lab.train import choose_architecture, estimate_seconds, initial_module, usual_side


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`plan.json`.

    Attributes:
        command: what the user typed.
        options: every choice.
        found: plain sentences on the data.
        architecture, size, initial_weights, epochs, images: of the training.
        training_seconds: estimated on this machine, without early stopping.
        disk_bytes: estimated, of the run directory.
        power: which claims the test set can decide at the margin, in the best case that no case flips.
        warnings: plain sentences.
    """

    command: str
    options: BuildOptions
    found: tuple[str, ...]
    architecture: str
    size: int
    initial_weights: str
    epochs: int
    images: dict[str, int]
    training_seconds: float
    disk_bytes: int
    power: tuple[Decidable, ...]
    warnings: tuple[str, ...] = ()


def make_plan(study: Study, audit: Audit, split: Split, options: BuildOptions, command: str) -> Plan:
    """The plan for this data and these choices; rehearses the network and trains two steps on blank images to estimate the time.

    Raises:
        ClinquantError: `class-without-images`, and what `initial_module` and `rehearse` raise.
    """
    name, preprocess = choose_architecture(study, options.arch, options.size)
    module, origin = initial_module(find_architecture(name), len(study.classes), options.weights, options.seed)
    card = Card(architecture=name, classes=study.classes, positive=study.positive, preprocess=preprocess)
    known = lint(rehearse(module, card, bits=options.bits))
    labels = study.labels(split.train)
    _refuse_unseen(study, labels)
    training = plan_training(
        labels, len(study.classes), preprocess, pretrained=origin != "random", epochs=options.epochs, seed=options.seed
    )
    images = {part: len(getattr(split, part)) for part in ("train", "tune", "test", "calibration")}
    pixels = (images["train"] + images["tune"]) * preprocess.size**2 * 3
    return Plan(
        command=command,
        options=options,
        found=tuple(findings(study, audit, split)),
        architecture=name,
        size=preprocess.size,
        initial_weights=origin,
        epochs=training.epochs,
        images=images,
        training_seconds=round(estimate_seconds(module, training, images["train"], len(choosing_half(split)), objectives_of(options)), 1),
        disk_bytes=pixels + 40 * sum(parameter.numel() for parameter in module.parameters()),
        power=decidable(units_by_class(study, split.test, split.units), options.margin, study.positive),
        warnings=(
            *audit.warnings,
            *split.warnings,
            *threshold_warning(study, split, options.threshold),
            *size_warning(study, preprocess.size, options),
            *map(str, known),
        ),
    )


def threshold_warning(study: Study, split: Split, rule: str) -> tuple[str, ...]:
    """A sentence where `rule` cannot choose a threshold, because tune has cases of one class only."""
    if study.positive is None or rule == "argmax" or len(set(study.labels(split.tune).tolist())) > 1:
        return ()
    return (f"No threshold can be chosen by {rule}, for tune has cases of one class only: the likelier class decides.",)


def size_warning(study: Study, size: int, options: BuildOptions) -> tuple[str, ...]:
    """A sentence where a network's own size, which nobody asked for, is twice that of the pictures or more."""
    side = usual_side(study)
    if options.size is not None or size < 2 * side:
        return ()
    native = max(4 * round(side / 4), 4)
    times = round((size / native) ** 2)
    return (f"Pictures of {side:.0f} px are enlarged to {size}: --size {native}, where the network takes it, is {times} times less work.",)


def _refuse_unseen(study: Study, labels: NDArray[np.int64]) -> None:
    unseen = [name for index, name in enumerate(study.classes) if index not in set(labels.tolist())]
    if unseen:
        raise ClinquantError(
            "class-without-images",
            f"class {unseen[0]!r} has no training image.",
            fix="add images of this class, leave the class out, or change the split.",
        )


def findings(study: Study, audit: Audit, split: Split) -> list[str]:
    """What the data are, in plain sentences."""
    counts = [sum(case.label == index for case in study.cases) for index in range(len(study.classes))]
    classes = ", ".join(f"{name} {count}" for name, count in zip(study.classes, counts, strict=True))
    copies = sum(len(group) - 1 for group in (*audit.exact, *audit.near))
    sentences = [f"{len(study)} images in {len(study.classes)} classes: {classes}.", *study.notes]
    if study.broken:
        sentences.append(f"{len(study.broken)} broken images are left out.")
    if copies:
        sentences.append(f"{copies} images are copies or near-copies of others; {len(audit.conflicts)} groups of copies carry two labels.")
    if audit.leaks:
        sentences.append(f"{len(audit.leaks)} groups of patients or copies cross the given split.")
    if split.dropped:
        count = len(split.dropped)
        sentences.append(
            f"{count} images are dropped, each with its reason in split.json." if count > 1 else "1 image is dropped: split.json."
        )
    sentences.append(split.rule if split.rule.endswith(".") else f"{split.rule}.")
    return sentences


def tell_plan(plan: Plan, narrator: Narrator) -> None:
    """Says the plan."""
    for sentence in plan.found:
        narrator.say(sentence)
    parts = ", ".join(f"{name} {count}" for name, count in plan.images.items())
    narrator.say(f"Images: {parts}.")
    start = "random weights (no pretrained ones are used)" if plan.initial_weights == "random" else plan.initial_weights
    network = f"{plan.architecture} at {plan.size} px from {start}, at most {plan.epochs} epochs"
    network += ", saliency-guided" if plan.options.saliency_guided else ""
    network += f", taught by {plan.options.teacher}" if plan.options.teacher else ""
    narrator.say(f"Plan: {network}, then {plan.options.bits} by {plan.options.recipe}.")
    narrator.say(f"Training may take {_minutes(plan.training_seconds)}; the run needs {plan.disk_bytes / 1e6:.0f} MB of disk.")
    for claim in plan.power:
        narrator.say(power_sentence(claim, plan.options.margin))
    for warning in plan.warnings:
        narrator.say(f"Note: {warning}")
    narrator.say(RESEARCH_USE)


def power_sentence(claim: Decidable, margin: float) -> str:
    """What the test set can decide about one claim, in the best case."""
    name = claim.metric if claim.class_name is None else f"{claim.metric} of {claim.class_name}"
    cases = f"{claim.units} cases" + (f" of {claim.limited_by}" if claim.limited_by else "")
    if claim.decidable:
        return f"Claim {name}: {cases} can decide it at margin {margin:g} if few cases flip."
    needed = f" {claim.needed} would, without a single flip" if claim.needed else " no number of cases would"
    return f"Claim {name}: {cases} cannot decide it at margin {margin:g};{needed}. They could decide {claim.smallest_margin:.3f}."


def room_warning(plan: Plan, directory: Path) -> str | None:
    """A sentence when the disk is too small for the plan, else None."""
    free = shutil.disk_usage(directory).free
    if free > plan.disk_bytes:
        return None
    return f"the run needs about {plan.disk_bytes / 1e6:.0f} MB and {directory} has {free / 1e6:.0f} MB free."


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
