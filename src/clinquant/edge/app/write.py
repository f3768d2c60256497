"""Writes the tablet app of a bundle: static files that any web server can serve and a browser keeps."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clinquant import __version__
from clinquant.core.artifact import dump_json, sha256_file, sha256_json, write_text, writing_to
from clinquant.core.errors import ClinquantError, Exit
from clinquant.data.decode import MOST_PIXELS
from clinquant.edge.browser_model import write_browser_model
from clinquant.edge.bundle import Bundle, open_bundle
from clinquant.edge.golden import TOLERANCE
from clinquant.edge.manifest import NAME as MANIFEST
from clinquant.edge.manifest import Entry
from clinquant.edge.speed import speeds

STATIC = Path(__file__).with_name("static")
"""What `python web/assemble.py` gathered: the app's own files and the browser's runtime."""

NAME = "app.json"
KIND = "app"
WORKER = "sw.js"
TABLES = ".csv"
"""Tables of test cases, for recomputing the evidence: no tablet needs them, and an app may stand on a public server."""


@dataclass(frozen=True, kw_only=True)
class App:
    """`app.json`: what a browser must hold before it may answer.

    Attributes:
        release: sha256 over all the rest; a browser holds one release and changes it only when asked to.
        clinquant: version that wrote it.
        runtime: what runs the model in the browser.
        bundle_version, bundle_created, manifest_sha256: of the bundle that is shown.
        model: the file that is run: `bundle/model.onnx`, or `bundle/model.wasm.onnx`, the same integers as a browser computes them
            faster; the other is then not in the folder.
        optimise: whether the runtime may rewrite the model's graph.
        architecture: of the network.
        percent_of_float: what the network's integer file was measured to take in a browser, in percent of its float file's time; None
            where it was not measured.
        golden_tolerance: of the replayed golden vectors, as a share of the largest output; None asks for every bit.
        most_pixels: a larger picture is refused.
        files: path -> bytes and sha256, of everything that a browser fetches beside `app.json` and the service worker.
    """

    release: str
    clinquant: str
    runtime: str
    bundle_version: int
    bundle_created: str
    manifest_sha256: str
    model: str
    optimise: bool
    architecture: str
    percent_of_float: int | None
    golden_tolerance: float | None
    most_pixels: int
    files: dict[str, Entry]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(entry.bytes for entry in self.files.values())


def write_app(bundle: Path, out: Path) -> App:
    """Writes the app of `bundle` to the folder `out`, as a whole or not at all; an app that stands there is replaced.

    Args:
        bundle: verified first, golden vectors too.
        out: a new folder, an empty one, or one that an earlier `write_app` wrote.

    Raises:
        ClinquantError: as `verify`; `app-files-missing`, `app-foreign`, `browser-file-missing`, `disk-full`, `output-unwritable`.
    """
    opened, fresh = open_bundle(bundle, replay=True), out.with_name(f".{out.name}.new")
    _check_parts()
    _check_place(out)
    _check_browser_file(opened)
    with writing_to(out):
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(STATIC, fresh)
        for name in (*_read_there(opened), MANIFEST):
            (fresh / "bundle" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(opened.path / name, fresh / "bundle" / name)
        app = _describe(opened, fresh)
        write_text(fresh / NAME, dump_json(app, kind=KIND))
        worker = (fresh / WORKER).read_text(encoding="utf-8")
        write_text(fresh / WORKER, f"self.RELEASE = {json.dumps(_precached(app, fresh / NAME))};\n{worker}")
        shutil.rmtree(out, ignore_errors=True)
        os.replace(fresh, out)
    return app


def _describe(bundle: Bundle, folder: Path) -> App:
    model = f"bundle/{bundle.browser_model.name}"
    files = {path.relative_to(folder).as_posix(): _entry(path) for path in _files(folder)}
    measured = speeds().get(bundle.card.architecture)
    described = App(
        release="",
        clinquant=__version__,
        runtime=(folder / "vendor" / "VERSION").read_text(encoding="utf-8").strip(),
        bundle_version=bundle.manifest.bundle_version,
        bundle_created=bundle.manifest.created,
        manifest_sha256=bundle.manifest.sha256,
        model=model,
        optimise=bundle.browser_optimise,
        architecture=bundle.card.architecture,
        percent_of_float=round(100 * measured.browser) if measured else None,
        golden_tolerance=TOLERANCE if bundle.card.float_islands else None,
        most_pixels=MOST_PIXELS,
        files=files,
    )
    values = {name: getattr(described, name) for name in described.__dataclass_fields__} | {"release": sha256_json(described)}
    return App(**values)


def _read_there(bundle: Bundle) -> list[str]:
    """The bundle's files that a browser reads: of the models the one that it runs, and no table of test cases."""
    other = {"model.onnx", bundle.browser_model.name} - {bundle.browser_model.name}
    return [name for name in bundle.manifest.files if name not in other and not name.endswith(TABLES)]


def _precached(app: App, file: Path) -> dict[str, object]:
    """What the service worker must know: the release, the versions it may follow, and every file's hash."""
    return {
        "release": app.release,
        "bundle_version": app.bundle_version,
        "bundle_created": app.bundle_created,
        "manifest_sha256": app.manifest_sha256,
        "files": {NAME: sha256_file(file)} | {name: entry.sha256 for name, entry in app.files.items()},
    }


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (NAME, WORKER))


def _entry(path: Path) -> Entry:
    return Entry(bytes=path.stat().st_size, sha256=sha256_file(path))


def _check_parts() -> None:
    if not all((STATIC / name).is_file() for name in ("index.html", WORKER, "vendor/VERSION")):
        raise ClinquantError(
            "app-files-missing",
            f"the app's files are not assembled in {STATIC}.",
            fix="run 'python web/assemble.py' in the source tree, or install a wheel, which holds them.",
            exit_code=Exit.ENVIRONMENT,
        )


def _check_browser_file(bundle: Bundle) -> None:
    """A bundle from before bundles held what a browser runs would open there slowly or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        needed = write_browser_model(bundle.model, Path(folder) / "model.onnx") is not None
    if needed and bundle.browser_model == bundle.model:
        raise ClinquantError(
            "browser-file-missing",
            f"{bundle.path} lacks model.wasm.onnx, which a browser runs in this model's place: an older clinquant packed it.",
            fix="run 'clinquant build' again on its run folder: it proves and packs that file too.",
        )


def _check_place(out: Path) -> None:
    ours = (out / NAME).is_file() and (out / WORKER).is_file()
    if out.exists() and not ours and (not out.is_dir() or any(out.iterdir())):
        raise ClinquantError("app-foreign", f"{out} exists and is not an app.", fix="choose another --out, or empty it.")
