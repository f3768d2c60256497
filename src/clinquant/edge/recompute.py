"""Recomputes a bundle's evidence from the tables inside it: nobody has to believe `evidence.json`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinquant import __version__
from clinquant.core.artifact import sha256_json, to_json
from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError, Exit
from clinquant.core.predictions import Predictions
from clinquant.core.sets import PredictionSets
from clinquant.edge.bundle import Bundle
from clinquant.edge.kept import Covariates, Kept, read_kept
from clinquant.edge.paired import read_paired
from clinquant.evidence.chance import no_better_than_chance
from clinquant.evidence.claims import Claims, Finding
from clinquant.evidence.corrupted import corrupted_figures
from clinquant.evidence.evidence import FILES, Corrupted, Evidence, Pair, TestSet
from clinquant.evidence.pair import compare_pair
from clinquant.evidence.scope import of_corruption, scope_figures, share_beyond
from clinquant.evidence.summary import summarise

TOLERANCE = 1e-9
"""Other processors may add float64 numbers in another order."""

FOLLOWING = ("agreement", "flips", "confusion", "reliability", "operating_points", "churn", "specificity_at", "conformal", "referral")
"""What follows from the predictions besides the findings."""

YOUNGER = ("churn", "specificity_at", "conformal", "referral")
"""Parts that an older bundle does not state, and that are not asked of it."""

MEASURED = {
    "latency": "measured on the machine that built it; 'clinquant bench' measures here",
    "browser": "needs the test pictures; 'clinquant agree' compares it on yours",
    "audits": "read from the runtime's own graph when it was built",
    "fidelity": "needs the test pictures and the float network",
    "recipes_on_tune": "needs the tuning pictures and every network that was tried",
    "layers_on_tune": "needs the tuning pictures and every network that was tried",
}
"""What of `evidence.json` does not follow from any table, and why."""


@dataclass(frozen=True, kw_only=True)
class Recomputed:
    """What came out.

    Attributes:
        findings: of the locked test set, as recomputed.
        same: parts of `evidence.json` that were computed again and are the same.
        unchecked: parts that were not, with the reason.
    """

    findings: tuple[Finding, ...]
    same: tuple[str, ...]
    unchecked: dict[str, str]


def recompute(bundle: Bundle) -> Recomputed:
    """Everything that follows from the bundle's tables, claims and card, computed again.

    Raises:
        ClinquantError: `evidence-differs` when something is not what `evidence.json` states.
    """
    evidence, kept = bundle.evidence, read_kept(bundle.path)
    tables = read_paired(bundle.path / "predictions.csv")
    again = _again(evidence, evidence, tables, kept.covariates)
    _check_findings(bundle, evidence, again.findings)
    same, unchecked = ["findings"], {name: why for name, why in MEASURED.items() if getattr(evidence, name)}
    for name, stated, fresh in _parts(bundle.card, evidence, again, tables, kept):
        if fresh is None:
            unchecked[name] = "the bundle keeps no table of it"
        elif _alike(to_json(stated), to_json(fresh)):
            same.append(name)
        else:
            raise ClinquantError(
                "evidence-differs",
                f"{bundle.path}: {name} is not what its tables give.",
                fix=_advice(evidence),
                exit_code=Exit.REFUSED,
            )
    return Recomputed(findings=again.findings, same=tuple(same), unchecked=unchecked)


def _parts(card: Card, evidence: Evidence, again: Pair, tables: Mapping[str, Predictions], kept: Kept) -> Iterator[tuple[str, Any, Any]]:
    """(name, as stated, as recomputed) of what the evidence states; None where the bundle has no table to recompute it from."""
    yield "verdict", evidence.verdict, again.verdict
    yield "summary", evidence.summary, summarise(again.findings, warning=no_better_than_chance(tables["float"]))
    yield "test", _counts(evidence.test), _counts(_counted(evidence, tables["integer"]))
    yield "claims_sha256", evidence.claims_sha256, sha256_json(Claims(claims=evidence.claims, test_sha256=evidence.test.sha256))
    yield "card", _as_stated(card, evidence), _of_card(card, evidence)
    for name in FOLLOWING:
        if name not in YOUNGER or to_json(getattr(evidence, name)):
            yield name, getattr(evidence, name), getattr(again, name)
    if evidence.subgroups:
        known = {row.covariate for row in evidence.subgroups} <= {"class", *kept.covariates}
        yield "subgroups", evidence.subgroups, again.subgroups if known else None
    if evidence.corruptions:
        yield "corruptions", evidence.corruptions, _corruptions(evidence, tables, kept)
    if evidence.scope is not None:
        limit = math.nan if card.scope is None else card.scope.limit
        yield "scope", evidence.scope, scope_figures(limit, kept.distances) if kept.distances else None
    if evidence.external:
        yield "external", _comparable(evidence.external), _external(evidence, kept)


def _again(evidence: Evidence, stated: Evidence | Pair, tables: Mapping[str, Predictions], covariates: Covariates) -> Pair:
    """A pair of files on one test set, with thresholds, temperatures, referral and sets as the evidence states them."""
    points, trust = evidence.operating_points, evidence.reliability
    below = {file: evidence.referral[file].below if file in evidence.referral else None for file in FILES}
    sets = {
        file: [PredictionSets(rule=row.rule, coverage=row.wanted, at_least=row.at_least, cases=row.calibrated_on) for row in rows]
        for file, rows in stated.conformal.items()
    }
    return compare_pair(
        tables["float"],
        tables["integer"],
        evidence.claims,
        test=stated.test,
        thresholds=(points["float"].threshold, points["integer"].threshold),
        rule=points["integer"].rule,
        positive=evidence.positive,
        temperatures=(trust["float"].temperature, trust["integer"].temperature),
        refer_below=(below["float"], below["integer"]),
        sets=sets,
        covariates=covariates,
    )


def _corruptions(evidence: Evidence, tables: Mapping[str, Predictions], kept: Kept) -> tuple[Corrupted, ...] | None:
    if not {row.name for row in evidence.corruptions} <= kept.corrupted.keys():
        return None
    if evidence.scope is not None and not kept.distances:
        return None
    points, unit = evidence.operating_points, evidence.test.unit
    return tuple(
        corrupted_figures(
            row.name,
            row.words,
            kept.corrupted[row.name],
            tables,
            margin=evidence.claims[0].margin,
            thresholds=(points["float"].threshold, points["integer"].threshold),
            positive=evidence.positive,
            unit_name="patient" if unit == "image" else unit,
            out_of_scope=share_beyond(evidence.scope.limit, kept.distances[of_corruption(row.name)]) if evidence.scope else None,
        )
        for row in evidence.corruptions
    )


def _external(evidence: Evidence, kept: Kept) -> list[dict[str, Any]] | None:
    if len(kept.external) != len(evidence.external):
        return None
    pairs = zip(evidence.external, kept.external, strict=True)
    return _comparable([_again(evidence, stated, other.tables, other.covariates) for stated, other in pairs])


def _comparable(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Without the test set itself, which no table tells but by its counts."""
    return [{field.name: getattr(pair, field.name) for field in dataclasses.fields(pair) if field.name != "test"} for pair in pairs]


