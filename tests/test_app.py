"""`clinquant app`: a folder of static files, whole and hashed; and message files that lack nothing."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import onnx
import pytest

from app_bundle import write_integer_bundle
from chromium import need_app
from clinquant.core.artifact import read_json, sha256_file, write_text
from clinquant.core.errors import ClinquantError
from clinquant.edge.app import write as write_module
from clinquant.edge.app.write import write_app
from clinquant.edge.browser_model import PACKED, write_browser_model
from clinquant.edge.golden import read_golden
from clinquant.edge.manifest import read_manifest, sealed
from clinquant.edge.runtimes.onnxruntime import load
from clinquant.evidence.evidence import Evidence
from tiny_bundle import write_bundle

WEB = Path(__file__).parents[1] / "web" / "app"
LANGUAGES = sorted((WEB / "messages").glob("*.json"))
DEPTHWISE = [("w8a8", "mobilenet_v2", False), ("w4a8", "mobilenet_v2", False)]
USED = re.compile(r"""\bt\((?:[^()"`]*\? )?"([\w.-]+)"(?: : "([\w.-]+)")?""")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_app()
    folder = tmp_path_factory.mktemp("app")
    write_app(write_bundle(folder).path, folder / "out")
    return folder / "out"


def test_every_file_is_listed_with_its_hash(app: Path) -> None:
    listed = json.loads((app / "app.json").read_text())["files"]
    found = {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()}
    assert found == {*listed, "app.json", "sw.js"} and "bundle/model.onnx" in listed
    assert all(sha256_file(app / name) == entry["sha256"] for name, entry in listed.items())


def test_the_service_worker_knows_every_hash(app: Path) -> None:
    release = json.loads((app / "sw.js").read_text().split("\n")[0].removeprefix("self.RELEASE = ").removesuffix(";"))
    listed = json.loads((app / "app.json").read_text())
    assert release["files"] == {name: entry["sha256"] for name, entry in listed["files"].items()} | {
        "app.json": sha256_file(app / "app.json")
    }
    assert release["release"] == listed["release"]


def test_the_page_allows_no_inline_code_and_no_other_origin(app: Path) -> None:
    page = (app / "index.html").read_text()
    policy = re.findall(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', page)[0]
    assert f"{policy}; frame-ancestors 'none'" in (app / "sw.js").read_text()
    assert "default-src 'none'" in policy and "'unsafe-inline'" not in policy and "'unsafe-eval'" not in policy and "http" not in policy
    assert not re.search(r"<style|style=|<script(?![^>]*\bsrc=)| on\w+=|https?://", page)


def test_an_app_is_replaced_and_nothing_else_is(app: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    first = write_app(bundle.path, tmp_path / "out")
    assert write_app(bundle.path, tmp_path / "out") == first
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("mine")
    with pytest.raises(ClinquantError) as error:
        write_app(bundle.path, foreign)
    assert error.value.code == "app-foreign" and (foreign / "thesis.tex").read_text() == "mine"


def test_a_changed_bundle_makes_no_app(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    card = bundle.path / "card.json"
    card.write_text(card.read_text().replace("dark", "dusk"))
    with pytest.raises(ClinquantError, match="not as it was packed"):
        write_app(bundle.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_files_are_told_with_their_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_module, "STATIC", tmp_path / "nothing")
    with pytest.raises(ClinquantError) as error:
        write_app(write_bundle(tmp_path).path, tmp_path / "out")
    assert error.value.code == "app-files-missing" and "web/assemble.py" in error.value.fix


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_no_message_is_missing(path: Path) -> None:
    english = json.loads((WEB / "messages" / "en.json").read_text(encoding="utf-8"))
    found = json.loads(path.read_text(encoding="utf-8"))
    assert list(found) == list(english)
    for key, text in english.items():
        assert found[key].strip() and sorted(re.findall(r"\{\w+\}", found[key])) == sorted(re.findall(r"\{\w+\}", text)), key
    if path.stem != "en":
        assert sum(found[key] == english[key] for key in english) < 12


def test_every_key_that_a_module_names_is_a_message_and_every_message_is_named() -> None:
    english = set(json.loads((WEB / "messages" / "en.json").read_text(encoding="utf-8")))
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (WEB / "modules").rglob("*.js"))
    named = {key for pair in USED.findall(sources) for key in pair if key}
    assert not named - english
    spoken = re.findall(r'"([\w-]+\.[\w.-]+)"', sources) + [f"refused.{code}" for code in re.findall(r'Refusal\("([\w-]+)"', sources)]
    families = set(re.findall(r"`([\w-]+)\.\$\{", sources)) - {"refused"}
    unnamed = {key for key in english if key not in spoken and key.split(".")[0] not in families} - {"language", "direction", "notice"}
    assert not unnamed


def test_a_language_is_one_file(app: Path) -> None:
    """The app offers every file in the folder under the name that it gives itself."""
    names = {path.stem: json.loads(path.read_text(encoding="utf-8"))["language"] for path in LANGUAGES}
    assert json.loads((app / "messages" / "languages.json").read_text(encoding="utf-8")) == names
    assert len(set(names.values())) == len(names) >= 6


def test_a_model_without_packed_weights_and_short_sums_is_run_as_it_is(tmp_path: Path) -> None:
    bundle = write_integer_bundle(tmp_path)
    assert write_browser_model(bundle.model, tmp_path / "browser.onnx") is None
    assert not (tmp_path / "browser.onnx").exists() and bundle.browser_model == bundle.model and bundle.browser_optimise


@pytest.mark.parametrize(("bits", "architecture", "optimise"), [("w4a8", "resnet20", True), ("w2a2", "resnet20", True), *DEPTHWISE])
def test_the_browsers_model_answers_the_same_bits(tmp_path: Path, bits: str, architecture: str, optimise: bool) -> None:
    bundle = write_integer_bundle(tmp_path, bits=bits, architecture=architecture)
    assert bundle.browser_model.name == "model.wasm.onnx" and bundle.browser_optimise == optimise
    session, golden = load(bundle.browser_model, 1, optimise=optimise), read_golden(bundle.path / "golden.npz")
    for index, image in enumerate(golden.images):
        found = session.run(image[None])
        assert found.class_map is not None
        assert found.logits[0].tobytes() == golden.logits[index].tobytes()
        assert found.class_map[0].tobytes() == golden.class_maps[index].tobytes()
    types = {tensor.data_type for tensor in onnx.load(str(bundle.browser_model)).graph.initializer}
    assert not types & set(PACKED)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_integer_bundle(tmp_path_factory.mktemp("packed"), bits="w4a8").path


def test_manifest_and_evidence_state_both_models(packed: Path) -> None:
    """The bytes of each are in the bundle, under one hash in both; the card for people says so too."""
    manifest, evidence = read_manifest(packed), read_json(packed / "evidence.json", Evidence, kind="evidence")
    for file, name in {"integer": "model.onnx", "browser": "model.wasm.onnx"}.items():
        digest = sha256_file(packed / name)
        assert manifest.files[name].sha256 == evidence.files[file].sha256 == digest
        assert digest in (packed / "README.md").read_text()


def test_the_app_runs_what_the_bundle_holds_for_a_browser(packed: Path, tmp_path: Path) -> None:
    need_app()
    app = write_app(packed, tmp_path / "app")
    assert app.model == "bundle/model.wasm.onnx" and "bundle/model.onnx" not in app.files
    assert not (tmp_path / "app" / "bundle" / "model.onnx").exists()
    assert app.files[app.model] == read_manifest(packed).files["model.wasm.onnx"]
    assert read_manifest(tmp_path / "app" / "bundle") == read_manifest(packed)


def test_no_table_of_test_cases_leaves_with_the_app(packed: Path, tmp_path: Path) -> None:
    need_app()
    app = write_app(packed, tmp_path / "app")
    assert (packed / "predictions.csv").exists() and not list((tmp_path / "app").rglob("*.csv"))
    left = {name for name in read_manifest(packed).files if f"bundle/{name}" not in app.files}
    assert left == {name for name in read_manifest(packed).files if name.endswith(".csv")} | {"model.onnx"}


def test_a_bundle_from_before_is_refused_with_what_to_do(packed: Path, tmp_path: Path) -> None:
    need_app()
    old = Path(shutil.copytree(packed, tmp_path / "old"))
    (old / "model.wasm.onnx").unlink()
    before = read_manifest(old)
    kept = {name: entry for name, entry in before.files.items() if name != "model.wasm.onnx"}
    write_text(old / "manifest.json", sealed(dataclasses.replace(before, files=kept)).text)
    with pytest.raises(ClinquantError) as error:
        write_app(old, tmp_path / "app")
    assert error.value.code == "browser-file-missing" and "clinquant build" in error.value.fix
