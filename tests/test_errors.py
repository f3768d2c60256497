"""Every error code in the source is documented, and every documented one exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from clinquant.core.errors import Exit

ROOT = Path(__file__).parents[1]


def codes_in_source() -> set[str]:
    """First arguments, where they are written out, of ClinquantError and of functions whose first parameter is `code`."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        makers = {"ClinquantError", *(node.name for node in nodes if isinstance(node, ast.FunctionDef) and _takes_code(node))}
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers and node.args:
                found |= {leaf.value for leaf in ast.walk(node.args[0]) if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)}
    return found


def _takes_code(node: ast.FunctionDef) -> bool:
    return bool(node.args.args) and node.args.args[0].arg == "code"


def documented() -> list[str]:
    rows = re.findall(r"^\| ([a-z][a-z0-9-]+) \|", (ROOT / "docs" / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [row for row in rows if row != "code"]


def test_codes_are_kebab_case() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", code) for code in codes_in_source())


def test_every_code_is_documented() -> None:
    assert sorted(codes_in_source() - set(documented())) == []


def test_every_documented_code_exists() -> None:
    assert sorted(set(documented()) - codes_in_source()) == []


def test_codes_are_documented_once_and_in_order() -> None:
    assert documented() == sorted(set(documented()))


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert all(f"\n| {int(code)} | " in text for code in Exit)
