"""One whole build on real images that plain pip reaches. It fails, not skips, where they cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clinquant.cli.main import run
from clinquant.core.predictions import Predictions
from clinquant.evidence.metrics import macro_auc


@pytest.mark.slow
def test_br35h_becomes_a_proven_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where `demo` is both the default --out and a name of the data
    out = Path("demo")
    assert run(["demo", "--size", "96", "--epochs", "2"]) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert "cannot decide it at margin 0.02" in said.err, "the plan says before training what the size cannot decide"
    audit = json.loads((out / "audit.json").read_text())
    assert audit["images"] == 3000 and 1200 < audit["distinct"] < 1500
    evidence = json.loads((out / "evidence.json").read_text())
    assert evidence["verdict"] in ("INCONCLUSIVE", "INFERIOR", "NON_INFERIOR")
    assert evidence["files"]["integer"]["bytes"] < 0.28 * evidence["files"]["float"]["bytes"]
    tables = {file: Predictions.read(out / f"predictions/test.{file}.csv") for file in ("float", "integer")}
    for table in tables.values():
        auc = macro_auc(table.scores, table.labels)
        assert auc is not None and auc > 0.85, "a fine-tuned ImageNet network tells tumours apart"
    assert np.mean(tables["float"].decisions == tables["integer"].decisions) > 0.9
    assert evidence["agreement"] > 0.9
    assert run(["verify", str(out / "bundle")]) == 0
