"""A study: the labelled cases of one data set, named but not loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import sha256_json
from clinquant.core.errors import ClinquantError


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image and what is known of it.

    Attributes:
        id: path relative to the data set's root with forward slashes (`NORMAL/a.jpeg`), or `<split>/<row>` of an `.npz`.
        label: index into the study's classes; -1 when unknown.
        sha256: of the image's encoded bytes (of the raw pixel bytes for an array).
        width, height: pixels, after EXIF rotation.
        mode: `L`, `RGB`, `RGBA`, `P`, `I;16` ... as stored.
        group: patient (or any unit whose images must stay together), if given.
        split: `train`, `tune` or `test` when the data came with a split.
        site: hospital or scanner, if given.
        covariates: what else a manifest says of the image or its patient (sex, age, view ...): column -> value.
    """

    id: str
    label: int
    sha256: str
    width: int
    height: int
    mode: str
    group: str | None = None
    split: str | None = None
    site: str | None = None
    covariates: dict[str, str] = field(default_factory=dict, metadata={"omit_empty": True})


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a study's pixels are: enough for another process to read them.

    Attributes:
        kind: a name in `clinquant.data.datasets.READERS`: `folder`, `csv`, `medmnist` ...
        path: absolute path of the folder, the manifest or the file.
        grey_window: 16-bit grey levels that map to 0 and 255.
    """

    kind: str
    path: str
    grey_window: tuple[int, int] = (0, 65535)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A data set ready to be audited.

    Attributes:
        name: short name for people.
        task: `binary` or `multi-class`.
        classes: names; a label is an index into them.
        positive: index of the diseased class when there are two classes, else None.
        source: where the pixels are.
        cases: in a stable order (sorted by id).
        broken: ids left out by `--skip-broken`, with the reason.
        licence: as stated by the source, or `not stated`.
        notes: plain sentences on how it was read: files ignored, how the positive class was chosen, the grey window.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    positive: int | None
    source: Source
    cases: tuple[Case, ...]
    broken: dict[str, str] = field(default_factory=dict)
    licence: str = "not stated"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ClinquantError(
                "one-class",
                f"{self.source.path} has {len(self.classes)} class ({', '.join(self.classes) or 'none'}).",
                fix="give a folder with one sub-folder a class, at least two of them.",
            )

    def __len__(self) -> int:
        return len(self.cases)

    @cached_property
    def label_of(self) -> Mapping[str, int]:
        """Case id -> index into the classes; -1 when unknown."""
        return {case.id: case.label for case in self.cases}

    def labels(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Labels [n] of the cases named, in their order."""
        return np.array([self.label_of[case] for case in ids], np.int64)


def learnt_sha256(study: Study) -> str:
    """Hash of what copies, split and networks follow from: all of a study but sites, covariates and notes, which evidence alone reads."""
    cases = tuple(replace(case, site=None, covariates={}) for case in study.cases)
    return sha256_json(replace(study, cases=cases, notes=()))
