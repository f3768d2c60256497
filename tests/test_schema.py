"""The schemas in docs/ are those of the code, real artifacts satisfy them, and spoilt ones do not."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from clinquant.cli.main import run
from tiny_bundle import write_bundle, write_pictures

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import make_schemas  # noqa: E402


def schema(kind: str) -> Any:
    return json.loads((ROOT / "docs" / "schemas" / f"{kind}.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schema")
    write_bundle(folder)
    write_pictures(folder / "pictures", each=2)
    return folder


@pytest.mark.parametrize("kind", make_schemas.ARTIFACTS)
def test_a_schema_is_what_the_code_says(kind: str) -> None:
    path = ROOT / "docs" / "schemas" / f"{kind}.schema.json"
    assert path.read_text(encoding="utf-8") == make_schemas.text(kind), "run 'make docs'"
    jsonschema.Draft202012Validator.check_schema(schema(kind))


def test_no_schema_is_left_over() -> None:
    assert {path.name.removesuffix(".schema.json") for path in (ROOT / "docs" / "schemas").iterdir()} == set(make_schemas.ARTIFACTS)


@pytest.mark.parametrize(("kind", "file"), [("evidence", "evidence.json"), ("card", "card.json"), ("manifest", "manifest.json")])
def test_files_of_a_bundle_satisfy_their_schema(folder: Path, kind: str, file: str) -> None:
    body = json.loads((folder / "bundle" / file).read_text())
    jsonschema.validate(body, schema(kind))
    for key in body:
        spoilt = copy.deepcopy(body)
        del spoilt[key]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoilt, schema(kind))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**body, "extra": 1}, schema(kind))


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("audit", ["audit", "pictures"]),
        ("answers", ["predict", "bundle", "pictures"]),
        ("evaluation", ["evaluate", "bundle", "pictures"]),
        ("comparison", ["compare", "bundle"]),
        ("doctor", ["doctor"]),
    ],
)
def test_what_commands_print_satisfies_its_schema(
    folder: Path, kind: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert run([*arguments, "--json"]) in (0, 3)
    jsonschema.validate(json.loads(capsys.readouterr().out), schema(kind))


def test_a_finding_has_the_promised_keys() -> None:
    promised = {
        "metric", "class", "role", "baseline", "candidate", "difference", "lower", "upper", "margin", "confidence", "method", "unit", "n",
        "verdict",
    }  # fmt: skip
    assert promised <= set(schema("evidence")["$defs"]["Finding"]["required"])


def test_an_audit_has_the_promised_keys() -> None:
    assert {"exact", "near", "conflicts", "leaks", "power"} <= set(schema("audit")["required"])
