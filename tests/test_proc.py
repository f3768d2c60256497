"""AUC and DeLong's interval against R's pROC: on a table of ours, and on pROC's own aSAH data where R is installed.

`tests/golden/proc.R` made `proc.json`; the aSAH figures (AUC .8237 of wfns, .7314 of s100b, .6120 of ndka, Z = 2.209, p = .02718) are
also printed by pROC's own examples. The aSAH data themselves are under the GPL and not copied here.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from clinquant.evidence.delong import auc_components, delong
from clinquant.evidence.metrics import auc

GOLDEN = Path(__file__).with_name("golden")
FIGURES: dict[str, Any] = json.loads((GOLDEN / "proc.json").read_text(encoding="utf-8"))
EXPORT = "suppressMessages(library(pROC)); data(aSAH); aSAH$wfns <- as.numeric(aSAH$wfns); write.csv(aSAH, row.names = FALSE)"


def agrees(label: np.ndarray, first: np.ndarray, second: np.ndarray, expected: dict[str, Any]) -> None:
    positive = label == 1
    for values, area, variance in zip((first, second), expected["auc"], expected["variance"], strict=True):
        found, influence = auc_components(values, positive)
        assert auc(values, positive) == pytest.approx(area, abs=1e-12) and found == pytest.approx(area, abs=1e-12)
        assert float(np.square(influence).sum()) == pytest.approx(variance, rel=1e-10)
    before, after = (np.stack([np.zeros(len(label)), values], axis=1) for values in (second, first))
    result = delong(before, after, label.astype(np.int64), np.arange(len(label)))
    assert result is not None
    assert (result.interval.lower, result.interval.upper) == pytest.approx(tuple(expected["interval"]), abs=1e-10)
    z = result.difference / result.standard_error
    assert (z, 2 * norm.sf(abs(z))) == pytest.approx((expected["z"], expected["p"]), rel=1e-9)


def test_figures_of_our_table_equal_procs() -> None:
    rows = np.loadtxt(GOLDEN / "proc.csv", delimiter=",", skiprows=1)
    agrees(rows[:, 0].astype(int), rows[:, 1], rows[:, 2], FIGURES["own"])


def test_the_published_figures_are_the_ones_made_here() -> None:
    wfns = FIGURES["aSAH_wfns_s100b"]
    assert [round(value, 7) for value in wfns["auc"]] == [0.8236789, 0.7313686]
    assert (round(wfns["z"], 3), round(wfns["p"], 5)) == (2.209, 0.02718)


@pytest.mark.parametrize("pair", ["wfns_s100b", "ndka_s100b"])
def test_figures_of_procs_own_data_equal_procs(pair: str) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("needs R with pROC (Debian: r-cran-proc)")
    said = subprocess.run(["Rscript", "-e", EXPORT], capture_output=True, text=True, check=False)
    if said.returncode:
        pytest.skip("needs R with pROC (Debian: r-cran-proc)")
    table = list(csv.DictReader(io.StringIO(said.stdout)))
    first, second = (np.array([float(row[name]) for row in table]) for name in pair.split("_"))
    agrees(np.array([int(row["outcome"] == "Poor") for row in table]), first, second, FIGURES[f"aSAH_{pair}"])
