"""The paper's study: which rows, in which order; resumable by its table; a page that says what the rows say."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from clinquant.core.errors import ClinquantError
from clinquant.lab.study import paper
from clinquant.lab.study.cell import Source
from clinquant.lab.study.page import front_of, page
from clinquant.lab.study.paper import PaperStudy, run_study
from clinquant.lab.study.table import Table
from clinquant.lab.study.ways import WAYS, Key, planned
from test_few_cases import noise


def test_a_seed_is_complete_before_the_next_and_a_width_before_the_next() -> None:
    keys = planned(("a", "b"), "resnet20", (0, 1), ("w4a4", "w2a2"), tuple(WAYS))
    assert len(keys) == len(set(keys)) == 2 * 2 * (2 + 2 * 5)
    assert [key.seed for key in keys] == sorted(key.seed for key in keys)
    assert [key.bits for key in keys[:24]] == ["float"] * 4 + ["w4a4"] * 10 + ["w2a2"] * 10
    first = {(key.way, key.bits): row for row, key in reversed(list(enumerate(keys)))}
    for way, how in WAYS.items():
        if how.against:
            assert (
                first[how.against, "float" if WAYS[how.against].recipe is None else "w4a4"] < first[way, "w4a4" if how.recipe else "float"]
            )


def test_rows_that_share_files_are_not_made_at_once() -> None:
    asked = PaperStudy(sources=(Source(name="a", data="a"), Source(name="b", data="b")), seeds=(0, 1, 2, 3))
    busy = [Key(set="a", arch="resnet20", seed=0, way="lsq", bits="w4a4")]
    free = [
        (name, seed) for name in "ab" for seed in range(4) if paper._free(asked, Key(set=name, arch="", seed=seed, way="", bits=""), busy)
    ]
    assert free == [("a", 2), *(("b", seed) for seed in range(4))]  # seed 1 is the floor of 0, and 0 that of 3


@pytest.mark.parametrize("wrong", [{"sources": ()}, {"seeds": ()}, {"ways": ("magic",)}, {"explained": 1}])
def test_an_impossible_study_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ClinquantError) as caught:
        PaperStudy(**({"sources": (Source(name="a", data="a"),)} | wrong))
    assert caught.value.code == "study-invalid"


def read(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(line for line in (out / "study.csv").read_text().splitlines() if not line.startswith("#")))


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PaperStudy]:
    """A study of noise, stopped after its fourth row."""
    folder = tmp_path_factory.mktemp("study")
    source = Source(name="spots", data=str(noise(folder / "data", {"healthy": 30, "ill": 30})), size=16)
    asked = PaperStudy(
        sources=(source,), seeds=(0,), bits=("w4a4",), ways=("float", "sgt", "ptq", "lsq", "sgt+lsq", "lsq+ap"), views=40, explained=4
    )
    made = paper._row

    def stopping(*arguments: Any) -> dict[str, Any]:
        if (folder / "out" / "study.csv").exists() and len(read(folder / "out")) == 4:
            raise KeyboardInterrupt
        return made(*arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(paper, "_row", stopping)
        run_study(asked, folder / "out", command="clinquant study paper")
    return folder / "out", asked


def test_the_table_is_the_resume_key(studied: tuple[Path, PaperStudy], monkeypatch: pytest.MonkeyPatch) -> None:
    out, asked = studied
    before = read(out)
    assert [(row["way"], row["bits"]) for row in before] == [("float", "float"), ("sgt", "float"), ("ptq", "w4a4"), ("lsq", "w4a4")]
    table = run_study(asked, out, command="clinquant study paper")
    after = read(out)
    assert len(after) == len(table.rows) == len(asked.rows()) == 6
    for old, new in zip(before, after, strict=False):
        assert all(new[name] == value for name, value in old.items())
    monkeypatch.setattr(paper, "_row", lambda *arguments: pytest.fail("it was made again"))
    run_study(asked, out, command="clinquant study paper")
    assert (out / "study.csv").read_text().startswith("# clinquant study paper\n")


def test_a_table_names_every_command_behind_its_rows_and_measures_anew_in_place(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("# by hand, on a quiet machine\nname,size,value\na,1,3\nb,1,4\n")
    table = Table(path, ("name", "size"), "measure --again")
    assert {"name": "a", "size": 1} in table and {"name": "a", "size": 2} not in table
    table.add({"name": "a", "size": 1, "value": 5, "spread": 0.1})
    lines = path.read_text().splitlines()
    assert lines[:2] == ["# by hand, on a quiet machine", "# measure --again"]
    rows = [row[:4] for row in csv.reader(lines[2:])]
    assert rows == [["name", "size", "value", "spread"], ["b", "1", "4", ""], ["a", "1", "5", "0.1"]]


def test_a_study_of_other_numbers_is_refused(studied: tuple[Path, PaperStudy]) -> None:
    out, asked = studied
    with pytest.raises(ClinquantError) as caught:
        run_study(replace(asked, views=50), out)
    assert caught.value.code == "study-other"


def test_rows_say_what_is_true_of_any_network(studied: tuple[Path, PaperStudy]) -> None:
    out, asked = studied
    run_study(asked, out)
    rows = {row["way"]: row for row in read(out)}
    assert float(rows["float"]["class_map_spearman_distance"]) == 0 and rows["float"]["agreement"] == "1.0"
    assert float(rows["lsq"]["bytes_ratio"]) < 0.3 < float(rows["sgt"]["bytes_ratio"]) == 1
    assert [int(row["test_reads"]) for row in read(out)] == sorted(int(row["test_reads"]) for row in read(out))
    for row in rows.values():
        assert 0 <= float(row["class_map_ssim_distance"]) < float(row["class_map_ssim_control"]) + 1
        assert row["class_map_insertion"] and row["gradient_gini"] and row["ms"]
    for way in ("sgt+lsq", "lsq+ap"):
        gain = [float(rows[way][f"class_map_gini_gain{end}"]) for end in ("_lower", "", "_upper")]
        assert gain == sorted(gain) and rows[way]["against"] == "lsq"
        apart = float(rows[way]["class_map_gini"]) - float(rows["lsq"]["class_map_gini"])
        assert gain[1] == pytest.approx(apart, abs=2e-5)
    maps = np.load(out / "cells" / "spots-resnet20-0" / "lsq-w4a4" / "class_map.npz")["maps"]
    assert maps.shape == (4, 16, 16)


def test_the_page_holds_every_way_and_its_front(studied: tuple[Path, PaperStudy]) -> None:
    out, asked = studied
    run_study(asked, out)
    text = page(read(out), "clinquant study paper")
    assert (out / "study.md").exists() and "## spots" in text
    for said in ("SGT + QAT", "QAT + attribution preserved", "Pareto front", "12 test images"):
        assert said in text
    drawing = ElementTree.parse(out / "study-spots.svg")
    assert len([mark for mark in drawing.iter() if mark.tag.endswith("circle")]) == len(read(out))
    assert "study-spots.svg" in text
    table = text.split("### Decisions")[1].split("###")[0]
    assert len([line for line in table.splitlines() if line.startswith("| ") and "---" not in line]) == 1 + len(read(out))


def test_the_front_is_what_nothing_smaller_beats() -> None:
    made = [("ptq", "w8a8", 300, 0.9), ("lsq", "w4a4", 150, 0.91), ("ptq", "w4a4", 150, 0.8), ("lsq", "w2a2", 90, 0.7)]
    rows = [{"set": "a", "way": way, "bits": bits, "bytes": size, "accuracy": right} for way, bits, size, right in made]
    assert front_of(rows) == {"QAT, LSQ w4a4", "QAT, LSQ w2a2"}
