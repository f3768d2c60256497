"""Subgroups against statsmodels, the manifest's further columns, and the corruptions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.data.corrupt import CORRUPTIONS, corrupted
from clinquant.data.covariate_table import with_covariates
from clinquant.data.covariates import covariates
from clinquant.data.datasets.listing import Item
from clinquant.data.table import read_table
from clinquant.evidence.paired import pair_up
from clinquant.evidence.subgroups import holm_adjusted, subgroups
from clinquant.evidence.tango import tango_interval


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p: list[float]) -> None:
    assert holm_adjusted(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def table(right: np.ndarray, labels: np.ndarray, groups: tuple[str, ...] | None = None) -> Predictions:
    ids = tuple(f"{i:03d}" for i in range(len(labels)))
    scores = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]
    return Predictions(ids=ids, groups=groups or ids, labels=labels, scores=scores, classes=("well", "sick"), model_sha256="", runtime="")


def test_the_worst_site_comes_first_with_its_own_test() -> None:
    random, n = np.random.default_rng(0), 300
    labels = (np.arange(n) % 3 == 0).astype(np.int64)
    site = np.where(np.arange(n) < 100, "A", "B")
    before = random.random(n) < 0.95
    after = before & ~((site == "A") & (random.random(n) < 0.2))
    names = {f"{i:03d}": str(site[i]) for i in range(n)} | {"000": "rare"}
    found = subgroups(pair_up(table(before, labels), table(after, labels)), {"site": names})
    assert [row.covariate for row in found] == ["class", "class", "site", "site"]  # one case is no subgroup
    worst = found[2]
    rows = np.array([i for i in range(1, n) if site[i] == "A"])
    lost, gained = int((before & ~after)[rows].sum()), int((after & ~before)[rows].sum())
    exact = mcnemar(np.array([[0, lost], [gained, 0]]), exact=True).pvalue
    assert (worst.value, worst.cases, worst.p) == ("A", 99, pytest.approx(exact))
    assert worst.p_holm == pytest.approx(multipletests([row.p for row in found], method="holm")[1][2]) and worst.p_holm < 0.05
    expected = tango_interval(lost, gained, 99, 1 - 0.05 / 4)
    assert (worst.lower, worst.upper) == pytest.approx((expected.lower, expected.upper))
    assert worst.difference == pytest.approx(-(lost - gained) / 99)


def test_a_file_against_itself_loses_nowhere() -> None:
    labels = (np.arange(60) % 2).astype(np.int64)
    made = table(np.ones(60, np.bool_), labels)
    assert all((row.difference, row.p, row.p_holm) == (0.0, 1.0, 1.0) for row in subgroups(pair_up(made, made), {}))


def test_whole_patients_count_once() -> None:
    """40 patients of 5 images, three of them lost whole: fifteen independent losses would look like proof, three are not."""
    labels = np.zeros(200, np.int64)
    groups = tuple(f"p{i // 5}" for i in range(200))
    after = np.arange(200) >= 15
    (row,) = subgroups(pair_up(table(np.ones(200, np.bool_), labels, groups), table(after, labels, groups)), {})
    assert 0.05 < row.p < 0.2 and row.units == 40


def test_further_columns_are_covariates(tmp_path: Path) -> None:
    lines = ["path,label,patient,sex,age,note,same"]
    lines += [f"{i}.png,{i % 2},p{i},{'FM'[i % 2] if i else ''},{20 + i},n{i},x" for i in range(40)]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    found = covariates(read_table(tmp_path / "m.csv"))
    assert [sorted(row) for row in found[:2]] == [["age"], ["age", "sex"]]
    assert found[1]["sex"] == "M" and {row["age"] for row in found} == {
        "under 29.75", "29.75 to under 39.5", "39.5 to under 49.25", "49.25 and more",
    }  # fmt: skip


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_mild_repeatable_and_keeps_the_shape(name: str) -> None:
    rows, columns = np.mgrid[0:60, 0:45]
    picture = np.repeat((100 + 60 * np.sign(np.sin(rows / 5) * np.cos(columns / 4))).astype(np.uint8)[..., None], 3, axis=2)
    before, once = picture.copy(), corrupted(picture, name, "case 1")
    assert np.array_equal(picture, before) and once.shape == picture.shape and once.dtype == np.uint8
    assert np.array_equal(once, corrupted(picture, name, "case 1"))
    change = np.abs(once.astype(int) - picture).mean()
    assert (name == "decoder" or change > 0.1) and change < 30
    assert np.corrcoef(once.ravel(), picture.ravel())[0, 1] > 0.9


def listed(*ids: str, group: bool = True) -> tuple[Item, ...]:
    return tuple(Item(id=case, label=0, group=f"p{i // 2}" if group else None) for i, case in enumerate(ids))


PICTURES = ("ill/a.png", "ill/b.png", "well/c.png", "well/d.jpg")


@pytest.mark.parametrize(
    "lines",
    [
        "path,sex,site\nill/a.png,F,X\nill/b.png,M,Y\nwell/c.png,F,\n",  # as the data folder has it
        "path;sex;site\nhome/me/ill/a.png;F;X\nhome/me/ill/b.png;M;Y\nhome/me/well/c.png;F;\n",  # with folders above
        "filename,sex,site\na.png,F,X\nb.png,M,Y\nc.png,F,\n",  # a bare name
        "file,sex,site\na,F,X\nb,M,Y\nc,F,\n",  # without its suffix
    ],
)
def test_covariates_of_a_folder_are_joined_by_file_name(tmp_path: Path, lines: str) -> None:
    (tmp_path / "c.csv").write_text(lines)
    items, notes = with_covariates(listed(*PICTURES), tmp_path / "c.csv")
    assert [item.covariates for item in items] == [{"sex": "F"}, {"sex": "M"}, {"sex": "F"}, {}]
    assert [item.site for item in items] == ["X", "Y", None, None] and [item.group for item in items] == ["p0", "p0", "p1", "p1"]
    assert "of 3 images" in notes[0] and "1 images have no row" in notes[1]


def test_covariates_are_joined_by_patient(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("patient_id,visit_id,sex\np0,1,F\np0,1,F\np1,2,M\np7,3,F\n")
    items, notes = with_covariates(listed(*PICTURES), tmp_path / "c.csv")
    assert [item.covariates["sex"] for item in items] == ["F", "F", "M", "M"] and "visit_id" not in notes[0]
    (tmp_path / "mrn.csv").write_text("mrn,sex\np0,F\np1,M\n")
    items, _ = with_covariates(listed(*PICTURES), tmp_path / "mrn.csv", "mrn")
    assert [item.covariates for item in items] == [{"sex": "F"}] * 2 + [{"sex": "M"}] * 2


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("patient,sex\np0,F\np0,M\n", "csv-value"),  # one patient of two sexes
        ("path,sex\nx/q.png,F\nx/r.png,M\n", "covariates-missing"),  # other pictures
        ("path,note\nill/a.png,fine\nill/b.png,fine\n", "covariates-missing"),  # nothing that divides
        ("name,sex\na,F\nb,M\n", "csv-column"),
    ],
)
def test_a_covariates_file_that_does_not_fit_is_refused(tmp_path: Path, lines: str, code: str) -> None:
    (tmp_path / "c.csv").write_text(lines)
    with pytest.raises(ClinquantError, match=code):
        with_covariates(listed(*PICTURES), tmp_path / "c.csv")


def test_a_bare_name_that_two_images_bear_joins_neither(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("file,sex\na.png,F\nb.png,M\n")
    items, _ = with_covariates(listed("ill/a.png", "well/a.png", "well/b.png"), tmp_path / "c.csv")
    assert [item.covariates for item in items] == [{}, {}, {"sex": "M"}]
