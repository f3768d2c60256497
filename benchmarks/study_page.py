"""Writes the tables and plots of docs/study.md from the study's rows; what a person wrote above them stays.

    python -m benchmarks.study_page

The rows are those of `clinquant study paper`, kept in benchmarks/results/study_paper.csv.
"""

from __future__ import annotations

import csv
from pathlib import Path

from clinquant.core.artifact import write_text
from clinquant.lab.study.page import page, plots

ROWS = Path("benchmarks/results/study_paper.csv")
PAGE = Path("docs/study.md")
MARK = "<!-- from here on written by benchmarks/study_page.py -->\n"


def main() -> None:
    """Replaces what stands below the mark."""
    lines = ROWS.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    written = page(rows, lines[0].removeprefix("# "), table=str(ROWS)).split("\n", 2)[2]
    kept = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    write_text(PAGE, kept + MARK + "\n" + written)
    for name, drawing in plots(rows).items():
        write_text(PAGE.with_name(name), drawing)


if __name__ == "__main__":
    main()
