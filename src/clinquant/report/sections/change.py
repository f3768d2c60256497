"""Change control: the modification, the protocol it was judged by, and its impact.

In the three parts of a predetermined change control plan (FDA 2024, Marketing Submission Recommendations for a Predetermined Change Control
Plan for Artificial Intelligence-Enabled Device Software Functions). It has the shape of one; whether it serves as one is for a regulator.
"""

from __future__ import annotations

from collections.abc import Sequence

from clinquant.data.split import Split
from clinquant.evidence.claims import Claim
from clinquant.evidence.evidence import FILES, Evidence
from clinquant.evidence.summary import before_reading
from clinquant.report.sections.facts import performance
from clinquant.report.sections.provenance import Row
from clinquant.report.sections.stress import worst
from clinquant.report.wording import VERDICTS, byte_size, counted, metric_name, milliseconds, percent, rate, significant


def change(evidence: Evidence, split: Split) -> tuple[tuple[str, tuple[Row, ...]], ...]:
    """(title of the part, its rows): what was modified, the protocol, the impact."""
    parts = (
        ("What was modified", _modification(evidence)),
        ("The protocol", _protocol(evidence, split)),
        ("The impact", _impact(evidence)),
    )
    return tuple((title, tuple((name, text, False) for name, text in rows if text)) for title, rows in parts)


def _modification(evidence: Evidence) -> Sequence[tuple[str, str]]:
    model = evidence.model
    recipe = f", recipe {model['recipe']}" if model.get("recipe") else ""
    return (
        (
            "Modified",
            f"The arithmetic of {model.get('architecture')}: float32 becomes {model.get('bits')}{recipe}, for {model.get('target')}.",
        ),
        ("Derived anew, on tuning data alone", _derived(evidence)),
        ("Not modified", "Architecture, classes, preprocessing, training data, and the rule by which the threshold is chosen."),
    )


def _derived(evidence: Evidence) -> str:
    both = [(evidence.operating_points.get(file), evidence.reliability.get(file)) for file in FILES]
    parts = [f"temperature {' → '.join(f'{trust.temperature:.3f}' for _, trust in both if trust)}"]
    if all(point is not None and point.threshold is not None for point, _ in both):
        parts.insert(0, f"threshold {' → '.join(rate(point.threshold) for point, _ in both if point)}")
    if all(evidence.referral.get(file) and evidence.referral[file].below is not None for file in FILES):
        parts.append(f"referral below {' → '.join(rate(evidence.referral[file].below) for file in FILES)}")
    return "; ".join(parts) + "."


def _protocol(evidence: Evidence, split: Split) -> Sequence[tuple[str, str]]:
    primary = [claim for claim in evidence.claims if claim.role == "primary"]
    return (
        ("Data", f"{split.rule} Test set sha256 {evidence.test.sha256}."),
        ("Acceptance", f"Every one of: {', '.join(_claim(claim) for claim in primary)}." if primary else "No primary claim."),
        ("Fixed beforehand", f"Claims and margins, sha256 {evidence.claims_sha256}, {before_reading(evidence.test.reads)}."),
        ("Test set read", f"{counted(evidence.test.reads, 'time')} on this account."),
        (
            "How it is carried out",
            "A bundle whose every file is hashed; 'clinquant verify' refuses a changed one and replays golden vectors.",
        ),
        ("How it is undone", "The bundle names the one before it by hash; that one is kept and opened again."),
    )


def _claim(claim: Claim) -> str:
    about = f" of {claim.class_name}" if claim.class_name else ""
    return f"{metric_name(claim.metric)}{about} not lower by {claim.margin:g} or more ({claim.confidence:.0%} interval)"


def _impact(evidence: Evidence) -> Sequence[tuple[str, str]]:
    return (
        ("Outcome", f"{VERDICTS[evidence.verdict]} on {counted(evidence.test.images, 'image')}: {performance(evidence)}."),
        ("Benefit", _benefit(evidence)),
        ("Risk", _risk(evidence)),
        ("What holds it", _held(evidence)),
        ("What remains", f"{counted(len(evidence.not_shown), 'sentence')} under “What was not shown”; clinical validation by a person."),
    )


def _benefit(evidence: Evidence) -> str:
    parts = []
    if {"float", "integer"} <= evidence.files.keys():
        before, after = evidence.files["float"].bytes, evidence.files["integer"].bytes
        parts.append(f"{byte_size(before)} → {byte_size(after)} (× {significant(after / before)})")
    if {"float", "integer"} <= evidence.latency.keys():
        slow, fast = evidence.latency["float"].median_ms, evidence.latency["integer"].median_ms
        parts.append(f"{milliseconds(slow)} → {milliseconds(fast)} an image (× {significant(fast / slow)})")
    return "; ".join(parts) + ("." if parts else "")


def _risk(evidence: Evidence) -> str:
    lost = sum(flip.baseline == flip.label for flip in evidence.flips)
    smallest = [f.shown["smallest_margin"] for f in evidence.findings if f.role == "primary" and f.shown and "smallest_margin" in f.shown]
    bound = f" A loss of {max(smallest):.3f} on a primary claim is not ruled out." if smallest else ""
    return (
        f"{counted(lost, 'test case')} lost of {counted(len(evidence.flips), 'case')} decided differently.{bound} {worst(evidence)}".strip()
    )


def _held(evidence: Evidence) -> str:
    parts = []
    if evidence.referral.get("integer") and evidence.referral["integer"].below is not None:
        parts.append(f"{percent(evidence.referral['integer'].referred)} of cases are referred to a person")
    if evidence.scope is not None:
        parts.append("pictures out of scope get no class")
    if evidence.conformal.get("integer"):
        parts.append("prediction sets name every class that may be meant")
    return "; ".join(parts) + ("." if parts else "")
