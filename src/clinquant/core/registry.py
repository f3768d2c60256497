"""Reads a registry, a dictionary literal, without importing what it lists: a device can name the lab's methods."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path


def read_registry(package: str, variable: str) -> dict[str, str]:
    """Name -> first sentence on it, of the dictionary literal `variable` in the package's `__init__.py` (or in the module).

    What is said of a name is the entry itself where that is a string, or the docstring of the file that bears it (`lsq+` is
    `lsq_plus.py`), else nothing.

    Raises:
        LookupError: when there is no such literal, which is a fault of ours.
    """
    path = _file_of(package)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Dict) and _assigns(node, variable):
            entries = zip(node.value.keys, node.value.values, strict=True)
            named = [(key.value, value) for key, value in entries if isinstance(key, ast.Constant) and isinstance(key.value, str)]
            return {name: _sentence(value) or _first_line(path.with_name(f"{name.replace('+', '_plus')}.py")) for name, value in named}
    raise LookupError(f"{package} has no dictionary literal {variable}")


def _sentence(value: ast.expr) -> str:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _assigns(node: ast.AnnAssign | ast.Assign, variable: str) -> bool:
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
    return any(isinstance(target, ast.Name) and target.id == variable for target in targets)


def _file_of(package: str) -> Path:
    spec = importlib.util.find_spec(package.rpartition(".")[0])
    assert spec is not None and spec.submodule_search_locations
    stem = Path(spec.submodule_search_locations[0]) / package.rpartition(".")[2]
    return stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")


def _first_line(path: Path) -> str:
    if not path.is_file():
        return ""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
