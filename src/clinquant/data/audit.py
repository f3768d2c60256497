"""What is wrong with a data set, and what its test set can decide, before any training."""

from __future__ import annotations

from dataclasses import dataclass

from clinquant.core.progress import Progress
from clinquant.data.balance import Sizes, balance, composition_warnings, modes, sizes
from clinquant.data.copies import Copies, Groups, find_copies
from clinquant.data.fingerprints import fingerprints
from clinquant.data.leaks import find_leaks, leaked_test_cases
from clinquant.data.study import Study, learnt_sha256
from clinquant.data.units import copy_units, units_of
from clinquant.evidence.power import Decidable, decidable

TEST_SHARE = 0.2
"""Share of the units that a split drawn by default puts into the test set."""


@dataclass(frozen=True, kw_only=True)
class Audit(Copies):
    """`audit.json`. Groups are lists of case ids, each of at least two.

    Attributes:
        exact, near, edited: copies, as in `Copies`.
        conflicts: groups of copies whose labels differ: of equal pixels first, then of near and edited copies with all their members.
        leaks: patients and copies that cross the given split.
        images: number of cases.
        distinct: different pictures once exact and near copies are counted once.
        units: independent units: patients, with copies joined.
        balance: class -> `images`, `units`, and images a side of the given split.
        sizes, modes: of the stored pictures.
        margin: of non-inferiority that `power` was computed for.
        power: what the test set can decide at that margin, and at which it could.
        power_of: which test set that is, in words.
        warnings: plain sentences.
        parents: `learnt_sha256` of the study.
    """

    conflicts: Groups
    leaks: Groups
    images: int
    distinct: int
    units: int
    balance: dict[str, dict[str, int]]
    sizes: Sizes
    modes: dict[str, int]
    margin: float
    power: tuple[Decidable, ...]
    power_of: str
    warnings: tuple[str, ...]
    parents: dict[str, str]


def audit(study: Study, *, margin: float = 0.02, test_share: float = TEST_SHARE, progress: Progress | None = None) -> Audit:
    """Copies, conflicting labels, leaks, balance and power of a study.

    Args:
        study: as read.
        margin: of non-inferiority, 0 to 1.
        test_share: of the units that the test set will have, where the data came without one.
        progress: called with (images looked at, images in all) where they must be read again.
    """
    copies = find_copies(study, fingerprints(study, progress))
    units = units_of(study, copies)
    leaks, conflicts, table = find_leaks(study, copies), find_conflicts(study, copies), balance(study, units)
    test_units, test_name = _test_units(study, units, test_share)
    return Audit(
        exact=copies.exact,
        near=copies.near,
        edited=copies.edited,
        conflicts=conflicts,
        leaks=leaks,
        images=len(study),
        distinct=len(study) - sum(len(group) - 1 for group in (*copies.exact, *copies.near)),
        units=len(set(units.values())),
        balance=table,
        sizes=sizes(study),
        modes=modes(study),
        margin=margin,
        power=decidable(test_units, margin, study.positive),
        power_of=test_name,
        warnings=(*_copy_warnings(study, conflicts, leaks), *composition_warnings(study, table)),
        parents={"study": learnt_sha256(study)},
    )


def find_conflicts(study: Study, copies: Copies) -> Groups:
    """Groups of copies whose labels differ: of equal pixels, then those where only near or edited copies disagree."""

    def differ(group: tuple[str, ...]) -> bool:
        return len({study.label_of[case] for case in group}) > 1

    exact = tuple(group for group in copies.exact if differ(group))
    return (*exact, *(group for group in copy_units(study, copies) if differ(group) and group not in exact))


def _test_units(study: Study, units: dict[str, str], test_share: float) -> tuple[dict[str, int], str]:
    """Independent units of each class in the test set that is given, or that will be drawn."""
    given = [case for case in study.cases if case.split == "test"]
    counts = {
        name: len({units[case.id] for case in given or study.cases if case.label == label}) for label, name in enumerate(study.classes)
    }
    if given:
        return counts, "the given test set"
    return {name: round(count * test_share) for name, count in counts.items()}, f"a test set of {test_share:.0%} of the units"


def _copy_warnings(study: Study, conflicts: Groups, leaks: Groups) -> list[str]:
    warnings = []
    if conflicts:
        warnings.append(f"{len(conflicts)} groups of copies carry different labels (the first: {', '.join(conflicts[0][:3])}).")
    leaked, test = leaked_test_cases(study, leaks)
    if leaked:
        warnings.append(f"{leaked} of {test} test images ({leaked / test:.0%}) have a copy or the same patient outside the test set.")
    elif leaks:
        warnings.append(f"{len(leaks)} groups cross the given split between train and tune.")
    return warnings
