"""Refuses a bundle of which any byte was changed, lost or added, before a runtime sees the model."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from clinquant.core.artifact import read_json, sha256_file
from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError, Exit
from clinquant.edge.golden import read_golden, replay_golden
from clinquant.edge.manifest import NAME, Manifest, changed, read_manifest

REQUIRED = ("card.json", "model.onnx", "evidence.json", "predictions.csv", "golden.npz", "README.md")
"""What every bundle holds, the licences apart."""


def verify(bundle: Path, *, replay: bool = True) -> Manifest:
    """The manifest of a bundle that is exactly what was packed.

    Args:
        bundle: the folder.
        replay: after the hashes, also run the model on the golden pictures and compare every output bit; values within a tolerance where
            the card counts float islands.

    Raises:
        ClinquantError: `bundle-changed`, `bundle-missing`, `bundle-extra` or `bundle-golden`, with exit code REFUSED.
    """
    manifest = read_manifest(bundle)
    _check_names(bundle, manifest)
    for name, entry in manifest.files.items():
        path = bundle / name
        if path.stat().st_size != entry.bytes:
            raise changed(path, f"{path.stat().st_size:,} bytes, expected {entry.bytes:,}")
        if sha256_file(path) != entry.sha256:
            raise changed(path, "its sha256 differs")
    if replay:
        card = read_json(bundle / "card.json", Card, kind="card")
        replay_golden(bundle / "model.onnx", read_golden(bundle / "golden.npz"), islands=card.float_islands > 0)
    return manifest


def _check_names(bundle: Path, manifest: Manifest) -> None:
    expected = {*manifest.files, NAME}
    folders = {str(parent) for name in expected for parent in Path(name).parents}
    found = set()
    for path, mode in _walk(bundle):
        name = path.relative_to(bundle).as_posix()
        if not (stat.S_ISREG(mode) and name in expected) and not (stat.S_ISDIR(mode) and name in folders):
            raise _extra(path)
        found.add(name)
    for name in sorted({*expected, *REQUIRED} - found):
        raise ClinquantError(
            "bundle-missing",
            f"{bundle / name} is not there.",
            fix="fetch the bundle again from where it was published.",
            exit_code=Exit.REFUSED,
        )


def _walk(folder: Path) -> Iterator[tuple[Path, int]]:
    """Everything under `folder` with its type, links not followed."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        mode = entry.stat(follow_symlinks=False).st_mode
        yield Path(entry.path), mode
        if stat.S_ISDIR(mode):
            yield from _walk(Path(entry.path))


def _extra(path: Path) -> ClinquantError:
    return ClinquantError(
        "bundle-extra",
        f"{path} does not belong to the bundle.",
        fix="keep nothing of your own in a bundle: move it elsewhere, or fetch the bundle again.",
        exit_code=Exit.REFUSED,
    )
