"""The pixels of a study's cases, read when they are asked for, by any process that has the study."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError, Exit
from clinquant.data.datasets import READERS
from clinquant.data.decode import Pixels8, picture
from clinquant.data.study import Case, Study


class Pixels:
    """`pixels[case_id]` is uint8 [H, W, 3], RGB, grey repeated, after EXIF rotation.

    Reads lazily and keeps no picture; an `.npz` file's arrays are opened once. What is read is checked against the study's
    sha256, so that a file changed since then never passes for the one that was audited.
    """

    def __init__(self, study: Study) -> None:
        self._cases = {case.id: case for case in study.cases}
        self._window = study.source.grey_window
        self._store = READERS[study.source.kind].store(study.source)

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, case_id: str) -> Pixels8:
        """The picture. Raises ClinquantError `case-unknown`, `image-missing`, `image-changed`, `image-broken`."""
        return picture(self._read(case_id), self._window, name=case_id).pixels

    def encoded(self, case_id: str) -> bytes | None:
        """The bytes of the image file; None where the case is a row of an array. Raises as `pixels[case_id]`."""
        data = self._read(case_id)
        return data if isinstance(data, bytes) else None

    def _read(self, case_id: str) -> bytes | NDArray[Any]:
        case = self._case(case_id)
        data = self._store.get(case_id)
        if content_sha256(data) != case.sha256:
            raise ClinquantError(
                "image-changed",
                f"{case_id} is not the file that the study was read from.",
                fix="restore it, or read the data set again (a new --out).",
                exit_code=Exit.REFUSED,
            )
        return data

    def _case(self, case_id: str) -> Case:
        if case_id not in self._cases:
            raise ClinquantError("case-unknown", f"the study has no case {case_id!r}.", fix="name a case id of study.json.")
        return self._cases[case_id]


def content_sha256(data: bytes | NDArray[Any]) -> str:
    """Hex sha256 of an image's encoded bytes, or of an array's raw pixel bytes."""
    return hashlib.sha256(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()).hexdigest()
