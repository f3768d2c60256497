"""The ladder: bounded in time, resumed where it was cut off, and told when nothing holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clinquant.core.artifact import read_body
from clinquant.lab import ladder
from clinquant.lab.build import prepare, run_quantize, run_train
from clinquant.lab.ladder import RUNGS, Climb
from clinquant.lab.options import BuildOptions
from clinquant.lab.run import Run
from test_build import TINY, Listener, write_patients


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildOptions]:
    folder = write_patients(tmp_path_factory.mktemp("data") / "patients")
    options = BuildOptions(data=str(folder), groups=str(folder / "patients.csv"), bits="w2a2", **TINY)  # type: ignore[arg-type]
    out = tmp_path_factory.mktemp("ladder") / "run"
    run = Run(out)
    with run.locked():
        prepare(run, options)
        run_train(run, options)
    return out, options


def test_no_rung_is_begun_after_the_time_and_the_worst_layers_are_named(
    trained: tuple[Path, BuildOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, options = trained
    monkeypatch.setattr(Climb, "holds", lambda self: False)
    listener = Listener()
    run_quantize(Run(out, listener), replace(options, max_minutes=1e-9))
    told = read_body(out / "recipes.json", kind="recipes")
    assert [trial["recipe"] for trial in told["trials"]] == list(RUNGS[0])
    assert len(told["worst"]) == 3 and all(loss["layer"] in " ".join(listener.lines) for loss in told["worst"])


def test_what_took_long_is_kept_for_a_run_that_was_cut_off(trained: tuple[Path, BuildOptions], monkeypatch: pytest.MonkeyPatch) -> None:
    out, options = trained
    asked = replace(options, recipe="adaround")
    run_quantize(Run(out), asked)
    made = (out / "quantized.safetensors").read_bytes()
    for name in ("steps/quantize.json", "quantized.safetensors", "quantized.json"):
        (out / name).unlink()
    monkeypatch.setattr(ladder, "run_recipes", lambda *arguments: pytest.fail("it was made again"))
    monkeypatch.setattr(Climb, "tell_worst", lambda self: ())
    run_quantize(Run(out), asked)
    assert (out / "quantized.safetensors").read_bytes() == made
    with pytest.raises(pytest.fail.Exception):
        run_quantize(Run(out), replace(asked, seed=options.seed + 1))