def _counted(evidence: Evidence, table: Predictions) -> TestSet:
    by_class = {name: int((table.labels == index).sum()) for index, name in enumerate(evidence.classes)}
    return dataclasses.replace(evidence.test, images=len(table), units=len(set(table.groups)), images_by_class=by_class)


def _counts(test: TestSet) -> tuple[int, int, dict[str, int]]:
    return test.images, test.units, test.images_by_class


def _as_stated(card: Card, evidence: Evidence) -> dict[str, Any]:
    """What the evidence says of the integer file's decisions, as far as its card says it too."""
    found: dict[str, Any] = {
        "classes": evidence.classes,
        "positive": evidence.positive,
        "threshold": evidence.operating_points["integer"].threshold,
        "temperature": evidence.reliability["integer"].temperature,
    }
    if "integer" in evidence.referral:
        found["refer_below"] = evidence.referral["integer"].below
    if evidence.scope is not None:
        found["limit"] = evidence.scope.limit
    if card.sets is not None and evidence.conformal.get("integer"):
        found["sets"] = next((row.at_least for row in evidence.conformal["integer"] if row.rule == card.sets.rule), None)
    return found


def _of_card(card: Card, evidence: Evidence) -> dict[str, Any]:
    known: dict[str, Any] = {
        "classes": card.classes,
        "positive": card.positive,
        "threshold": card.threshold,
        "temperature": card.temperature,
        "refer_below": card.refer_below,
        "limit": None if card.scope is None else card.scope.limit,
        "sets": None if card.sets is None else card.sets.at_least,
    }
    return {name: known[name] for name in _as_stated(card, evidence)}


def _check_findings(bundle: Bundle, evidence: Evidence, found: Sequence[Finding]) -> None:
    for stated, fresh in zip(evidence.findings, found, strict=True):
        if not _same(stated, fresh):
            raise ClinquantError(
                "evidence-differs",
                f"{bundle.path}: {stated.metric} is stated as {stated.verdict} ({stated.difference}), "
                f"its predictions give {fresh.verdict} ({fresh.difference}).",
                fix=_advice(evidence),
                exit_code=Exit.REFUSED,
            )


def _advice(evidence: Evidence) -> str:
    if evidence.clinquant == __version__:
        return "do not believe this bundle: ask who packed it."
    return f"recompute with clinquant {evidence.clinquant}, which made it (this is {__version__}); if that differs too, do not believe it."


def _same(a: Finding, b: Finding) -> bool:
    numbers = zip((a.baseline, a.candidate, a.lower, a.upper), (b.baseline, b.candidate, b.lower, b.upper), strict=True)
    return (a.metric, a.class_name, a.verdict) == (b.metric, b.class_name, b.verdict) and all(_close(x, y) for x, y in numbers)


def _close(x: float | None, y: float | None) -> bool:
    return x == y if x is None or y is None else math.isclose(x, y, abs_tol=TOLERANCE)


def _alike(stated: Any, fresh: Any) -> bool:
    """Equal JSON, numbers within TOLERANCE."""
    if isinstance(stated, dict) and isinstance(fresh, dict):
        return stated.keys() == fresh.keys() and all(_alike(stated[key], fresh[key]) for key in stated)
    if isinstance(stated, list) and isinstance(fresh, list):
        return len(stated) == len(fresh) and all(map(_alike, stated, fresh))
    if isinstance(stated, float) and isinstance(fresh, float):
        return math.isclose(stated, fresh, abs_tol=TOLERANCE)
    return bool(stated == fresh)
