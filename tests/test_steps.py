"""The command line takes a run step by step, says the next command each time, and ends where `build` ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from clinquant.cli.main import run
from clinquant.lab.options import BuildOptions
from clinquant.lab.steps import changed_options
from tiny_bundle import write_pictures

STEPS = (
    ("train", "quantize"),
    ("quantize", "export"),
    ("export", "compare"),
    ("compare", "report"),
    ("report", "pack"),
    ("pack", None),
)
CHOICES = ["--arch", "resnet20", "--size", "16", "--epochs", "1"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "pictures", each=40)


@pytest.mark.slow
def test_step_by_step_is_the_same_as_build(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run(["split", str(pictures), "--out", str(out), *CHOICES]) == 0
    captured = capsys.readouterr()
    assert f"Next: clinquant train --out {out}" in captured.out and "Claim accuracy" in captured.err
    for step, following in STEPS:
        assert run([step, "--out", str(out)]) == (3 if step == "compare" else 0), capsys.readouterr().err
        said = capsys.readouterr().out
        assert following is None or f"Next: clinquant {following} --out {out}" in said
    files = {path: path.read_bytes() for path in out.rglob("*.onnx")} | {out / "evidence.json": (out / "evidence.json").read_bytes()}
    assert run(["build", str(pictures), "--out", str(out), *CHOICES, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "" and json.loads(captured.out)["verdict"] == "INCONCLUSIVE"
    assert {path: path.read_bytes() for path in files} == files, "build kept what the steps had made"
    assert json.loads((out / "bundle" / "manifest.json").read_text())["bundle_version"] == 1
    assert run(["verify", str(out / "bundle")]) == 0
    assert run(["compare", str(out / "bundle")]) == 3
    assert run(["predict", str(out / "bundle"), str(pictures / "dark")]) == 0
    assert run(["build", str(pictures), "--out", str(out), *CHOICES, "--strict"]) == 3


@pytest.mark.parametrize(
    ("choices", "code"),
    [
        (["--recipe", "foo"], "recipe-unknown"),
        (["--target", "vnni"], "target-unknown"),
        (["--bits", "auto"], "budget-missing"),
        (["--bits", "w4a4", "--max-bytes", "100k"], "budget-unused"),
    ],
)
def test_an_impossible_choice_is_refused_and_not_kept(
    choices: list[str], code: str, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = (begun / "plan.json").read_bytes()
    assert run(["quantize", "--out", str(begun), *choices]) == 2
    assert f"error[{code}]" in capsys.readouterr().err
    assert (begun / "plan.json").read_bytes() == plan


@pytest.fixture(scope="module")
def begun(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("begun") / "run"
    assert run(["split", str(pictures), "--out", str(out), *CHOICES]) == 0
    return out


def test_a_weight_that_is_not_finite_is_told_by_its_layer(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--out", str(begun)]) == 0
    file = begun / "float.safetensors"
    tensors = load_file(file)
    tensors["layer2.1.conv1.weight"][0, 0, 0, 0] = np.nan
    save_file(tensors, file)
    capsys.readouterr()
    assert run(["quantize", "--out", str(begun)]) == 2
    assert "error[weights-nan]: layer2.1.conv1: its weight is not finite" in capsys.readouterr().err


@pytest.mark.slow
def test_a_step_left_out_is_named(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """New 4-bit weights beside exported files, evidence and report of 8 bits; a new float network beside old integers."""
    out = tmp_path / "run"
    assert run(["split", str(pictures), "--out", str(out), *CHOICES]) == 0
    for step in ("train", "quantize", "export", "quantize"):
        more = ["--recipe", "mse"] if step == "quantize" else []
        again = ["--bits", "w4a8"] if (out / "float.onnx").exists() else []
        assert run([step, "--out", str(out), *more, *again]) == 0, capsys.readouterr().err
    for step in ("compare", "report", "pack"):
        assert run([step, "--out", str(out)]) == 2
        assert "error[step-outdated]: export was last done" in (said := capsys.readouterr().err) and "another integer network" in said
    assert run(["train", "--out", str(out), "--epochs", "2"]) == 0
    capsys.readouterr()
    assert run(["export", "--out", str(out)]) == 2
    assert "error[step-outdated]: quantize was last done" in (said := capsys.readouterr().err) and "another float network" in said
    assert "'clinquant quantize --out" in said
    assert run(["quantize", "--out", str(out)]) == 0


def test_a_budget_goes_with_the_widths_that_it_was_for() -> None:
    options = BuildOptions(data="x", bits="auto", max_bytes=1000)
    assert changed_options(options, {"bits": "w4a4"}) == BuildOptions(data="x", bits="w4a4")
    assert changed_options(options, {"max_ms": 5.0}) == BuildOptions(data="x", bits="auto", max_bytes=1000, max_ms=5.0)


def test_a_step_without_a_run_says_how_to_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--out", str(tmp_path)]) == 2
    assert "error[run-missing]" in capsys.readouterr().err


def test_audit_says_what_it_found(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = pictures / "bright" / "again.png"
    copy.write_bytes((pictures / "dark" / "dark0.png").read_bytes())
    assert run(["audit", str(pictures)]) == 0
    said = capsys.readouterr().out
    assert "  bright/again.png = dark/dark0.png" in said
    assert "cannot decide; 189 would" in said and "Next: clinquant build" in said
    copy.unlink()
