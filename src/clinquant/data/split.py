"""Who trains, who tunes, who is the locked test: whole groups on one side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from clinquant.core.errors import ClinquantError
from clinquant.data.audit import Audit
from clinquant.data.balance import FEW, few_sentences
from clinquant.data.stratify import assign, proportional
from clinquant.data.study import Study
from clinquant.data.units import units_of

CALIBRATION = 512
"""Images for activation ranges, at most: beyond that, ranges of 8-bit activations no longer move."""

FRACTIONS = (0.7, 0.1, 0.2)
"""Train, tune, test."""

KEEPS = {"test": 0, "tune": 1, "train": 2}
"""Which side of a given split keeps a unit that stands on several: the published test set stays as it is."""

_REFERRAL_SEED = 1
_CALIBRATION_SEED = 2


@dataclass(frozen=True, kw_only=True)
class Split:
    """Case ids by role. A dropped case (a copy, a leak) stands in `dropped` with its reason and nowhere else.

    Attributes:
        train, tune, test: disjoint case ids; no unit crosses them.
        calibration: a subset of train, for activation ranges.
        referral: the half of tune that chooses neither epoch, recipe nor temperature; for the referral confidence.
        units: id of the independent unit (patient, or group of copies) of every case kept: the unit of resampling.
        dropped: case id -> reason.
        rule: in words: given or drawn, fractions, stratified.
        seed: of the draw.
        warnings: plain sentences, for example a class with very few cases.
    """

    train: tuple[str, ...]
    tune: tuple[str, ...]
    test: tuple[str, ...]
    calibration: tuple[str, ...]
    referral: tuple[str, ...]
    units: dict[str, str]
    rule: str
    seed: int
    dropped: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def choosing_half(split: Split) -> tuple[str, ...]:
    """The tune cases that may choose epoch, recipe and temperature: those that the referral confidence will not be chosen on."""
    kept = set(split.referral)
    return tuple(case for case in split.tune if case not in kept) or split.tune


def split(study: Study, audit: Audit, *, fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0) -> Split:
    """A split of the study by independent units (patients, with all copies joined), stratified by class.

    Of equal pictures one is kept; equal pictures with different labels are all dropped. A split that came with the data is kept:
    where a unit crosses it, the test set keeps its cases before tune and tune before train, and the others are dropped. A side that
    was not given is drawn out of train.

    Args:
        study: as read.
        audit: of that study.
        fractions: of train, tune and test, for sides that are drawn.
        seed: of every draw.

    Raises:
        ClinquantError: `fractions-invalid`, `split-incomplete`, `split-empty`.
    """
    _check_fractions(fractions)
    labels = study.label_of
    units = units_of(study, audit)
    given = {case.id: case.split for case in study.cases if case.split is not None}
    dropped = _unwanted_copies(study, audit, given)
    if len(set(given.values())) > 1:
        sides, rule = _kept(study, units, given, dropped)
    else:
        sides, rule = dict.fromkeys(labels, "train"), ""
    kept = [case for case in labels if case not in dropped]
    sides, drawn = _drawn({case: sides[case] for case in kept}, labels, units, fractions, seed)
    roles = {side: tuple(case for case in kept if sides[case] == side) for side in ("train", "tune", "test")}
    _refuse_empty(roles, dropped, units)
    return Split(
        train=roles["train"],
        tune=roles["tune"],
        test=roles["test"],
        calibration=_calibration(roles["train"], labels, seed),
        referral=_referral(roles["tune"], labels, units, seed),
        units={case: units[case] for case in kept},
        rule=" ".join(part for part in (rule, drawn) if part),
        seed=seed,
        dropped=dropped,
        warnings=tuple(_warnings(study, roles, units)),
    )


def _unwanted_copies(study: Study, audit: Audit, given: Mapping[str, str]) -> dict[str, str]:
    """Case id -> reason, for equal pictures beyond one, and for all whose labels disagree."""
    label = study.label_of
    dropped: dict[str, str] = {}
    for group in audit.exact:
        if len({label[case] for case in group}) > 1:
            names = " and ".join(sorted({study.classes[label[case]] for case in group}))
            dropped |= {case: f"equal pictures carry the labels {names}: {', '.join(group)}" for case in group}
            continue
        stays = min(group, key=lambda case: (KEEPS[given.get(case, "train")], case))
        where = f", which is in {given[stays]}" if stays in given else ""
        dropped |= {case: f"exact copy of {stays}{where}" for case in group if case != stays}
    return dropped


def _kept(study: Study, units: Mapping[str, str], given: Mapping[str, str], dropped: dict[str, str]) -> tuple[dict[str, str], str]:
    """The given sides without what leaks across them (added to `dropped`), and the rule in words."""
    missing = [case.id for case in study.cases if case.id not in given]
    if missing or "train" not in given.values():
        what = f"{missing[0]} has no split ({len(missing)} such images)" if missing else "the given split has no train side"
        raise ClinquantError("split-incomplete", f"{what}.", fix="give every image train, tune or test, with some of them train.")
    leaders: dict[str, str] = {}
    for case in sorted((case for case in given if case not in dropped), key=lambda case: (KEEPS[given[case]], case)):
        leader = leaders.setdefault(units[case], case)
        if given[case] != given[leader]:
            dropped[case] = f"same patient or picture as {leader}, which is in {given[leader]}"
    names = ", ".join(side for side in ("train", "tune", "test") if side in given.values())
    return dict(given), f"Given with the data ({names}); where a unit crossed it, test kept its cases before tune, tune before train."


def _drawn(
    sides: dict[str, str], labels: Mapping[str, int], units: Mapping[str, str], fractions: tuple[float, float, float], seed: int
) -> tuple[dict[str, str], str]:
    """The sides with those that were not given drawn out of train, and the rule in words."""
    shares = dict(zip(("train", "tune", "test"), fractions, strict=True))
    open_sides = {side: share for side, share in shares.items() if side == "train" or side not in sides.values()}
    if len(open_sides) == 1:
        return sides, ""
    total = sum(open_sides.values())
    pool = [case for case, side in sides.items() if side == "train"]
    order = [side for side in ("train", "test", "tune") if side in open_sides]
    placed = assign(_labels_by_unit(pool, labels, units), {side: open_sides[side] / total for side in order}, seed)
    percent = " / ".join(f"{side} {100 * share / total:.3g}%" for side, share in open_sides.items())
    words = f"Drawn {'out of train ' if len(open_sides) < 3 else ''}by unit (patient, copies together), stratified by class: {percent}."
    return sides | {case: placed[units[case]] for case in pool}, words


def _calibration(train: tuple[str, ...], labels: Mapping[str, int], seed: int) -> tuple[str, ...]:
    """Cases of train, stratified; images and not units, for they only set ranges."""
    shuffled = [train[k] for k in np.random.default_rng((seed, _CALIBRATION_SEED)).permutation(len(train))]
    places = proportional(Counter(labels[case] for case in train), CALIBRATION)
    chosen = set()
    for case in shuffled:
        if places[labels[case]] > 0:
            places[labels[case]] -= 1
            chosen.add(case)
    return tuple(case for case in train if case in chosen)


def _referral(tune: tuple[str, ...], labels: Mapping[str, int], units: Mapping[str, str], seed: int) -> tuple[str, ...]:
    placed = assign(_labels_by_unit(tune, labels, units), {"choose": 0.5, "referral": 0.5}, seed + _REFERRAL_SEED)
    return tuple(case for case in tune if placed[units[case]] == "referral")


def _labels_by_unit(cases: Iterable[str], labels: Mapping[str, int], units: Mapping[str, str]) -> dict[str, Counter[int]]:
    held: dict[str, Counter[int]] = defaultdict(Counter)
    for case in cases:
        held[units[case]][labels[case]] += 1
    return held


def _warnings(study: Study, roles: Mapping[str, tuple[str, ...]], units: Mapping[str, str]) -> Iterable[str]:
    label = study.label_of
    few: dict[str, int] = {}
    for k, name in enumerate(study.classes):
        counts = {side: len({units[case] for case in cases if label[case] == k}) for side, cases in roles.items()}
        for side, count in counts.items():
            if count == 0:
                yield f"Class {name!r} has no case in {side}: {sum(counts.values())} independent units in all are too few."
        if 0 < counts["test"] < FEW:
            few[name] = counts["test"]
    yield from few_sentences(few, "independent units in test", "nothing can be shown about so few")


def _check_fractions(fractions: tuple[float, float, float]) -> None:
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ClinquantError(
            "fractions-invalid", f"fractions {fractions}.", fix="give three shares above 0 that sum to 1, such as .7 .1 .2."
        )


def _refuse_empty(roles: Mapping[str, tuple[str, ...]], dropped: Mapping[str, str], units: Mapping[str, str]) -> None:
    kept = [case for cases in roles.values() for case in cases]
    few = f"{len(kept)} images"
    if (groups := len({units[case] for case in kept})) < len(kept):
        few += f" of {groups} independent units (patients, copies together)"
    for side, cases in roles.items():
        if not cases:
            gone = f" once {len(dropped)} copies and leaks are dropped" if dropped else ""
            raise ClinquantError(
                "split-empty", f"nothing is left for {side}: {few} are too few{gone}.", fix="give more independent images."
            )
