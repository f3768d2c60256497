"""A bundle is refused on any changed, missing or extra byte, and replays its golden vectors bit for bit."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinquant.core.artifact import sha256_file, write_json, write_text
from clinquant.core.errors import ClinquantError, Exit
from clinquant.edge.bundle import open_bundle, pack
from clinquant.edge.golden import golden_images, read_golden, record_golden, replay_golden, write_golden
from clinquant.edge.manifest import Entry, Manifest, is_safe, read_manifest, sealed
from clinquant.edge.paired import read_paired
from clinquant.edge.recompute import recompute
from clinquant.edge.verify import verify
from clinquant.evidence.claims import Verdict
from tiny_bundle import CLASSES, card, predictions, write_bundle, write_model


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


def reseal(bundle: Path) -> None:
    """What a forger does: makes the manifest fit the files."""
    old = read_manifest(bundle)
    files = {name: Entry(bytes=(bundle / name).stat().st_size, sha256=sha256_file(bundle / name)) for name in old.files}
    write_text(bundle / "manifest.json", sealed(dataclasses.replace(old, files=files)).text)


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


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "a//b", "./a", "a/../b", "a\\b", "C:a", ".hidden", "manifest.json", "", "a b", "a/"]
)
def test_a_manifest_that_points_outside_is_refused(bundle: Path, name: str) -> None:
    assert not is_safe(name)
    old = read_manifest(bundle)
    write_text(bundle / "manifest.json", sealed(dataclasses.replace(old, files=old.files | {name: Entry(bytes=0, sha256="0" * 64)})).text)
    assert refused(bundle) == "bundle-changed"


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": "clinquant/manifest", "version": 1}', "\x00", "[" * 5000])
def test_a_broken_manifest_is_refused(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text)
    assert refused(bundle) == "bundle-changed"


def test_a_forged_bundle_fails_its_golden_vectors(bundle: Path) -> None:
    """The control: hashes alone would accept it, so it is the replay that refuses."""
    write_model(bundle / "model.onnx", gain=0.1000001)
    reseal(bundle)
    verify(bundle, replay=False)
    assert refused(bundle, replay=True) == "bundle-golden"


def test_a_forger_cannot_leave_the_evidence_out(bundle: Path) -> None:
    old = read_manifest(bundle)
    (bundle / "evidence.json").unlink()
    kept = {name: entry for name, entry in old.files.items() if name != "evidence.json"}
    write_text(bundle / "manifest.json", sealed(dataclasses.replace(old, files=kept)).text)
    assert refused(bundle) == "bundle-missing"


@given(st.binary(max_size=200))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_other_bytes_pass_as_golden_vectors(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "golden.npz").write_bytes(data)
    with pytest.raises(ClinquantError, match="golden-broken"):
        read_golden(tmp_path / "golden.npz")


def test_golden_vectors_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx")
    golden = record_golden(model, golden_images(16))
    for name in ("a.npz", "b.npz"):
        write_golden(tmp_path / name, golden)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = read_golden(tmp_path / "a.npz")
    assert back.logits.tobytes() == golden.logits.tobytes()
    assert all(np.array_equal(a, b) for a, b in zip(back.images, golden.images, strict=True))
    assert {image.shape[:2] == (16, 16) for image in golden.images} == {True, False}
    replay_golden(model, back)


def test_predictions_read_back_bit_for_bit(packed: Path) -> None:
    tables = read_paired(packed / "predictions.csv")
    for name in ("float", "integer"):
        original = (packed.parent / f"test.{name}.csv").read_text()
        assert tables[name].to_csv() == original


def test_the_version_rises_and_names_what_it_replaces(tmp_path: Path) -> None:
    first = write_bundle(tmp_path)
    again = write_bundle(tmp_path)
    assert again.manifest == first.manifest, "the same files are not a new version"
    second = write_bundle(tmp_path, gain=0.2)
    assert (second.manifest.bundle_version, second.manifest.previous) == (2, first.manifest.sha256)
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_a_killed_pack_loses_nothing(tmp_path: Path) -> None:
    first = write_bundle(tmp_path)
    os.replace(first.path, tmp_path / ".bundle.old")
    (tmp_path / ".bundle.new").mkdir()
    (tmp_path / ".bundle.new" / "half").write_text("written")
    second = write_bundle(tmp_path, gain=0.2)
    assert second.manifest.bundle_version == 2
    verify(second.path)


def test_a_folder_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.txt").write_text("years of work")
    with pytest.raises(ClinquantError, match="bundle-foreign"):
        write_bundle(tmp_path)
    assert (tmp_path / "bundle" / "thesis.txt").exists()


def test_evidence_of_another_file_is_not_packed(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    other = write_model(tmp_path / "other.onnx", gain=0.3)
    predictions(other, np.zeros((4, 2), np.float32)).write(tmp_path / "other.csv")
    with pytest.raises(ClinquantError, match="pack-mismatch"):
        pack(
            tmp_path / "bundle2",
            model=other,
            card=card(),
            evidence=bundle.evidence,
            predictions={"float": tmp_path / "other.csv", "integer": tmp_path / "other.csv"},
            golden=record_golden(other, golden_images(16)),
            licences={},
        )
    assert not (tmp_path / "bundle2").exists()


def test_the_model_card_has_the_headings_and_the_notice(packed: Path) -> None:
    text = (packed / "README.md").read_text()
    for heading in (
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data", "Quantitative analyses",
        "Ethical considerations", "Caveats and recommendations",
    ):  # fmt: skip
        assert f"\n## {heading}\n" in text
    assert "Not for diagnosis" in text and "NON_INFERIOR" in text


def test_a_manifest_has_one_spelling(packed: Path) -> None:
    manifest: Manifest = read_manifest(packed)
    assert manifest.text == (packed / "manifest.json").read_text()
    assert sealed(manifest) == manifest


def test_the_evidence_follows_from_the_predictions_inside(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert recompute(opened) == opened.evidence.findings


def test_embellished_evidence_is_found_out(bundle: Path) -> None:
    """The control: a forger who makes the manifest fit is caught by the predictions."""
    evidence = open_bundle(bundle).evidence
    better = dataclasses.replace(evidence.findings[0], lower=-0.001, verdict=Verdict.NON_INFERIOR)
    write_json(bundle / "evidence.json", dataclasses.replace(evidence, findings=(better, *evidence.findings[1:])), kind="evidence")
    reseal(bundle)
    with pytest.raises(ClinquantError, match=r"evidence-differs.*do not believe"):
        recompute(open_bundle(bundle))


@pytest.mark.parametrize("name", ["reliability", "churn", "specificity_at", "referral", "confusion"])
def test_every_figure_of_the_evidence_is_recomputed(bundle: Path, name: str) -> None:
    """The control: one number of each kind, changed in the third digit."""
    evidence = open_bundle(bundle).evidence
    dearer = {
        "reliability": {**evidence.reliability, "integer": dataclasses.replace(evidence.reliability["integer"], ece=0.001)},
        "churn": {**evidence.churn, "class": tuple(dataclasses.replace(row, lost=row.lost + 1) for row in evidence.churn["class"])},
        "specificity_at": tuple(dataclasses.replace(row, candidate=0.999) for row in evidence.specificity_at),
        "referral": {**evidence.referral, "integer": dataclasses.replace(evidence.referral["integer"], error=0.001)},
        "confusion": {**evidence.confusion, "integer": ((20, 0), (0, 20))},
    }
    write_json(bundle / "evidence.json", dataclasses.replace(evidence, **{name: dearer[name]}), kind="evidence")
    reseal(bundle)
    with pytest.raises(ClinquantError, match=rf"evidence-differs.*{name}"):
        recompute(open_bundle(bundle))
