"""The whole job on made pictures: resumed, repeated, refused where it must be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clinquant.core.artifact import sha256_file, write_json
from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.data.corrupt import CORRUPTIONS
from clinquant.edge.bundle import open_bundle
from clinquant.edge.reads import reads
from clinquant.edge.recompute import recompute
from clinquant.edge.verify import verify
from clinquant.evidence.claims import Verdict
from clinquant.lab.browser_file import make_browser_file
from clinquant.lab.build import build, evidence_of, split_of, study_of
from clinquant.lab.options import BuildOptions
from clinquant.lab.run import Run, Silent
from tiny_bundle import reseal

FILES = ("audit.json", "split.json", "float.safetensors", "quantized.safetensors", "float.onnx", "integer.onnx", "cards/integer.json")

TINY = {"arch": "resnet20", "size": 16, "epochs": 2}


def write_patients(folder: Path, *, patients: int = 40, images: int = 3, seed: int = 0) -> Path:
    """`folder/healthy/` and `folder/ill/`: noise, the ill with a bright square; several images a patient, in a CSV."""
    rng = np.random.default_rng(seed)
    rows = ["path,patient"]
    for index in range(patients):
        name = "ill" if index % 2 else "healthy"
        (folder / name).mkdir(parents=True, exist_ok=True)
        for image in range(images):
            pixels = rng.integers(0, 130, (24, 24), dtype=np.uint8)
            if index % 2:
                row, column = rng.integers(2, 14, 2)
                pixels[row : row + 7, column : column + 7] = rng.integers(150, 255)
            path = folder / name / f"p{index}_{image}.png"
            Image.fromarray(pixels).save(path)
            rows.append(f"{path.relative_to(folder).as_posix()},p{index}")
    (folder / "patients.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patients(tmp_path_factory.mktemp("data") / "patients")


@pytest.fixture(scope="module")
def built(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "run"
    other = write_patients(tmp_path_factory.mktemp("other") / "hospital", patients=12, seed=9)
    build(BuildOptions(data=str(patients), groups=str(patients / "patients.csv"), tests=(str(other),), **TINY), out)
    return out


def options_of(out: Path) -> BuildOptions:
    from clinquant.lab.steps import plan_of

    return plan_of(Run(out)).options


class Listener(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_evidence_is_of_the_files_that_lie_there(built: Path) -> None:
    evidence = evidence_of(Run(built))
    for file in ("float", "integer"):
        assert evidence.files[file].sha256 == sha256_file(built / f"{file}.onnx")
        predictions = Predictions.read(built / f"predictions/test.{file}.csv")
        assert predictions.model_sha256 == evidence.files[file].sha256
        assert predictions.ids == split_of(Run(built)).test
    assert sha256_file(built / "bundle/model.onnx") == evidence.files["integer"].sha256
    verify(built / "bundle")


def test_packed_weights_bring_what_a_browser_runs_proven_on_every_test_image(built: Path, tmp_path: Path) -> None:
    """Its hash stands in manifest and evidence; the external hospital's images are test images too."""
    out = Path(shutil.copytree(built, tmp_path / "run"))
    build(replace(options_of(out), bits="w4a8", recipe="minmax"), out)
    bundle = open_bundle(out / "bundle", replay=True)
    evidence, held = bundle.evidence, bundle.manifest.files["model.wasm.onnx"]
    assert evidence.browser is not None and (evidence.browser.differing, evidence.browser.optimise) == (0, True)
    assert evidence.browser.compared == evidence.test.images + evidence.external[0].test.images
    assert held.sha256 == evidence.files["browser"].sha256 == sha256_file(bundle.browser_model)
    assert recompute(bundle) and held.sha256 in (out / "report.html").read_text(encoding="utf-8")


def test_no_patient_crosses_the_split_and_is_the_unit(built: Path) -> None:
    run = Run(built)
    parts, group = split_of(run), {case.id: case.group for case in study_of(run).cases}
    sides = [{group[case] for case in side} for side in (parts.train, parts.tune, parts.test)]
    assert all(a.isdisjoint(b) for i, a in enumerate(sides) for b in sides[i + 1 :])
    evidence = evidence_of(run)
    assert evidence.test.unit == "patient" and evidence.test.units == len(sides[2]) < evidence.test.images
    assert evidence.verdict is not Verdict.NON_INFERIOR, "eight patients show nothing"


