"""Sources of labelled images: one file a source, and this table of them."""

from __future__ import annotations

import difflib
from pathlib import Path

from clinquant.core.errors import ClinquantError
from clinquant.data.datasets.br35h import Br35H
from clinquant.data.datasets.folder import Folder
from clinquant.data.datasets.kvasir import VERSIONS, Kvasir
from clinquant.data.datasets.listing import Reader
from clinquant.data.datasets.manifest import Manifest
from clinquant.data.datasets.medmnist import MedMNIST
from clinquant.data.datasets.medmnist_info import INFO

READERS: dict[str, Reader] = {
    "kvasir": Kvasir(),
    "folder": Folder(),
    "csv": Manifest(),
    "medmnist": MedMNIST(),
    "br35h": Br35H(),
}
"""In the order in which they are asked: a folder that is there wins over a name; one that bears a release's own name is that release."""

NAMES = ("br35h", "demo", *VERSIONS, *INFO)
"""Data sets that are fetched by name."""


def reader_for(data: str) -> Reader:
    """The reader of `data`, a path or a name.

    Raises:
        ClinquantError: `data-missing` where nothing is there, `data-kind` where it is a file of no known kind.
    """
    for reader in READERS.values():
        if reader.accepts(data):
            if Path(data).suffix and not Path(data).exists():
                break
            return reader
    if Path(data).exists():
        raise ClinquantError(
            "data-kind",
            f"{data} is not a folder, a .csv, an .npz file or the archive of a known data set.",
            fix="give a folder with one sub-folder a class, or one of these.",
        )
    near = difflib.get_close_matches(data.lower(), NAMES, n=1)
    raise ClinquantError(
        "data-missing",
        f"{data} does not exist and is no known data set.",
        fix=f"did you mean {near[0]!r}?" if near else f"give a path, or one of {', '.join(NAMES)}.",
    )
