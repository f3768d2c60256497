"""What two files do on the same corrupted pictures: findings by the margin of the claims, secondary, and what the rule of scope says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clinquant.core.predictions import Predictions
from clinquant.evidence.churn import agreement
from clinquant.evidence.claims import Claim, Role
from clinquant.evidence.compare import compare
from clinquant.evidence.decision import Thresholds
from clinquant.evidence.evidence import Corrupted
from clinquant.evidence.paired import pair_up

METRICS = ("auc", "accuracy")


def corrupted_figures(
    name: str,
    words: str,
    tables: Mapping[str, Predictions],
    plain: Mapping[str, Predictions],
    *,
    margin: float,
    thresholds: Thresholds,
    positive: int | None,
    unit_name: str,
    out_of_scope: float | None = None,
) -> Corrupted:
    """One corruption, judged.

    Args:
        name, words: of the corruption.
        tables: `float` and `integer` -> predictions of the corrupted pictures.
        plain: the same two of the whole test set without corruption; the same cases are taken from it.
        margin: of the claims.
        thresholds: operating points of both files, for the share decided alike; the findings are by the highest score.
        positive: index of the diseased class when there are two.
        unit_name: what a group of several images is.
        out_of_scope: share of the corrupted pictures that the card's rule would not have answered.
    """
    claims = [Claim(metric=metric, role=Role.SECONDARY, margin=margin) for metric in METRICS]
    paired = pair_up(tables["float"], tables["integer"], unit_name)
    return Corrupted(
        name=name,
        words=words,
        cases=len(paired.labels),
        findings=compare(tables["float"], tables["integer"], claims, positive=positive, unit_name=unit_name),
        agreement=agreement(paired, thresholds, positive),
        clean={file: _accuracy(rows_of(table, tables[file].ids)) for file, table in plain.items()},
        out_of_scope=out_of_scope,
    )


def rows_of(table: Predictions, ids: tuple[str, ...]) -> Predictions:
    """The rows of these cases, in their order. Raises KeyError for a case that is not in the table."""
    row = {case: i for i, case in enumerate(table.ids)}
    return table.take(np.array([row[case] for case in ids], dtype=np.int64))


def _accuracy(table: Predictions) -> float:
    return float((table.decisions == table.labels).mean())