def test_the_external_hospital_is_proven_beside(built: Path) -> None:
    (pair,) = evidence_of(Run(built)).external
    assert pair.test.images == 36 and pair.test.name == "hospital"
    assert (built / "predictions/external-0.integer.csv").exists()


def test_corrupted_and_foreign_pictures_are_in_the_evidence(built: Path) -> None:
    evidence, opened = evidence_of(Run(built)), open_bundle(built / "bundle")
    assert [row.name for row in evidence.corruptions] == list(CORRUPTIONS)
    for row in evidence.corruptions:
        assert [finding.metric for finding in row.findings] == ["auc", "accuracy"] and row.cases == evidence.test.images
        for file in ("float", "integer"):
            table = Predictions.read(built / f"predictions/corrupted.{file}/{row.name}.csv")
            assert table.model_sha256 == evidence.files[file].sha256
            plain = Predictions.read(built / f"predictions/test.{file}.csv")
            assert not np.array_equal(table.scores, plain.scores), "a corruption that changes nothing was not applied"
    assert evidence.scope is not None and evidence.scope.limit == opened.card.scope.limit  # type: ignore[union-attr]
    assert evidence.scope.controls["blank"] == 1.0 and evidence.scope.inside < 0.5
    assert [row.covariate for row in evidence.subgroups] == []  # four patients of each class are no subgroup
    assert sum(row.cases for row in evidence.churn["decile"]) == evidence.test.images


def test_all_that_follows_from_a_bundles_tables_is_recomputed(built: Path) -> None:
    again = recompute(open_bundle(built / "bundle"))
    assert again.findings == evidence_of(Run(built)).findings
    assert {"corruptions", "scope", "external", "conformal", "card"} <= set(again.same)
    assert {"latency", "audits", "recipes_on_tune"} <= set(again.unchecked) <= {"latency", "audits", "recipes_on_tune", "browser"}


@pytest.mark.parametrize("name", ["corruptions", "scope", "external"])
def test_a_figure_that_its_table_does_not_give_is_found_out(built: Path, tmp_path: Path, name: str) -> None:
    """The control: one number changed, by a forger who makes the manifest fit."""
    bundle = Path(shutil.copytree(built / "bundle", tmp_path / "bundle"))
    evidence = open_bundle(bundle).evidence
    changes: dict[str, object] = {
        "corruptions": (*evidence.corruptions[:-1], replace(evidence.corruptions[-1], out_of_scope=0.001)),
        "scope": replace(evidence.scope, inside=0.001),
        "external": tuple(replace(pair, agreement=0.999) for pair in evidence.external),
    }
    write_json(bundle / "evidence.json", replace(evidence, **{name: changes[name]}), kind="evidence")
    reseal(bundle)
    with pytest.raises(ClinquantError, match=rf"evidence-differs.*{name}"):
        recompute(open_bundle(bundle))


def test_what_a_bundle_has_no_table_of_is_said_to_be_unchecked(built: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(built / "bundle", tmp_path / "bundle"))
    for name in ("corrupted", "external"):
        shutil.rmtree(bundle / name)
    (bundle / "scope.csv").unlink()
    reseal(bundle)
    again = recompute(open_bundle(bundle))
    assert {"corruptions", "scope", "external"} <= again.unchecked.keys()


def test_claims_were_written_before_and_are_hashed(built: Path) -> None:
    evidence = evidence_of(Run(built))
    claims = json.loads((built / "claims.json").read_text())
    assert len(claims["claims"]) == len(evidence.claims) and claims["test_sha256"] == evidence.test.sha256
    assert (built / "claims.json").stat().st_mtime_ns <= (built / "predictions/test.float.csv").stat().st_mtime_ns


