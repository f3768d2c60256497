"""Writes docs/schemas/*.json from the dataclasses themselves: `make docs`."""

from __future__ import annotations

import json
from pathlib import Path

from clinquant.core.card import Card
from clinquant.core.schema import json_schema
from clinquant.data.audit import Audit
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.edge.agree.agree import Agreement
from clinquant.edge.answer import Answers
from clinquant.edge.app.write import App
from clinquant.edge.doctor import Health
from clinquant.edge.evaluate import Evaluation
from clinquant.edge.manifest import Manifest
from clinquant.evidence.comparison import Comparison
from clinquant.evidence.evidence import Evidence
from clinquant.report.side_by_side import Explanations

FOLDER = Path(__file__).with_name("schemas")

ARTIFACTS: dict[str, type] = {
    "agreement": Agreement,
    "answers": Answers,
    "app": App,
    "audit": Audit,
    "card": Card,
    "comparison": Comparison,
    "doctor": Health,
    "evaluation": Evaluation,
    "evidence": Evidence,
    "explanations": Explanations,
    "manifest": Manifest,
    "split": Split,
    "study": Study,
}
"""Kind -> what it holds."""


def text(kind: str) -> str:
    """The schema file of a kind."""
    return json.dumps(json_schema(ARTIFACTS[kind], kind=kind), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for kind in ARTIFACTS:
        (FOLDER / f"{kind}.schema.json").write_text(text(kind), encoding="utf-8")
