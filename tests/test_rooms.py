"""Who may import whom: a line imports only from rooms to its left or from its own, and only the lab imports torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "clinquant"
ROOMS = ("core", "evidence", "data", "edge", "report", "lab", "cli")
FILES = sorted(path for room in ROOMS for path in (SOURCE / room).rglob("*.py"))
SCRIPTS = sorted(path for folder in ("benchmarks", "docs") for path in (SOURCE.parents[1] / folder).rglob("*.py"))
LAB_ONLY = {"torch", "safetensors", "timm", "torchvision"}
LIGHT = {"click", "clinquant", "rich"}
"""What the command line may import at the top of a module, beside the standard library."""


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    """Full names of the modules that a file imports; with `top_only` only those imported when it is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _executed(tree) if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or typing_only:
            continue
        yield child
        yield from _executed(child)


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def test_every_room_is_there() -> None:
    assert sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__") == sorted(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_to_the_left(path: Path) -> None:
    place = ROOMS.index(path.relative_to(SOURCE).parts[0])
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "clinquant" and len(parts) > 1:
            assert ROOMS.index(parts[1]) <= place, f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", [path for path in FILES if path.relative_to(SOURCE).parts[0] != "lab"], ids=name)
def test_only_the_lab_imports_torch(path: Path) -> None:
    assert not {module.split(".")[0] for module in imports(path)} & LAB_ONLY


@pytest.mark.parametrize("path", sorted((SOURCE / "cli").glob("*.py")), ids=name)
def test_commands_import_nothing_heavy_at_the_top(path: Path) -> None:
    import sys

    for module in imports(path, top_only=True):
        assert module.split(".")[0] in LIGHT | set(sys.stdlib_module_names), f"{name(path)} imports {module}"
        if module.startswith("clinquant."):
            assert module.split(".")[1] in ("cli", "core"), f"{name(path)} imports {module} before it is needed"


def module_of(path: Path) -> str:
    """The full name of a file of ours: `clinquant.core.affine`."""
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def modules_in(path: Path) -> set[str]:
    """What a file imports, and whatever it takes from there, which may be a module too."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    return set(imports(path)) | {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}


def test_no_two_modules_import_each_other() -> None:
    """Nor any longer ring of them, imports for types alone included."""
    known = {module_of(path): path for path in (*FILES, SOURCE / "__init__.py")}
    reads = {module: modules_in(path) & known.keys() - {module} for module, path in known.items()}
    TopologicalSorter(reads).prepare()  # raises CycleError, which names the ring


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_scripts_import_what_is_there(path: Path) -> None:
    """Most of them run for hours, and no other test imports them."""
    known = {module_of(file): file for file in (*FILES, SOURCE / "__init__.py")}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "clinquant":
            assert node.module in known, f"{path.name} imports {node.module}"
            missing = {alias.name for alias in node.names} - defined(known[node.module])
            assert not {each for each in missing if f"{node.module}.{each}" not in known}, (
                f"{path.name} imports {missing} from {node.module}"
            )


def defined(path: Path) -> set[str]:
    """What a file defines or imports at its top."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {alias.asname or alias.name for node in body if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return names | {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450
