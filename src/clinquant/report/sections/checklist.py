"""Reporting checklists: the items that this run answers itself, with the number, and those that only a person can fill in.

CLAIM 2024 (Tejani et al. 2024, Radiol Artif Intell 6:e240300), TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378), and STARD-AI
(Sounderajah et al. 2025) by the numbers of STARD 2015 (Bossuyt et al. 2015, BMJ 351:h5527), whose items it keeps and extends. The topics
are in our own words; the guidelines themselves say what each item asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clinquant.data.audit import Audit
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.evidence.claims import Finding
from clinquant.evidence.evidence import Evidence
from clinquant.report.sections.grid import Grid
from clinquant.report.sections.stress import worst
from clinquant.report.wording import VERDICTS, counted, metric_name, percent, rate, signed, whole

Item = tuple[str, str, str | None]
"""Number, topic, and the name of the fact that answers it (None: a person must)."""

CLAIM: tuple[Item, ...] = (
    ("1", "title", None),
    ("2", "abstract", None),
    ("3", "background and clinical role", None),
    ("4", "aims and hypotheses", "aim"),
    ("5", "prospective or retrospective", None),
    ("6", "study goal", "goal"),
    ("7", "data sources", "source"),
    ("8", "inclusion and exclusion", None),
    ("9", "preprocessing", "preprocessing"),
    ("10", "selection of data subsets", "dropped"),
    ("11", "de-identification", None),
    ("12", "missing data", "missing"),
    ("13", "image acquisition", None),
    ("14", "reference standard", None),
    ("15", "rationale for it", None),
    ("16", "source of annotations", None),
    ("17", "annotation of the test set", None),
    ("18", "variability between raters", None),
    ("19", "assignment to partitions", "partitions"),
    ("20", "level at which partitions are disjoint", "level"),
    ("21", "sample size", "power"),
    ("22", "model", "model"),
    ("23", "software", "software"),
    ("24", "initial parameters", "initial"),
    ("25", "training", "training"),
    ("26", "selection of the final model", "selection"),
    ("27", "ensembling", "ensemble"),
    ("28", "metrics", "metrics"),
    ("29", "uncertainty and significance", "statistics"),
    ("30", "robustness", "robustness"),
    ("31", "explainability", "explanations"),
    ("32", "internal evaluation", "performance"),
    ("33", "external testing", "external"),
    ("34", "trial registration", None),
    ("35", "flow of cases", "flow"),
    ("36", "characteristics of the cases", None),
    ("37", "performance on each partition", "performance"),
    ("38", "estimates and their precision", "performance"),
    ("39", "failure analysis", "failures"),
    ("40", "limitations", "limits"),
    ("41", "implications for practice", None),
    ("42", "full protocol", "protocol"),
    ("43", "availability of software, model, data", "availability"),
    ("44", "funding", None),
)

STARD: tuple[Item, ...] = (
    ("1-2", "title and abstract", None),
    ("3", "background", None),
    ("4", "objectives", "aim"),
    ("5-8", "design, eligibility, setting", None),
    ("9", "series of participants", None),
    ("10a", "index test", "model"),
    ("10b-11", "reference standard", None),
    ("12a", "cut-offs of the index test", "threshold"),
    ("12b", "cut-offs of the reference standard", None),
    ("13", "who knew what", "blinding"),
    ("14", "methods of estimating accuracy", "statistics"),
    ("15", "indeterminate results", "indeterminate"),
    ("16", "missing data", "missing"),
    ("17", "variability of accuracy", "fairness"),
    ("18", "sample size", "power"),
    ("19", "flow of cases", "flow"),
    ("20-22", "participants, severity, interval between tests", None),
    ("23", "cross tabulation", "tabulation"),
    ("24", "estimates and their precision", "performance"),
    ("25", "adverse events", None),
    ("26", "limitations", "limits"),
    ("27", "implications for practice", None),
    ("28", "registration", None),
    ("29", "protocol", "protocol"),
    ("30", "funding", None),
)

TRIPOD: tuple[Item, ...] = (
    ("1-2", "title and abstract", None),
    ("3", "context, target population, known inequalities", None),
    ("4", "objectives", "aim"),
    ("5", "data sources and dates", "source"),
    ("6", "participants and setting", None),
    ("7", "data preparation", "preprocessing"),
    ("8", "outcome and its assessors", None),
    ("9", "predictors", "predictors"),
    ("10", "sample size", "power"),
    ("11", "missing data", "missing"),
    ("12", "analytical methods", "statistics"),
    ("13", "class imbalance", "imbalance"),
    ("14", "fairness", "fairness"),
    ("15", "model output", "threshold"),
    ("16", "differences between development and evaluation", "external"),
    ("17", "ethical approval", None),
    ("18", "funding, protocol, data and code", "availability"),
    ("19", "patient and public involvement", None),
    ("20", "participants", "flow"),
    ("21", "model development", "training"),
    ("22", "full model", "availability"),
    ("23", "performance", "performance"),
    ("24", "model updating", "update"),
    ("25", "interpretation", None),
    ("26", "limitations", "limits"),
    ("27", "usability", "indeterminate"),
)

GUIDELINES = {"CLAIM 2024": CLAIM, "STARD-AI (numbers of STARD 2015)": STARD, "TRIPOD+AI": TRIPOD}


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """One guideline: the items answered, and the topics that a person must fill in."""

    name: str
    grid: Grid
    answered: int
    total: int
    by_person: str


def checklists(evidence: Evidence, audit: Audit, study: Study, split: Split, plan: Mapping[str, object]) -> tuple[Checklist, ...]:
    """Every guideline, each item answered by a fact of this run or left to a person."""
    known = {name: text for name, text in facts(evidence, audit, study, split, plan).items() if text}
    return tuple(_checklist(name, items, known) for name, items in GUIDELINES.items())


def _checklist(name: str, items: tuple[Item, ...], known: Mapping[str, str]) -> Checklist:
    answered = [(number, topic, known[fact]) for number, topic, fact in items if fact is not None and fact in known]
    left = [f"{number} {topic}" for number, topic, fact in items if fact is None or fact not in known]
    grid = Grid(caption=f"{name}: what this run answers.", columns=("Item", "Topic", "Answer"), rows=tuple(answered), texts=(1, 2))
    return Checklist(name=name, grid=grid, answered=len(answered), total=len(items), by_person="; ".join(left))


def facts(evidence: Evidence, audit: Audit, study: Study, split: Split, plan: Mapping[str, object]) -> dict[str, str]:
    """Name -> what this run knows, in one or two sentences with its numbers; empty where it knows nothing."""
    return _of_data(evidence, audit, study, split) | _of_model(evidence, split, plan) | _of_results(evidence)


def _of_data(evidence: Evidence, audit: Audit, study: Study, split: Split) -> dict[str, str]:
    decided, test = sum(row.decidable for row in audit.power), evidence.test
    parts = (("train", split.train), ("tune", split.tune), ("test", split.test), ("left out", split.dropped))
    by_class = ", ".join(f"{name} {number}" for name, number in test.images_by_class.items())
    grouped = any(case.group for case in study.cases)
    level = "Whole patients, with all copies of a picture joined" if grouped else "Copies of a picture; no patient ids were given"
    return {
        "source": f"{study.name}, {counted(len(study), 'image')}, licence: {study.licence}. Dates and places: by a person.",
        "preprocessing": f"Resized inside the file to {evidence.model.get('size')} pixels (bilinear, antialiased); see the card.",
        "predictors": "The pixels alone; no other variable enters.",
        "dropped": f"{counted(len(split.dropped), 'image')} left out as copies or leaks, each with its reason in split.json.",
        "missing": f"{counted(len(study.broken), 'unreadable image')} left out; a case without a label is refused.",
        "partitions": split.rule,
        "level": f"{level}.",
        "power": f"{decided} of {counted(len(audit.power), 'claim')} decidable at margin {audit.margin:g} if no case flipped.",
        "flow": ", ".join(f"{name} {whole(len(ids))}" for name, ids in parts).capitalize() + ".",
        "blinding": f"The test set was read {counted(test.reads, 'time')}, after the claims were hashed.",
        "imbalance": f"Test images by class: {by_class}; classes are weighted in the loss.",
    }


def _of_model(evidence: Evidence, split: Split, plan: Mapping[str, object]) -> dict[str, str]:
    model, tried = evidence.model, evidence.recipes_on_tune
    integer = evidence.files.get("integer")
    parameters = _number(model.get("parameters"))
    return {
        "model": f"{model.get('architecture')}, {parameters} parameters, {model.get('bits')}, target {model.get('target')}.",
        "software": f"clinquant {evidence.clinquant}, {evidence.runtime}.",
        "initial": f"{model.get('weights')}.",
        "training": _training(split, plan),
        "selection": f"Recipe {model.get('recipe')}, of {whole(len(tried))} tried on the tuning set alone." if tried else "",
        "ensemble": "None: one model.",
        "availability": f"In the bundle: integer file (sha256 {integer.sha256[:16]}…), card, predictions, golden vectors."
        if integer
        else "",
        "threshold": _threshold(evidence),
        "update": "Quantization is the update; see change control.",
    }


def _of_results(evidence: Evidence) -> dict[str, str]:
    margin = ", ".join(f"{each:g}" for each in sorted({claim.margin for claim in evidence.claims}))
    metrics = dict.fromkeys(metric_name(finding.metric) for finding in evidence.findings)
    methods = dict.fromkeys(finding.method for finding in evidence.findings)
    others = (f"{pair.test.name}: {VERDICTS[pair.verdict].lower()}, {counted(pair.test.images, 'image')}" for pair in evidence.external)
    explained = counted(len(evidence.fidelity), "method")
    return {
        "aim": f"{counted(len(evidence.claims), 'claim')} that the integer file is not worse than the float file by {margin}.",
        "goal": "Non-inferiority of a compressed model against its own float version.",
        "metrics": f"{', '.join(metrics)}; margin {margin}.",
        "statistics": f"{'; '.join(methods)}; 95%, unit: {evidence.test.unit}.",
        "robustness": _robustness(evidence),
        "explanations": f"{explained} compared between the files, beside a noise floor and a control." if evidence.fidelity else "",
        "performance": _performance(evidence),
        "external": "; ".join(others),
        "failures": f"{counted(len(evidence.flips), 'test case')} decided differently, each listed. {worst(evidence)}",
        "limits": f"{counted(len(evidence.not_shown), 'sentence')} under “What was not shown”.",
        "protocol": f"Claims and margins, sha256 {evidence.claims_sha256[:16]}…, written before the test set was read.",
        "indeterminate": _indeterminate(evidence),
        "fairness": worst(evidence),
        "tabulation": "Confusion tables of both files, under Performance.",
    }


def _number(value: object) -> str:
    return whole(value) if isinstance(value, int) else "an unknown number of"


def _training(split: Split, plan: Mapping[str, object]) -> str:
    options = plan.get("options")
    seed = options.get("seed") if isinstance(options, Mapping) else plan.get("seed")
    epochs = f", at most {plan['epochs']} epochs" if plan.get("epochs") else ""
    return f"AdamW with warm-up and cosine decay{epochs}, the best epoch on {counted(len(split.tune), 'tuning image')}; seed {seed}."


def _robustness(evidence: Evidence) -> str:
    if not evidence.corruptions:
        return ""
    found = [(row.words.lower(), finding) for row in evidence.corruptions for finding in row.findings if finding.metric == "accuracy"]
    where, least = min(found, key=lambda pair: pair[1].difference or 0.0)
    tried = counted(len(evidence.corruptions), "corruption")
    return f"{tried}, both files on the same pixels; greatest change of accuracy {signed(least.difference)} ({where})."


def _performance(evidence: Evidence) -> str:
    return "; ".join(_finding(finding) for finding in evidence.findings if finding.role == "primary")


def _finding(finding: Finding) -> str:
    about = f" of {finding.class_name}" if finding.class_name else ""
    return (
        f"{metric_name(finding.metric)}{about} {rate(finding.baseline)} float, {rate(finding.candidate)} integer "
        f"(difference {signed(finding.lower)} to {signed(finding.upper)})"
    )


def _threshold(evidence: Evidence) -> str:
    point = evidence.operating_points.get("integer")
    if point is None or point.threshold is None:
        return "Probabilities of all classes; the highest decides."
    return f"P(positive) of {rate(point.threshold)} or more, by the rule {point.rule} on the tuning set, frozen before the test."


def _indeterminate(evidence: Evidence) -> str:
    parts = []
    if evidence.referral.get("integer") is not None and evidence.referral["integer"].below is not None:
        parts.append(f"{percent(evidence.referral['integer'].referred)} of test cases are referred to a person")
    if evidence.scope is not None:
        parts.append(f"{percent(evidence.scope.inside)} are said to be out of scope")
    return "; ".join(parts) + ("." if parts else "")
