"""Writes the tables and plots of docs/study.md from the study's rows; what a person wrote above them stays.

    python -m benchmarks.study_page

The rows are those of `clinquant study paper`, kept in benchmarks/results/study_paper.csv (ResNet-20 at 28 px) and study_lite0.csv
(EfficientNet-Lite0 at 224 px).
"""

from __future__ import annotations

import csv
from pathlib import Path

from clinquant.core.artifact import write_text
from clinquant.lab.study.page import page, plots

ROWS = (Path("benchmarks/results/study_paper.csv"), Path("benchmarks/results/study_lite0.csv"))
PAGE = Path("docs/study.md")
MARK = "<!-- from here on written by benchmarks/study_page.py -->\n"


def main() -> None:
    """Replaces what stands below the mark."""
    files = [file.read_text(encoding="utf-8").splitlines() for file in ROWS if file.exists()]
    rows = [row for lines in files for row in csv.DictReader(line for line in lines if not line.startswith("#"))]
    commands = "\n".join(line.removeprefix("# ") for lines in files for line in lines if line.startswith("# clinquant study"))
    written = page(rows, commands, table="`, `".join(str(file) for file in ROWS)).split("\n", 2)[2]
    kept = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    write_text(PAGE, kept + MARK + "\n" + written)
    for name, drawing in plots(rows).items():
        write_text(PAGE.with_name(name), drawing)


if __name__ == "__main__":
    main()
