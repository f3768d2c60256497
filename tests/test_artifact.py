"""Artifacts on disk: what is written reads back, what is not ours is refused by name, and a failed write leaves the old file."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clinquant.core.artifact import dump_json, from_json, read_json, replacing, sha256_json, to_json, write_json
from clinquant.core.errors import ClinquantError


class Colour(enum.StrEnum):
    GREY = "grey"
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Whole:
    parts: tuple[Part, ...]
    ends: tuple[int, int]
    colour: Colour
    counts: dict[str, int]
    class_name: str | None = field(default=None, metadata={"json": "class"})
    extra: dict[str, str] = field(default_factory=dict, metadata={"omit_empty": True})


WHOLE = Whole(parts=(Part(name="a", share=0.1), Part(name="b", share=1.0)), ends=(0, 9), colour=Colour.RED, counts={"x": 3}, class_name="c")


def changed(**values: Any) -> dict[str, Any]:
    return json.loads(dump_json(WHOLE, kind="whole")) | values


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    write_json(tmp_path / "whole.json", WHOLE, kind="whole")
    assert read_json(tmp_path / "whole.json", Whole, kind="whole") == WHOLE


def test_a_field_is_written_under_its_own_key_and_left_out_where_it_may_be_empty() -> None:
    assert to_json(WHOLE)["class"] == "c"
    assert {"class_name", "extra"}.isdisjoint(to_json(WHOLE))


def test_equal_values_have_one_hash_whatever_the_order_of_their_keys() -> None:
    assert sha256_json({"a": 1, "b": (2.5, None)}) == sha256_json({"b": [2.5, None], "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})


@pytest.mark.parametrize(
    "body,code,says",
    [
        (changed(colur="red"), "artifact-key", "did you mean 'colour'?"),
        ({key: value for key, value in changed().items() if key != "ends"}, "artifact-key", "lacks the key 'ends'"),
        (changed(ends=[0, 9, 9]), "artifact-value", "expected a list of 2"),
        (changed(ends=[0, "9"]), "artifact-value", "ends[1] is '9', expected int"),
        (changed(ends=[0, True]), "artifact-value", "expected int"),
        (changed(parts={"name": "a"}), "artifact-value", "expected a list"),
        (changed(parts=["a"]), "artifact-value", "parts[0] is 'a', expected Part"),
        (changed(colour="blue"), "artifact-value", "expected one of grey, red"),
        (changed(counts=[3]), "artifact-value", "expected an object"),
        (changed(counts={"x": 0.5}), "artifact-value", "counts.x is 0.5, expected int"),
        (changed(format="clinquant/half"), "artifact-kind", "expected 'clinquant/whole'"),
        ([], "artifact-kind", "is 'list'"),
        (changed(version=2), "artifact-version", "has version 2"),
    ],
)
def test_what_is_not_ours_is_refused_by_name(tmp_path: Path, body: Any, code: str, says: str) -> None:
    (tmp_path / "whole.json").write_text(json.dumps(body), encoding="utf-8")
    with pytest.raises(ClinquantError) as caught:
        read_json(tmp_path / "whole.json", Whole, kind="whole")
    assert caught.value.code == code
    assert says in str(caught.value)


def test_a_whole_number_is_read_as_the_float_that_it_stands_for() -> None:
    assert repr(from_json(Part, {"name": "a", "share": 1}, where="here").share) == "1.0"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(KeyError), replacing(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise KeyError
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
