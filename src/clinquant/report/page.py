"""One self-contained `report.html`: no script, no request, the verdict first."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from clinquant.core.card import RESEARCH_USE
from clinquant.core.errors import ClinquantError, missing_extra
from clinquant.core.predictions import Predictions
from clinquant.data.audit import Audit
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.evidence.chance import no_better_than_chance
from clinquant.evidence.claims import Role
from clinquant.evidence.evidence import Evidence
from clinquant.evidence.summary import before_reading
from clinquant.report.sections.audit import finds, power_rows
from clinquant.report.sections.change import change
from clinquant.report.sections.checklist import checklists
from clinquant.report.sections.confusion import confusions
from clinquant.report.sections.curves import curves
from clinquant.report.sections.dataset import dataset
from clinquant.report.sections.explanations import explanations
from clinquant.report.sections.external import externals
from clinquant.report.sections.findings import by_role, forest
from clinquant.report.sections.flips import ClassMaps, Images, flips
from clinquant.report.sections.keyfigures import key_figures
from clinquant.report.sections.provenance import model_rows, parent_rows, plan_rows, provenance, reads
from clinquant.report.sections.recipes import layers, recipes
from clinquant.report.sections.speed import TYPE_COLUMNS, integers, measures
from clinquant.report.sections.stress import stress
from clinquant.report.sections.trust import churned, trust
from clinquant.report.sections.verdict import outcome, test_set
from clinquant.report.wording import counted, plain

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = files("clinquant.report") / "templates"


def render(
    evidence: Evidence,
    *,
    predictions: Mapping[str, Predictions],
    audit: Audit,
    study: Study,
    split: Split,
    images: Images,
    class_maps: ClassMaps | None = None,
    float_maps: ClassMaps | None = None,
    plan: Mapping[str, Any],
) -> str:
    """The report as HTML; equal input gives equal bytes, and the caps of the galleries keep it under 6 MB.

    Args:
        evidence: everything measured on the two files.
        predictions: of the locked test set, keys `float` and `integer`.
        audit, study, split: of the data both files were made from.
        images: the picture of a case id, uint8 [h, w, 3]; asked only for cases shown.
        class_maps: float32 [k, rows, columns] of the integer file for each case id asked, or None when it has no class map.
        float_maps: the same of the float file; asked only where fidelity was measured.
        plan: what the run set out to do; `command` is printed.

    Raises:
        ClinquantError: `extra-missing` without jinja2; `report-input` when the predictions are not the two files' of this evidence.
    """
    _check(evidence, predictions)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            evidence=evidence,
            style=style,
            style_hash=_style_hash(style),
            notice=RESEARCH_USE,
            outcome=outcome(evidence),
            before=before_reading(evidence.test.reads),
            chance=no_better_than_chance(predictions["float"]),
            test_set=test_set(evidence.test),
            reads=reads(evidence.test.reads),
            primary=forest(by_role(evidence.findings, Role.PRIMARY)),
            secondary=forest(by_role(evidence.findings, Role.SECONDARY)),
            figures=key_figures(evidence),
            data=dataset(study, split),
            split=split,
            audit=audit,
            finds=finds(audit, study, split, images),
            power=power_rows(audit),
            warnings=tuple(dict.fromkeys([*study.notes, *audit.warnings, *split.warnings])),
            curves=curves(evidence, predictions),
            confusions=confusions(evidence.confusion, evidence.classes),
            thresholded=any(point.threshold is not None for point in evidence.operating_points.values()),
            flips=flips(evidence, predictions, images, class_maps),
            explanations=explanations(evidence, predictions, images, class_maps, float_maps),
            trust=trust(evidence),
            churned=churned(evidence),
            stress=stress(evidence),
            change=change(evidence, split),
            checklists=checklists(evidence, audit, study, split, plan),
            measures=measures(evidence),
            integers=integers(evidence),
            type_columns=TYPE_COLUMNS,
            externals=externals(evidence),
            recipes=recipes(evidence),
            layers=layers(evidence),
            model=model_rows(evidence),
            provenance=provenance(evidence, plan),
            parents=parent_rows(evidence, predictions),
            plan=plan_rows(plan),
        )
    )


def _check(evidence: Evidence, predictions: Mapping[str, Predictions]) -> None:
    if set(predictions) != {"float", "integer"}:
        raise _unfit(f"predictions are of {', '.join(sorted(predictions)) or 'nothing'}", "give those of 'float' and 'integer'.")
    for file, table in predictions.items():
        if table.classes != evidence.classes:
            raise _unfit(f"the {file} predictions have the classes {table.classes}", "give predictions of the evidence's classes.")
    if not {flip.id for flip in evidence.flips} <= set(predictions["float"].ids):
        raise _unfit("a flipped case is not in the predictions", "give the predictions of the locked test set.")


def _unfit(message: str, fix: str) -> ClinquantError:
    return ClinquantError("report-input", message + ".", fix=fix)


def _environment() -> Environment:
    try:
        import jinja2
    except ImportError as error:
        raise missing_extra("jinja2", "report") from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=jinja2.FunctionLoader(_template)
    )
    environment.filters["plain"] = plain
    environment.globals["counted"] = counted
    return environment


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _style_hash(style: str) -> str:
    """What the content security policy allows: this one style sheet and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
