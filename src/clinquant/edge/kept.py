"""What a bundle keeps besides `predictions.csv`, so that subgroups, corruptions, scope and external tests can be recomputed too.

- `covariates.csv`: what is known of the test cases and formed subgroups: id, then a column a covariate
- `scope.csv`: pictures, id and distance from the training pictures: test pictures, controls, corrupted pictures
- `corrupted/NAME.csv`: both files' scores of the corrupted test pictures, as in `predictions.csv`
- `external/0.csv` and so on: both files' scores of the external test sets, with `external/0.covariates.csv`
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clinquant.core.artifact import write_text
from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.edge.paired import read_paired, write_paired
from clinquant.evidence.scope import Distances

Covariates = Mapping[str, Mapping[str, str]]
"""Name -> case -> value."""

SCOPE_TABLE, COVARIATES_TABLE = "scope.csv", "covariates.csv"


@dataclass(frozen=True, kw_only=True)
class ExternalTables:
    """Both files' predictions of an external test set, and what is known of its cases."""

    tables: Mapping[str, Predictions]
    covariates: Covariates = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The tables; empty where a bundle has none of the kind.

    Attributes:
        covariates: of the cases of the locked test set.
        distances: what the rule of scope was judged on.
        corrupted: corruption -> `float` and `integer` -> predictions.
        external: in the order of the evidence.
    """

    covariates: Covariates = field(default_factory=dict)
    distances: Distances = field(default_factory=dict)
    corrupted: Mapping[str, Mapping[str, Predictions]] = field(default_factory=dict)
    external: tuple[ExternalTables, ...] = ()


def write_kept(folder: Path, kept: Kept) -> None:
    """Writes each table that is not empty."""
    if kept.covariates:
        write_covariates(folder / COVARIATES_TABLE, kept.covariates)
    if kept.distances:
        write_distances(folder / SCOPE_TABLE, kept.distances)
    for name, tables in kept.corrupted.items():
        write_paired(folder / "corrupted" / f"{name}.csv", tables)
    for index, other in enumerate(kept.external):
        write_paired(folder / "external" / f"{index}.csv", other.tables)
        if other.covariates:
            write_covariates(folder / "external" / f"{index}.{COVARIATES_TABLE}", other.covariates)


def read_kept(folder: Path) -> Kept:
    """What `write_kept` wrote. Raises ClinquantError `predictions-broken` for a table that is not one of ours."""
    others = sorted((path for path in folder.glob("external/*.csv") if re.fullmatch(r"\d+", path.stem)), key=lambda path: int(path.stem))
    return Kept(
        covariates=read_covariates(folder / COVARIATES_TABLE),
        distances=read_distances(folder / SCOPE_TABLE),
        corrupted={path.stem: read_paired(path) for path in sorted(folder.glob("corrupted/*.csv"))},
        external=tuple(
            ExternalTables(tables=read_paired(path), covariates=read_covariates(path.with_suffix(f".{COVARIATES_TABLE}")))
            for path in others
        ),
    )


def write_distances(path: Path, distances: Distances) -> None:
    """One row a picture; a distance reads back bit for bit."""
    rows = [(pictures, case, repr(far)) for pictures, of_case in distances.items() for case, far in of_case.items()]
    _write(path, [("pictures", "id", "distance"), *rows])


def read_distances(path: Path) -> dict[str, dict[str, float]]:
    """The table that `write_distances` wrote; empty where there is none."""
    found: dict[str, dict[str, float]] = {}
    for pictures, case, far in _read(path, 3):
        found.setdefault(pictures, {})[case] = _number(path, far)
    return found


def write_covariates(path: Path, covariates: Covariates) -> None:
    """One row a case of which anything is known, one column a covariate, empty where it is not known."""
    cases = sorted({case for values in covariates.values() for case in values})
    _write(path, [("id", *covariates), *((case, *(values.get(case, "") for values in covariates.values())) for case in cases)])


def read_covariates(path: Path) -> dict[str, dict[str, str]]:
    """The table that `write_covariates` wrote; empty where there is none."""
    header, *rows = _cells(path) or [["id"]]
    if any(len(row) != len(header) for row in rows):
        raise _broken(path, f"its rows have not {len(header)} cells")
    return {name: {row[0]: row[column] for row in rows if row[column]} for column, name in enumerate(header) if column}


def _write(path: Path, rows: list[tuple[str, ...]]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    write_text(path, out.getvalue())


def _read(path: Path, width: int) -> list[list[str]]:
    rows = _cells(path)[1:]
    if any(len(row) != width for row in rows):
        raise _broken(path, f"its rows have not {width} cells")
    return rows


def _cells(path: Path) -> list[list[str]]:
    if not path.is_file():
        return []
    try:
        return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise _broken(path, str(error)) from error


def _number(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise _broken(path, f"{text!r} is no distance") from error


def _broken(path: Path, why: str) -> ClinquantError:
    return ClinquantError("predictions-broken", f"{path} is not a table of a bundle ({why}).", fix="name a bundle that 'verify' accepts.")
