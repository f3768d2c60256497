"""A bundle: one folder with the model, what it decides, the evidence, and what is needed to check both."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from clinquant import __version__
from clinquant.core.artifact import read_json, sha256_file, write_bytes, write_json, write_text, writing_to
from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.edge.browser_model import NAME as BROWSER
from clinquant.edge.browser_model import write_browser_model
from clinquant.edge.golden import Golden, write_golden
from clinquant.edge.kept import Kept, write_kept
from clinquant.edge.manifest import NAME, SAFE_PART, Entry, Manifest, sealed
from clinquant.edge.model_card import model_card
from clinquant.edge.paired import write_paired
from clinquant.edge.verify import verify
from clinquant.evidence.evidence import FILES, Evidence


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A folder that was found to be exactly what was packed."""

    path: Path
    manifest: Manifest
    card: Card

    @property
    def model(self) -> Path:
        """The model file."""
        return self.path / "model.onnx"

    @property
    def browser_model(self) -> Path:
        """The file that a browser runs: `model.wasm.onnx` where the bundle holds it, else the model file."""
        return self.path / BROWSER if BROWSER in self.manifest.files else self.model

    @property
    def browser_optimise(self) -> bool:
        """Whether a browser's runtime may rewrite that file's graph."""
        browser = self.evidence.browser
        return browser is None or browser.optimise

    @property
    def evidence(self) -> Evidence:
        """What was measured on this very file."""
        return read_json(self.path / "evidence.json", Evidence, kind="evidence")


def open_bundle(path: Path | str, *, replay: bool = False) -> Bundle:
    """The bundle at `path`, its hashes checked; with `replay` its golden vectors too. Raises as `verify`."""
    path = Path(path)
    manifest = verify(path, replay=replay)
    return Bundle(path=path, manifest=manifest, card=read_json(path / "card.json", Card, kind="card"))


def pack(
    directory: Path,
    *,
    model: Path,
    card: Card,
    evidence: Evidence,
    predictions: Mapping[str, Path],
    golden: Golden,
    licences: Mapping[str, str],
    kept: Kept | None = None,
    previous: Path | None = None,
) -> Bundle:
    """Writes the bundle `directory` as a whole, or not at all; verified before it takes its place.

    A bundle with the same files that stands there already is left as it is; another one is replaced and kept until then.

    Args:
        directory: the folder to write.
        model: the integer file; what a browser runs in its place is made of it.
        card: of that file.
        evidence: float against this file.
        predictions: `float` and `integer` -> the CSV of the locked test set.
        golden: from `record_golden(model, ...)`.
        licences: name -> text, for example `data`, `weights`, `clinquant`.
        kept: further tables that the evidence follows from.
        previous: the bundle that this one follows; default what stands at `directory`.

    Raises:
        ClinquantError: `pack-mismatch` when evidence or predictions are of other files, `bundle-foreign` when something else
            stands at `directory`, `disk-full`, `output-unwritable`.
    """
    fresh, old = directory.with_name(f".{directory.name}.new"), directory.with_name(f".{directory.name}.old")
    _clear(directory, fresh, old)
    tables = {name: Predictions.read(predictions[name]) for name in FILES}
    standing = _intact(directory)
    before = _intact(previous) if previous else standing
    write_bytes(fresh / "model.onnx", model.read_bytes())
    write_browser_model(model, fresh / BROWSER)
    _check_parents(fresh, evidence, tables)
    write_json(fresh / "card.json", card, kind="card")
    write_json(fresh / "evidence.json", evidence, kind="evidence")
    write_text(fresh / "README.md", model_card(card, evidence))
    write_paired(fresh / "predictions.csv", tables)
    write_kept(fresh, kept or Kept())
    write_golden(fresh / "golden.npz", golden)
    for name, text in licences.items():
        write_text(fresh / "LICENCES" / f"{_safe(name)}.txt", text)
    manifest = _manifest(fresh, before)
    if standing and standing.files == manifest.files:
        shutil.rmtree(fresh)
        return open_bundle(directory)
    write_text(fresh / NAME, manifest.text)
    verify(fresh)
    _swap(fresh, directory, old)
    return Bundle(path=directory, manifest=manifest, card=card)


def _clear(directory: Path, fresh: Path, old: Path) -> None:
    """Removes what a killed run left, and puts back a bundle that it had moved aside."""
    with writing_to(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)
        if old.exists() and not directory.exists():
            os.replace(old, directory)
        shutil.rmtree(old, ignore_errors=True)


def _swap(fresh: Path, directory: Path, old: Path) -> None:
    with writing_to(directory):
        if directory.exists():
            os.replace(directory, old)
        os.replace(fresh, directory)
        shutil.rmtree(old, ignore_errors=True)


def _intact(path: Path) -> Manifest | None:
    if not path.exists():
        return None
    try:
        return verify(path, replay=False)
    except ClinquantError as error:
        raise ClinquantError(
            "bundle-foreign",
            f"{path} exists and is not an intact bundle ({error.code}: {error.message})",
            fix="move it away, or choose another --out.",
        ) from error


def _manifest(folder: Path, before: Manifest | None) -> Manifest:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = Manifest(
        bundle_version=before.bundle_version + 1 if before else 1,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        clinquant=__version__,
        previous=before.sha256 if before else None,
        files={path.relative_to(folder).as_posix(): Entry(bytes=path.stat().st_size, sha256=sha256_file(path)) for path in paths},
    )
    return sealed(manifest)


def _check_parents(folder: Path, evidence: Evidence, tables: Mapping[str, Predictions]) -> None:
    """Evidence and predictions are of the very files in `folder`."""
    model, browser = (_sha256(folder / name) for name in ("model.onnx", BROWSER))
    stated = {
        "evidence": (evidence.files["integer"].sha256, model),
        "predictions": (tables["integer"].model_sha256, model),
        "figures of what a browser runs": (evidence.files["browser"].sha256 if "browser" in evidence.files else None, browser),
    }
    for kind, (sha256, held) in stated.items():
        if sha256 != held:
            raise ClinquantError(
                "pack-mismatch",
                f"the {kind} are of {_short(sha256)}, the bundle would hold {_short(held)}.",
                fix="run 'clinquant build' again: it predicts and compares the exported files itself.",
            )


def _sha256(path: Path) -> str | None:
    return sha256_file(path) if path.exists() else None


def _short(sha256: str | None) -> str:
    return "no file" if sha256 is None else f"the file {sha256[:12]}"


def _safe(name: str) -> str:
    if not SAFE_PART.fullmatch(name):
        raise ClinquantError("bundle-name", f"{name!r} cannot be a file name in a bundle.", fix="use letters, digits, '.', '_' and '-'.")
    return name
