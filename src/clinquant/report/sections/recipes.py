"""How the recipe was chosen: every candidate's figures on the tuning set, the chosen one marked."""

from __future__ import annotations

from dataclasses import dataclass

from clinquant.evidence.evidence import Evidence
from clinquant.report.wording import significant

ABBREVIATIONS = frozenset({"auc", "nll", "ece", "sqnr", "mse", "id"})
"""Words of a column that are written in capitals."""


@dataclass(frozen=True)
class Recipes:
    """A table: column names, then rows of cells, each with whether it is marked (the candidate that was shipped)."""

    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], bool], ...]


def recipes(evidence: Evidence) -> Recipes | None:
    """The candidates in the order tried; None when there was no choice to make."""
    if not evidence.recipes_on_tune:
        return None
    keys = list(dict.fromkeys(key for row in evidence.recipes_on_tune for key in row))
    chosen = evidence.model.get("recipe")
    rows = tuple(
        (tuple(_cell(row.get(key)) for key in keys), chosen is not None and chosen in row.values()) for row in evidence.recipes_on_tune
    )
    return Recipes(tuple(column_name(key) for key in keys), rows)


def layers(evidence: Evidence) -> Recipes | None:
    """Every layer's bits and what narrowing it alone adds to the divergence; None where all are alike."""
    if not evidence.layers_on_tune:
        return None
    keys = list(dict.fromkeys(key for row in evidence.layers_on_tune for key in row))
    rows = tuple((tuple(_cell(row.get(key)) for key in keys), False) for row in evidence.layers_on_tune)
    return Recipes(tuple(key if key.startswith("w") and key[1:2].isdigit() else column_name(key) for key in keys), rows)


def column_name(key: str) -> str:
    """A key of the table in words; abbreviations in capitals.

    >>> column_name("macro_auc"), column_name("recipe")
    ('Macro AUC', 'Recipe')
    """
    words = [word.upper() if word in ABBREVIATIONS else word for word in key.split("_")]
    return " ".join([words[0] if words[0].isupper() else words[0].capitalize(), *words[1:]])


def _cell(value: str | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else significant(value, 4).replace("-", "\u2212")