def test_the_same_command_again_does_nothing_and_reads_no_test_set(built: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*") if path.suffix in (".onnx", ".csv", ".safetensors", ".html")}
    listener = Listener()
    evidence = build(options_of(built), built, listener)
    assert evidence.test.reads == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert sum("done before, kept" in line for line in listener.lines) >= 7


def test_another_margin_proves_again_but_trains_nothing(built: Path, tmp_path: Path) -> None:
    trained = (built / "float.safetensors").stat().st_mtime_ns
    original, before = options_of(built), reads(evidence_of(Run(built, Silent())).test.sha256)
    evidence = build(replace(original, margin=0.3), built)
    assert {claim.margin for claim in evidence.claims} == {0.3} and evidence.test.reads == before + 1
    assert (built / "float.safetensors").stat().st_mtime_ns == trained
    assert json.loads((built / "bundle/manifest.json").read_text())["bundle_version"] == 2
    build(original, built)


def test_columns_given_later_prove_again_but_make_no_file_again(
    built: Path, patients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns divide evidence; no picture, label or patient changes by them. The browser's file is made once, for key and proof."""
    out, lines = Path(shutil.copytree(built, tmp_path / "run")), ["path,sex"]
    lines += [f"{case.id},{'fm'[int(case.group or '', 36) % 2]}" for case in study_of(Run(built)).cases]
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n")
    made: list[Run] = []
    monkeypatch.setattr("clinquant.lab.build.make_browser_file", lambda run: made.append(run) or make_browser_file(run))
    before, listener = {name: (out / name).stat().st_mtime_ns for name in FILES}, Listener()
    build(replace(options_of(out), covariates=str(tmp_path / "people.csv")), out, listener)
    assert {name: (out / name).stat().st_mtime_ns for name in FILES} == before
    kept = {line.split(":")[0] for line in listener.lines if line.endswith("done before, kept.")}
    assert kept == {"audit", "split", "train", "quantize", "export"} and len(made) == 1
    assert (out / "bundle/covariates.csv").read_text(encoding="utf-8").startswith("id,sex")
    evidence = evidence_of(Run(out))
    assert evidence.parents["study"] == sha256_file(out / "study.json") and not any("--covariates" in each for each in evidence.not_shown)


def test_same_seed_gives_the_same_bytes(built: Path, patients: Path, tmp_path: Path) -> None:
    build(replace(options_of(built), tests=()), tmp_path / "again")
    for name in ("float.safetensors", "float.onnx", "integer.onnx", "qdq.onnx"):
        assert sha256_file(tmp_path / "again" / name) == sha256_file(built / name), name


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_killed_at_twenty_random_moments_ends_in_the_same_files(patients: Path, tmp_path: Path) -> None:
    harness = Path(__file__).with_name("killed_build.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(harness), str(patients), str(tmp_path), "20"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert all(files == outcome["unbroken"] for files in outcome["killed"])
    assert len(outcome["steps"]) >= 2, "the kills must have struck in several steps (which ones depends on the machine)"


def test_a_foreign_folder_is_left_alone(patients: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ClinquantError) as caught:
        build(BuildOptions(data=str(patients), **TINY), tmp_path)
    assert caught.value.code == "output-foreign"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_second_run_on_one_output_is_refused(built: Path) -> None:
    with Run(built).locked(), pytest.raises(ClinquantError) as caught, Run(built).locked():
        raise AssertionError("locked twice")
    assert caught.value.code == "output-busy"


@pytest.mark.parametrize(
    "changes,code",
    [
        ({"recipe": "magic"}, "recipe-unknown"),
        ({"bits": "w9a9"}, "bits-unsupported"),
        ({"threshold": "best"}, "threshold-rule"),
        ({"target": "abacus"}, "target-unknown"),
        ({"positive": "purple"}, "positive-unknown"),
        ({"arch": "resnet1000"}, "arch-unknown"),
        ({"margin": float("nan")}, "margin-invalid"),
        ({"data": "/nowhere/at/all"}, "data-missing"),
        ({"tests": ("/nowhere/at/all",)}, "data-missing"),
    ],
)
def test_a_bad_choice_ends_before_any_training(changes: dict[str, Any], code: str, patients: Path, tmp_path: Path) -> None:
    with pytest.raises(ClinquantError) as caught:
        build(BuildOptions(**({"data": str(patients)} | TINY | changes)), tmp_path / "run")
    assert caught.value.code == code
    assert not (tmp_path / "run/float.safetensors").exists()
    assert "tests" not in changes or not (tmp_path / "run/study.json").exists(), "nothing was read before that"


def test_a_broken_image_is_named_or_left_out(tmp_path: Path) -> None:
    data = write_patients(tmp_path / "data", patients=30, images=1)
    (data / "ill" / "p1_0.png").write_bytes((data / "ill" / "p1_0.png").read_bytes()[:100])
    with pytest.raises(ClinquantError) as caught:
        build(BuildOptions(data=str(data), **TINY), tmp_path / "run")
    assert caught.value.code == "image-broken" and "ill/p1_0.png" in caught.value.message
    evidence = build(BuildOptions(data=str(data), skip_broken=True, **TINY), tmp_path / "run")
    assert evidence.test.images > 0 and "ill/p1_0.png" in study_of(Run(tmp_path / "run")).broken
