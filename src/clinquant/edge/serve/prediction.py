"""What the server answers, as data: one prediction, and the model that makes them."""

from __future__ import annotations

from dataclasses import dataclass

from clinquant.core.card import Card
from clinquant.edge.answer import Answer
from clinquant.edge.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model says of one image.

    Attributes:
        answer: as `clinquant predict --json` gives it; its `image` is the hex sha256 of the bytes that were sent.
        model_sha256: of the model file that answered.
        runtime: name and version.
        limits: the research-use notice.
    """

    answer: Answer
    model_sha256: str
    runtime: str
    limits: str


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What the model was proven to do.

    Attributes:
        verdict: of the integer file against its float baseline.
        summary: the same in words.
        test: name of the locked test set.
        images, units: how many it has; `unit` says what a unit is (a patient).
        not_shown: what the evidence says nothing about.
    """

    verdict: str
    summary: str
    test: str
    images: int
    units: int
    unit: str
    not_shown: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Model:
    """The bundle that answers.

    Attributes:
        model_sha256: of the model file.
        manifest_sha256: one number for the whole bundle; compare it with the one published.
        bundle_version: rises with every bundle that replaces another.
        created: date and time of packing, UTC, ISO 8601.
        runtime: name and version.
        card: what the model needs and decides.
        evidence: what was measured on this very file.
    """

    model_sha256: str
    manifest_sha256: str
    bundle_version: int
    created: str
    runtime: str
    card: Card
    evidence: Tested


def model_sha256(bundle: Bundle) -> str:
    """Of the bundle's model file."""
    return bundle.manifest.files["model.onnx"].sha256


def describe(bundle: Bundle, runtime: str) -> Model:
    """What `/v1/model` answers."""
    evidence, manifest = bundle.evidence, bundle.manifest
    return Model(
        model_sha256=model_sha256(bundle),
        manifest_sha256=manifest.sha256,
        bundle_version=manifest.bundle_version,
        created=manifest.created,
        runtime=runtime,
        card=bundle.card,
        evidence=Tested(
            verdict=evidence.verdict.value,
            summary=evidence.summary,
            test=evidence.test.name,
            images=evidence.test.images,
            units=evidence.test.units,
            unit=evidence.test.unit,
            not_shown=evidence.not_shown,
        ),
    )
