"""`predictions.csv` of a bundle, and every further table like it: the float's rows and the integer's in one, for anyone to recompute."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from clinquant.core.artifact import write_text
from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.evidence.evidence import FILES


def write_paired(path: Path, predictions: Mapping[str, Predictions]) -> None:
    """Writes a `# float model_sha256=...` line for each file, then a row a case and file, the file's name in the first column."""
    heads, rows = [], []
    for name in FILES:
        head, _, body = predictions[name].to_csv().partition("\n")
        heads.append(f"# {name} {head.removeprefix('# ')}\n")
        columns, *cases = _parse(body)
        rows += [[name, *case] for case in cases]
    write_text(path, "".join(heads) + _print([["file", *columns], *rows]))


def read_paired(path: Path) -> dict[str, Predictions]:
    """The two tables of `predictions.csv`, bit for bit. Raises ClinquantError `predictions-broken`."""
    try:
        *heads, body = path.read_text(encoding="utf-8").split("\n", len(FILES))
        columns, *rows = _parse(body)
        tables = {name: [columns[1:], *(row[1:] for row in rows if row[0] == name)] for name in FILES}
        return {
            name: Predictions.parse(head.replace(f"# {name} ", "# ", 1) + "\n" + _print(tables[name]))
            for name, head in zip(FILES, heads, strict=True)
        }
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise ClinquantError(
            "predictions-broken", f"{path} is not the predictions.csv of a bundle ({error}).", fix="name a bundle that 'verify' accepts."
        ) from error


def _parse(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def _print(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
