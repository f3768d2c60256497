"""Where every number comes from: hashes, versions, the command, and how often the test set was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clinquant.core.predictions import Predictions
from clinquant.evidence.evidence import Evidence
from clinquant.report.wording import counted, whole

Row = tuple[str, str, bool]
"""A name, its value, and whether the value is code (a hash, a command)."""


def provenance(evidence: Evidence, plan: Mapping[str, Any]) -> tuple[Row, ...]:
    """Rows for the table of origins that is also printed, in the order a person would check them."""
    rows: list[Row] = [("Command", str(plan["command"]), True)] if plan.get("command") else []
    rows += [(f"{file.capitalize()} file, sha256", facts.sha256, True) for file, facts in evidence.files.items()]
    rows += [
        ("Test set, sha256", evidence.test.sha256, True),
        ("Test set read, counted for this user", reads(evidence.test.reads), False),
        ("Claims fixed before reading it, sha256", evidence.claims_sha256, True),
    ]
    rows += [("Runtime", evidence.runtime, False), ("Machine", evidence.machine, False)]
    rows += [("clinquant", evidence.clinquant, False), ("Written", evidence.created, False)]
    return tuple(row for row in rows if row[1])


def parent_rows(evidence: Evidence, predictions: Mapping[str, Predictions]) -> tuple[Row, ...]:
    """The artifacts this evidence was made from, and what computed each table of predictions."""
    parents: list[Row] = [(f"{_words(name)}, sha256", digest, True) for name, digest in evidence.parents.items()]
    return (*parents, *_tables(predictions))


def reads(times: int) -> str:
    """How often the locked test set was read by this user, in words.

    >>> reads(1), reads(3)
    ('once', '3 times: the more often, the weaker the evidence')
    """
    return "once" if times == 1 else f"{whole(times)} times: the more often, the weaker the evidence"


def model_rows(evidence: Evidence) -> tuple[Row, ...]:
    """What the network is, as the evidence states it."""
    return tuple((_words(name), _value(value), False) for name, value in evidence.model.items() if value is not None)


def plan_rows(plan: Mapping[str, Any]) -> tuple[Row, ...]:
    """The plan's plain values and those one level below; lists stand in plan.json."""
    flat: dict[str, Any] = {}
    for name, value in plan.items():
        flat |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, Mapping) else {name: value}
    plain = {name: value for name, value in flat.items() if isinstance(value, str | int | float) and name != "command"}
    return tuple((_words(name), _value(value), False) for name, value in plain.items())


def _words(key: str) -> str:
    words = key.replace("_", " ").replace(".", ", ")
    return words[:1].upper() + words[1:]


def _value(value: str | int | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return whole(value) if value >= 10_000 else str(value)
    return value if isinstance(value, str) else f"{value:.6g}"


def _tables(predictions: Mapping[str, Predictions]) -> list[Row]:
    return [
        (f"{file.capitalize()} predictions", f"{counted(len(table), 'case')}, {table.runtime}", False)
        for file, table in predictions.items()
    ]
