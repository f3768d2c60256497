"""A bundle is refused on any changed, missing or extra byte, and replays its golden vectors bit for bit."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from clinquant.core.artifact import sha256_file, write_json
from clinquant.core.errors import ClinquantError, Exit
from clinquant.edge.bundle import open_bundle
from clinquant.edge.kept import ExternalTables, Kept, read_kept, write_kept
from clinquant.edge.recompute import recompute
from clinquant.edge.verify import verify
from clinquant.evidence.claims import Verdict
from tiny_bundle import CLASSES, predictions, reseal, write_bundle, write_model


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("packed")).path


@pytest.fixture
def bundle(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "bundle"))


def refused(bundle: Path, *, replay: bool = False) -> str:
    with pytest.raises(ClinquantError) as caught:
        verify(bundle, replay=replay)
    assert caught.value.exit_code is Exit.REFUSED
    return caught.value.code


def test_an_untouched_bundle_is_accepted(bundle: Path) -> None:
    manifest = verify(bundle)
    assert manifest.bundle_version == 1 and manifest.previous is None
    assert manifest.sha256 == sha256_file(bundle / "manifest.json")
    assert open_bundle(bundle).evidence.classes == CLASSES


def test_any_one_byte_changed_is_refused(bundle: Path) -> None:
    random = np.random.default_rng(0)
    files = [path for path in sorted(bundle.rglob("*")) if path.is_file()]
    assert len(files) == 9
    for path in files:
        good = path.read_bytes()
        places = {0, len(good) - 1, *random.integers(0, len(good), 40).tolist()}
        for place in places if path.name != "manifest.json" else range(len(good)):
            bad = bytearray(good)
            bad[place] ^= 1 << int(random.integers(8))
            path.write_bytes(bad)
            assert refused(bundle) == "bundle-changed", (path, place)
        path.write_bytes(good)
    verify(bundle)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "LICENCES/data.txt", "README.md"])
def test_a_missing_file_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert refused(bundle) == "bundle-missing"


def test_a_run_or_a_file_in_a_bundles_place_is_told_from_a_bundle(bundle: Path, tmp_path: Path) -> None:
    def said(place: Path) -> str:
        with pytest.raises(ClinquantError) as caught:
            verify(place)
        assert caught.value.code == "bundle-missing" and caught.value.exit_code == 4
        return f"{caught.value.message} {caught.value.fix}"

    assert f"name {bundle}." in said(bundle.parent)
    assert "is a file" in said(bundle / "model.onnx")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "plan.json").write_text("{}")
    assert "a run without a bundle" in said(tmp_path / "run") and "clinquant pack --out" in said(tmp_path / "run")
    assert "does not exist" in said(tmp_path / "nowhere")


def test_anything_extra_is_refused(bundle: Path) -> None:
    (bundle / "notes.txt").write_text("mine")
    assert refused(bundle) == "bundle-extra"
    (bundle / "notes.txt").unlink()
    (bundle / "empty").mkdir()
    assert refused(bundle) == "bundle-extra"


def test_a_longer_or_shorter_file_is_refused(bundle: Path) -> None:
    with open(bundle / "golden.npz", "ab") as file:
        file.write(b"x")
    assert refused(bundle) == "bundle-changed"


def test_links_are_refused(bundle: Path, tmp_path: Path) -> None:
    moved = tmp_path / "model.onnx"
    shutil.move(bundle / "model.onnx", moved)
    os.symlink(moved, bundle / "model.onnx")
    assert refused(bundle) == "bundle-extra"


FORGED = ("reliability", "churn", "specificity_at", "referral", "confusion", "agreement", "verdict", "summary", "test", "claims_sha256")


@pytest.mark.parametrize("name", [*FORGED, "claims", "subgroups"])
def test_every_figure_of_the_evidence_is_recomputed(bundle: Path, name: str) -> None:
    """The control: one number of each kind, changed in the third digit."""
    evidence = open_bundle(bundle).evidence
    dearer = {
        "reliability": {**evidence.reliability, "integer": dataclasses.replace(evidence.reliability["integer"], ece=0.001)},
        "churn": {**evidence.churn, "class": tuple(dataclasses.replace(row, lost=row.lost + 1) for row in evidence.churn["class"])},
        "specificity_at": tuple(dataclasses.replace(row, candidate=0.999) for row in evidence.specificity_at),
        "referral": {**evidence.referral, "integer": dataclasses.replace(evidence.referral["integer"], error=0.001)},
        "confusion": {**evidence.confusion, "integer": ((20, 0), (0, 20))},
        "verdict": next(verdict for verdict in Verdict if verdict != evidence.verdict),
        "summary": "NON_INFERIOR: all is well.",
        "test": dataclasses.replace(evidence.test, images=400),
        "claims_sha256": "1" * 64,
        "claims": tuple(dataclasses.replace(claim, confidence=0.9501) for claim in evidence.claims),
        "agreement": 0.5,
        "subgroups": tuple(dataclasses.replace(row, p_holm=0.5) for row in evidence.subgroups),
    }
    write_json(bundle / "evidence.json", dataclasses.replace(evidence, **{name: dearer[name]}), kind="evidence")
    reseal(bundle)
    with pytest.raises(ClinquantError, match=rf"evidence-differs.*{name.removesuffix('s')}" if name != "claims" else "evidence-differs"):
        recompute(open_bundle(bundle))


def test_a_card_that_decides_otherwise_than_the_evidence_says_is_found_out(bundle: Path) -> None:
    card = dataclasses.replace(open_bundle(bundle).card, threshold=0.4)
    write_json(bundle / "card.json", card, kind="card")
    reseal(bundle)
    with pytest.raises(ClinquantError, match=r"evidence-differs.*card"):
        recompute(open_bundle(bundle))


def test_kept_tables_read_back_as_they_were(tmp_path: Path) -> None:
    covariates = {"sex": {"a, 1": "F", "b": "M"}, "age": {"b": "under 40"}}
    distances = {"test": {"a, 1": 0.1 + 0.2, "b": 1e-300}, "corrupted noise": {"b": 7.25}}
    model = write_model(tmp_path / "m.onnx")
    scores = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)
    tables = {"float": predictions(model, scores), "integer": predictions(model, -scores)}
    kept = Kept(covariates=covariates, distances=distances, corrupted={"blur": tables}, external=(ExternalTables(tables=tables),) * 11)
    write_kept(tmp_path / "kept", kept)
    found = read_kept(tmp_path / "kept")
    assert found.covariates == covariates and found.distances == distances and len(found.external) == 11
    assert np.array_equal(found.corrupted["blur"]["integer"].scores, -scores)
    assert read_kept(tmp_path / "nothing") == Kept()
    (tmp_path / "kept/scope.csv").write_text("pictures,id,distance\ntest,a,near\n")
    with pytest.raises(ClinquantError, match="predictions-broken"):
        read_kept(tmp_path / "kept")
