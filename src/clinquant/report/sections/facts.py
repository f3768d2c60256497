"""What a run knows of itself, one or two sentences a fact, as the items of the guidelines ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clinquant.data.audit import Audit
from clinquant.data.split import Split, choosing_half
from clinquant.data.study import Study
from clinquant.evidence.claims import Finding
from clinquant.evidence.evidence import Evidence
from clinquant.evidence.summary import before_reading
from clinquant.report.sections.stress import worst
from clinquant.report.wording import VERDICTS, counted, metric_name, percent, rate, signed, whole

MOST_TABULATED = 3
"""Classes whose confusion table is written out as a sentence."""

TAUGHT = {"saliency_guided": "saliency-guided", "teacher": "distilled from another run"}
"""Options of training that a reader must know of."""


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


def _training(split: Split, plan: Mapping[str, object]) -> str:
    options = plan.get("options")
    seed = options.get("seed") if isinstance(options, Mapping) else plan.get("seed")
    guided = isinstance(options, Mapping) and [words for name, words in TAUGHT.items() if options.get(name)]
    taught = f"; {', '.join(guided)}" if guided else ""
    epochs = f", at most {plan['epochs']} epochs" if plan.get("epochs") else ""
    judged = counted(len(choosing_half(split)), "tuning image")
    return f"AdamW with warm-up and cosine decay{epochs}, the best epoch on {judged}{taught}; seed {seed}."


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
