"""Reporting checklists: the items that this run answers itself, with the number, and those that only a person can fill in.

CLAIM 2024 (Tejani et al. 2024, Radiol Artif Intell 6:e240300), STARD-AI (Sounderajah et al. 2025, Nat Med 31:3283, table 2) and TRIPOD+AI
(Collins et al. 2024, BMJ 385:e078378), each by its own numbers. The topics are in our own words; the guidelines themselves say what each
item asks. An item that the run answers in part says what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clinquant.data.audit import Audit
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.evidence.claims import Finding
from clinquant.evidence.evidence import Evidence
from clinquant.evidence.summary import before_reading
from clinquant.report.sections.grid import Grid
from clinquant.report.sections.stress import worst
from clinquant.report.wording import VERDICTS, counted, metric_name, percent, rate, signed, whole


class Item(NamedTuple):
    """One item of a guideline: its number, topic, the fact that answers it (None: a person must), and what the fact leaves to a person."""

    number: str
    topic: str
    fact: str | None = None
    left: str = ""


CLAIM: tuple[Item, ...] = (
    Item("1", "title"),
    Item("2", "abstract"),
    Item("3", "background and clinical role"),
    Item("4", "aims and hypotheses", "aim"),
    Item("5", "prospective or retrospective"),
    Item("6", "study goal", "goal"),
    Item("7", "data sources", "source", "dates, places, links"),
    Item("8", "inclusion and exclusion"),
    Item("9", "preprocessing", "preprocessing"),
    Item("10", "selection of data subsets", "dropped"),
    Item("11", "de-identification"),
    Item("12", "missing data", "missing"),
    Item("13", "image acquisition"),
    Item("14", "reference standard"),
    Item("15", "rationale for it"),
    Item("16", "source of annotations"),
    Item("17", "annotation of the test set"),
    Item("18", "variability between raters"),
    Item("19", "assignment to partitions", "partitions"),
    Item("20", "level at which partitions are disjoint", "level"),
    Item("21", "sample size", "power"),
    Item("22", "model", "model"),
    Item("23", "software", "software"),
    Item("24", "initial parameters", "initial"),
    Item("25", "training", "training"),
    Item("26", "selection of the final model", "selection"),
    Item("27", "ensembling", "ensemble"),
    Item("28", "metrics", "metrics", "published models"),
    Item("29", "uncertainty and significance", "statistics"),
    Item("30", "robustness", "robustness"),
    Item("31", "explainability", "explanations"),
    Item("32", "internal evaluation", "performance"),
    Item("33", "external testing", "external"),
    Item("34", "trial registration"),
    Item("35", "flow of cases", "flow", "a diagram"),
    Item("36", "characteristics of the cases", "characteristics", "demographic and clinical ones"),
    Item("37", "performance, by subgroup", "subgroups"),
    Item("38", "estimates and their precision", "performance"),
    Item("39", "failure analysis", "failures", "why they fail"),
    Item("40", "limitations", "limits", "those of the data"),
    Item("41", "implications for practice"),
    Item("42", "full protocol", "protocol", "the study's own"),
    Item("43", "availability of software, model, data", "availability", "access to the data"),
    Item("44", "funding"),
)

STARD: tuple[Item, ...] = (
    Item("1", "title"),
    Item("2", "abstract"),
    Item("3", "background, intended use, workflow"),
    Item("4", "objectives", "aim"),
    Item("5", "prospective or retrospective"),
    Item("6", "ethics approval"),
    Item("7", "inclusion and exclusion, of participants and of data", "dropped", "criteria for participants"),
    Item("8", "how participants were identified"),
    Item("9", "setting and dates"),
    Item("10", "consecutive, random or convenience"),
    Item("11", "source of the data", "source", "why they were collected"),
    Item("12", "annotation of the data"),
    Item("13", "devices and software", "software", "devices that took the images"),
    Item("14", "acquisition and preprocessing", "preprocessing", "acquisition"),
    Item("15a", "index test", "model"),
    Item("15b", "its development, with sample sizes", "development"),
    Item("15c", "its cut-offs", "threshold"),
    Item("15d", "its users"),
    Item("16a", "reference standard"),
    Item("16b", "rationale for it"),
    Item("16c", "its cut-offs"),
    Item("17a", "what the index test knew", "blinding"),
    Item("17b", "what assessors of the reference standard knew"),
    Item("18", "methods of estimating and comparing accuracy", "statistics"),
    Item("19", "indeterminate results", "indeterminate", "those of the reference standard"),
    Item("20", "missing data", "missing"),
    Item("21", "variability of accuracy", "variability"),
    Item("22", "sample size", "power", "how it was meant"),
    Item("23", "errors, bias and fairness", "subgroups"),
    Item("24", "flow of participants", "flow", "a diagram"),
    Item("25", "characteristics of each partition", "characteristics", "demographic, clinical and technical ones"),
    Item("26a", "severity of disease"),
    Item("26b", "alternative diagnoses"),
    Item("27", "interval between the tests"),
    Item("28", "whether the data represent the intended population"),
    Item("29", "how external data differ", "external", "how they differ"),
    Item("30", "cross tabulation", "tabulation"),
    Item("31", "estimates and their precision", "performance"),
    Item("32", "adverse events"),
    Item("33", "limitations", "limits", "sources of bias"),
    Item("34", "implications for practice"),
    Item("35", "ethics and fairness of the use"),
    Item("36", "registration"),
    Item("37", "protocol", "protocol", "where the study's own is"),
    Item("38", "funding"),
    Item("39", "commercial interests"),
    Item("40a", "availability of data and code", "availability", "access to the data"),
    Item("40b", "outputs that can be audited", "auditable"),
)

TRIPOD: tuple[Item, ...] = (
    Item("1", "title"),
    Item("2", "abstract"),
    Item("3a", "healthcare context"),
    Item("3b", "target population, purpose, users"),
    Item("3c", "known inequalities"),
    Item("4", "objectives", "aim"),
    Item("5a", "sources of data", "source", "rationale and representativeness"),
    Item("5b", "dates"),
    Item("6a", "setting"),
    Item("6b", "eligibility"),
    Item("6c", "treatments"),
    Item("7", "data preparation", "preprocessing", "quality checks by group of patients"),
    Item("8a", "outcome"),
    Item("8b", "its assessors"),
    Item("8c", "their blinding"),
    Item("9a", "choice of predictors", "predictors"),
    Item("9b", "predictors", "predictors", "how and when images were taken"),
    Item("9c", "assessors of predictors", "predictors"),
    Item("10", "sample size", "power", "why this size"),
    Item("11", "missing data", "missing"),
    Item("12a", "use of the data", "partitions"),
    Item("12b", "handling of predictors", "preprocessing"),
    Item("12c", "type of model and its building", "training"),
    Item("12d", "heterogeneity across clusters", "heterogeneity"),
    Item("12e", "measures of performance", "metrics"),
    Item("12f", "updating after evaluation", "update"),
    Item("12g", "how predictions were calculated", "predicted"),
    Item("13", "class imbalance", "imbalance"),
    Item("14", "approaches to fairness", "fairness", "the rationale"),
    Item("15", "model output and thresholds", "threshold"),
    Item("16", "development against evaluation data", "external", "how they differ"),
    Item("17", "ethical approval"),
    Item("18a", "funding"),
    Item("18b", "conflicts of interest"),
    Item("18c", "protocol", "protocol", "where the study's own is"),
    Item("18d", "registration"),
    Item("18e", "availability of data"),
    Item("18f", "availability of code", "software"),
    Item("19", "patient and public involvement"),
    Item("20a", "flow of participants", "flow"),
    Item("20b", "characteristics", "characteristics", "demographic and clinical ones"),
    Item("20c", "evaluation against development data", "characteristics", "demographics and predictors"),
    Item("21", "numbers in each analysis", "development"),
    Item("22", "the full model", "availability"),
    Item("23a", "performance, with intervals", "performance"),
    Item("23b", "heterogeneity of performance", "heterogeneity"),
    Item("24", "model updating", "update"),
    Item("25", "interpretation"),
    Item("26", "limitations", "limits", "their effect on bias"),
    Item("27a", "poor or missing input", "indeterminate"),
    Item("27b", "users and their expertise"),
    Item("27c", "next steps"),
)

GUIDELINES = {"CLAIM 2024": CLAIM, "STARD-AI": STARD, "TRIPOD+AI": TRIPOD}


MOST_TABULATED = 3
"""Classes whose confusion table is written out as a sentence."""


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """One guideline: how many items are answered, in part among them, the answers, and the topics that a person must fill in."""

    name: str
    grid: Grid
    answered: int
    in_part: int
    total: int
    by_person: str


def checklists(evidence: Evidence, audit: Audit, study: Study, split: Split, plan: Mapping[str, object]) -> tuple[Checklist, ...]:
    """Every guideline, each item answered by a fact of this run or left to a person."""
    known = {name: text for name, text in facts(evidence, audit, study, split, plan).items() if text}
    return tuple(_checklist(name, items, known) for name, items in GUIDELINES.items())


def _checklist(name: str, items: tuple[Item, ...], known: Mapping[str, str]) -> Checklist:
    answered = [item for item in items if item.fact in known]
    left = [f"{item.number} {item.topic}" for item in items if item.fact not in known]
    grid = Grid(
        caption=f"{name}: what this run answers.",
        columns=("Item", "Topic", "Answer", "Left to a person"),
        rows=tuple((item.number, item.topic, known[item.fact or ""], item.left) for item in answered),
        texts=(1, 2, 3),
    )
    in_part = sum(bool(item.left) for item in answered)
    return Checklist(name=name, grid=grid, answered=len(answered), in_part=in_part, total=len(items), by_person="; ".join(left))


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
        "source": f"{study.name}, {counted(len(study), 'image')}, licence: {study.licence}.",
        "preprocessing": f"Resized inside the file to {evidence.model.get('size')} pixels (bilinear, antialiased); see the card.",
        "predictors": "The pixels alone; no other variable enters.",
        "dropped": f"{counted(len(split.dropped), 'image')} left out as copies or leaks, each with its reason in split.json.",
        "missing": f"{counted(len(study.broken), 'unreadable image')} left out; a case without a label is refused.",
        "partitions": split.rule,
        "level": f"{level}.",
        "power": f"{decided} of {counted(len(audit.power), 'claim')} decidable at margin {audit.margin:g} if no case flipped.",
        "flow": ", ".join(f"{name} {whole(len(ids))}" for name, ids in parts).capitalize() + ".",
        "blinding": "The pixels alone: no clinical information and no label reaches the file.",
        "imbalance": f"Test images by class: {by_class}; the loss weights a class by the inverse square root of its share, and the "
        "temperature is fitted on tuning images without weights.",
        "characteristics": "; ".join(f"{name}: {_by_class(study, ids)}" for name, ids in parts[:3]) + ".",
    }


def _by_class(study: Study, ids: Sequence[str]) -> str:
    """Images and, where patients are given, patients; images by class."""
    chosen = set(ids)
    cases = [case for case in study.cases if case.id in chosen]
    patients = {case.group for case in cases if case.group}
    counts = [sum(case.label == label for case in cases) for label in range(len(study.classes))]
    classes = ", ".join(f"{name} {whole(count)}" for name, count in zip(study.classes, counts, strict=True))
    of = f" of {counted(len(patients), 'patient')}" if patients else ""
    return f"{counted(len(cases), 'image')}{of} ({classes})"


def _of_model(evidence: Evidence, split: Split, plan: Mapping[str, object]) -> dict[str, str]:
    model, tried = evidence.model, evidence.recipes_on_tune
    integer = evidence.files.get("integer")
    parameters = _number(model.get("parameters"))
    fitted = "Temperature and referral" if evidence.positive is None else "Threshold, temperature and referral"
    parts = (("training", split.train), ("tuning", split.tune), ("test", split.test))
    sizes = ", ".join(f"{name} {whole(len(ids))}" for name, ids in parts)
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
        "update": f"None after the test set was read. {fitted} of each file are fitted on tuning images alone.",
        "development": f"{_training(split, plan)} Images: {sizes}; {counted(len(evidence.external), 'external set')}.",
        "predicted": f"By the exported file itself, in a process of its own, with {evidence.runtime}; scores of every case in the bundle.",
        "auditable": "Scores of every test case, golden vectors and hashes in the bundle; 'clinquant compare BUNDLE' computes the evidence "
        "again.",
    }


def _of_results(evidence: Evidence) -> dict[str, str]:
    margin = ", ".join(f"{each:g}" for each in sorted({claim.margin for claim in evidence.claims}))
    metrics = dict.fromkeys(metric_name(finding.metric) for finding in evidence.findings)
    methods = dict.fromkeys(finding.method for finding in evidence.findings)
    others = (f"{pair.test.name}: {VERDICTS[pair.verdict].lower()}, {counted(pair.test.images, 'image')}" for pair in evidence.external)
    explained = counted(len({each.method for each in evidence.fidelity}), "method")
    return {
        "aim": f"{counted(len(evidence.claims), 'claim')} that the integer file is not worse than the float file by {margin}.",
        "goal": "Non-inferiority of a compressed model against its own float version.",
        "metrics": f"{', '.join(metrics)}; margin {margin}.",
        "statistics": f"{'; '.join(methods)}; 95%, unit: {evidence.test.unit}.",
        "robustness": _robustness(evidence),
        "explanations": _explanations(evidence, explained),
        "performance": performance(evidence),
        "external": "; ".join(others),
        "failures": f"{counted(len(evidence.flips), 'test case')} decided differently, each listed. {worst(evidence)}",
        "limits": " ".join(evidence.not_shown),
        "protocol": f"Claims and margins, sha256 {evidence.claims_sha256[:16]}…, written {before_reading(evidence.test.reads)}.",
        "indeterminate": _indeterminate(evidence),
        "subgroups": worst(evidence),
        "variability": _variability(evidence),
        "heterogeneity": worst(evidence) if any(row.covariate == "site" for row in evidence.subgroups) else "",
        "fairness": "None beyond the weights of classes.",
        "tabulation": _tabulation(evidence),
    }


def _explanations(evidence: Evidence, explained: str) -> str:
    found = [each for each in evidence.fidelity if each.metric == "spearman"]
    if not found:
        return ""
    distances = ", ".join(f"{each.method.replace('_', ' ')} {1 - each.distance.value:.3f}" for each in found)
    floor = "a noise floor and a control" if found[0].floor else "a control; no noise floor"
    return f"{explained} compared between the files on {counted(found[0].images, 'image')}, beside {floor}: rank correlation {distances}."


def _variability(evidence: Evidence) -> str:
    looked = list(dict.fromkeys(row.covariate for row in evidence.subgroups))
    if not looked:
        return ""
    more = f", and {counted(len(evidence.corruptions), 'corruption')}" if evidence.corruptions else ""
    return f"Prespecified: by {', '.join(looked)}{more}. {worst(evidence)}"


def _tabulation(evidence: Evidence) -> str:
    if len(evidence.classes) > MOST_TABULATED:
        return "Confusion tables of both files, under Performance."
    rows = evidence.confusion.get("integer", ())
    cells = (
        f"of {name} {', '.join(f'{whole(count)} as {decided}' for count, decided in zip(row, evidence.classes, strict=True))}"
        for name, row in zip(evidence.classes, rows, strict=True)
    )
    return f"The integer file decides {'; '.join(cells)}."


def _number(value: object) -> str:
    return whole(value) if isinstance(value, int) else "an unknown number of"


TAUGHT = {"saliency_guided": "saliency-guided", "teacher": "distilled from another run"}
"""Options of training that a reader must know of."""


def _training(split: Split, plan: Mapping[str, object]) -> str:
    options = plan.get("options")
    seed = options.get("seed") if isinstance(options, Mapping) else plan.get("seed")
    guided = isinstance(options, Mapping) and [words for name, words in TAUGHT.items() if options.get(name)]
    taught = f"; {', '.join(guided)}" if guided else ""
    epochs = f", at most {plan['epochs']} epochs" if plan.get("epochs") else ""
    return (
        f"AdamW with warm-up and cosine decay{epochs}, the best epoch on {counted(len(split.tune), 'tuning image')}{taught}; seed {seed}."
    )


def _robustness(evidence: Evidence) -> str:
    if not evidence.corruptions:
        return ""
    found = [(row.words.lower(), finding) for row in evidence.corruptions for finding in row.findings if finding.metric == "accuracy"]
    where, least = min(found, key=lambda pair: pair[1].difference or 0.0)
    tried = f"{counted(len(evidence.corruptions), 'corruption')}, both files on the same pixels"
    if (least.difference or 0.0) >= 0:
        return f"{tried}; the integer file is not less accurate than the float file on any."
    return f"{tried}; the greatest loss of accuracy against the float file is {signed(least.difference)} ({where})."


def performance(evidence: Evidence) -> str:
    """Every primary claim, and sensitivity and specificity at own thresholds, with both values and the interval of the difference."""
    return "; ".join(_finding(finding) for finding in evidence.findings if finding.role == "primary" or finding.threshold == "own")


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
