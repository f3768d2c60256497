"""A second data set as an external test: another hospital's images with the same classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clinquant.core.errors import ClinquantError
from clinquant.data.copies import Copies, find_copies
from clinquant.data.fingerprints import Fingerprints, fingerprints
from clinquant.data.likeness import SMALL, Likeness
from clinquant.data.split import Split
from clinquant.data.study import Case, Study
from clinquant.data.units import units_of


@dataclass(frozen=True, kw_only=True)
class External:
    """What an external test is run on.

    Attributes:
        study: the external data set, its labels indexing the classes of the trained study.
        ids: the cases to test.
        units: case id -> independent unit.
        dropped: case id -> reason: a copy of a picture that the model was built on, or of another external case.
    """

    study: Study
    ids: tuple[str, ...]
    units: dict[str, str]
    dropped: dict[str, str]


def external_test(study: Study, split: Split, external: Study) -> External:
    """The cases of `external` that are new to a model built on `split`.

    Raises:
        ClinquantError: `classes-differ`.
    """
    aligned = align_classes(external, study.classes, study.positive)
    prints = fingerprints(aligned)
    copies = find_copies(aligned, prints)
    built_on = [case for case in study.cases if case.id in {*split.train, *split.tune}]
    rows = {case.id: k for k, case in enumerate(study.cases)}
    own = fingerprints(study)
    chosen = [rows[case.id] for case in built_on]
    seen = known_pictures(aligned.cases, prints, built_on, Fingerprints(digests=own.digests[chosen], thumbnails=own.thumbnails[chosen]))
    dropped = {case: f"copy of {other}, which the model was built on" for case, other in seen.items()} | _repeated(aligned, copies, seen)
    ids = tuple(case.id for case in aligned.cases if case.id not in dropped)
    if not ids:
        raise ClinquantError(
            "external-known", f"every image of {external.name} was used to build the model.", fix="give another hospital's images."
        )
    units = units_of(aligned, copies)
    return External(study=aligned, ids=ids, units={case: units[case] for case in ids}, dropped=dropped)


def align_classes(external: Study, classes: tuple[str, ...], positive: int | None) -> Study:
    """`external` with its labels indexing `classes`, whatever their order in it.

    Raises:
        ClinquantError: `classes-differ`, naming what is missing and what is unknown.
    """
    if set(external.classes) != set(classes):
        missing, unknown = sorted(set(classes) - set(external.classes)), sorted(set(external.classes) - set(classes))
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has the unknown {', '.join(unknown)}"] * bool(unknown)
        raise ClinquantError(
            "classes-differ",
            f"{external.name} {' and '.join(parts)}.",
            fix=f"name its classes as the trained ones: {', '.join(classes)}.",
        )
    index = {label: classes.index(name) for label, name in enumerate(external.classes)}
    cases = tuple(replace(case, label=index[case.label]) for case in external.cases)
    return replace(external, classes=classes, positive=positive, cases=cases)


def known_pictures(cases: Sequence[Case], prints: Fingerprints, known: Sequence[Case], known_prints: Fingerprints) -> dict[str, str]:
    """Case id -> id of the known case that shows the same picture (equal, near or edited), for those that have one."""
    by_digest = {row.tobytes(): case.id for case, row in zip(known, known_prints.digests, strict=True)}
    found = {case.id: by_digest[key] for case, row in zip(cases, prints.digests, strict=True) if (key := row.tobytes()) in by_digest}
    everyone = [*cases, *known]
    small = np.array([min(case.width, case.height) < SMALL for case in everyone], np.bool_)
    likeness = Likeness.of(np.concatenate([prints.thumbnails, known_prints.thumbnails]), small)
    i, j = likeness.pairs()
    across = (i < len(cases)) & (j >= len(cases))
    for a, b in zip(i[across].tolist(), j[across].tolist(), strict=True):
        found.setdefault(everyone[a].id, everyone[b].id)
    return found


def _repeated(study: Study, copies: Copies, seen: dict[str, str]) -> dict[str, str]:
    """Equal pictures within the external set: all beyond the first, or all of them where their labels differ."""
    dropped: dict[str, str] = {}
    for group in copies.exact:
        if len({study.label_of[case] for case in group}) > 1:
            dropped |= dict.fromkeys(group, f"equal pictures carry different labels: {', '.join(group)}")
        else:
            dropped |= dict.fromkeys(group[1:], f"exact copy of {group[0]}")
    return {case: reason for case, reason in dropped.items() if case not in seen}
