"""`build --noise-floor` and `explain` on a build of a second: what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clinquant.core.artifact import read_json
from clinquant.core.errors import ClinquantError
from clinquant.evidence.evidence import Evidence
from clinquant.lab.build import build
from clinquant.lab.explain_images import explain_images
from clinquant.lab.options import BuildOptions
from clinquant.report.side_by_side import Explanations
from test_few_cases import noise

TINY = {"arch": "resnet20", "size": 16, "epochs": 1}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(images, the run): explained, with a noise floor."""
    folder = tmp_path_factory.mktemp("explained")
    data = noise(folder / "data", {"healthy": 30, "ill": 30})
    build(BuildOptions(data=str(data), noise_floor=True, **TINY), folder / "run")  # type: ignore[arg-type]
    return data, folder / "run"


def test_evidence_and_report_hold_the_fidelity_beside_floor_and_control(built: tuple[Path, Path]) -> None:
    _, run = built
    found = read_json(run / "evidence.json", Evidence, kind="evidence")
    assert {each.method for each in found.fidelity} == {"class_map", "gradient"}
    assert {each.metric for each in found.fidelity} == {"spearman", "ssim", "top_iou", "insertion", "deletion", "gini"}
    for each in found.fidelity:
        assert each.floor is not None and each.control is not None and each.images == 12
        assert each.distance.lower <= each.distance.value <= each.distance.upper
    page = (run / "report.html").read_text()
    assert 'id="explanations"' in page and "Share of the floor" in page and page.count("Class map of the float file") == 6
    assert not any("--noise-floor" in sentence for sentence in found.not_shown)


def test_without_a_floor_the_report_says_what_is_missing(built: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = built
    masks = tmp_path / "masks" / "ill"
    masks.mkdir(parents=True)
    for path in (data / "ill").iterdir():
        Image.fromarray(np.tri(24, dtype=np.uint8)).save(masks / path.name)
    evidence = build(BuildOptions(data=str(data), explain=True, masks=str(tmp_path / "masks"), **TINY), run)  # type: ignore[arg-type]
    hits = [each for each in evidence.fidelity if each.metric == "pointing"]
    assert [each.method for each in hits] == ["class_map", "gradient"] and all(each.images == 6 for each in hits)
    assert all(each.chance == pytest.approx(0.5, abs=0.05) and each.baseline is not None for each in hits)
    assert all(each.floor is None and each.fraction is None for each in evidence.fidelity)
    assert any("--noise-floor" in sentence for sentence in evidence.not_shown)
    page = (run / "report.html").read_text()
    assert "pointing hits, 6 images with a finding" in page
    assert "Share of the floor" not in page and "no second float network" in page


def test_pictures_show_both_files_side_by_side(built: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = built
    images = [str(path) for path in sorted((data / "ill").iterdir())[:2]]
    found = explain_images(run, images, tmp_path, ("class_map", "occlusion", "gradient"), class_name="ill")
    assert read_json(tmp_path / "explanations.json", Explanations, kind="explanations") == found
    assert len(found.explanations) == 6
    for each in found.explanations:
        assert each.class_name == "ill" and set(each.files) == {"float", "integer"} and set(each.alike) == {"spearman", "ssim", "top_iou"}
        with Image.open(each.picture) as picture:
            assert picture.width == 3 * (picture.height - 16) + 2 * 6


def test_a_bundle_explains_alone(built: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = built
    image = sorted((data / "healthy").iterdir())[0]
    mask = np.zeros((24, 24), np.uint8)
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask + 255).save(tmp_path / "masks" / f"{image.stem}.png")
    found = explain_images(run / "bundle", [str(image)], tmp_path / "maps", ("rise",), masks=tmp_path / "masks").explanations[0]
    assert set(found.files) == {"integer"} and found.alike == {} and found.files["integer"].pointing == 1.0
    assert json.loads((tmp_path / "maps" / "explanations.json").read_text())["explanations"][0]["class"] == found.class_name


@pytest.mark.parametrize(
    ("place", "methods", "class_name", "code"),
    [
        ("run", ("magic",), None, "explain-method"),
        ("run", ("class_map",), "dead", "explain-class"),
        ("run/bundle", ("gradient",), None, "explain-place"),
        ("data", ("class_map",), None, "explain-place"),
    ],
)
def test_what_cannot_be_explained_says_why(
    built: tuple[Path, Path], tmp_path: Path, place: str, methods: tuple[str, ...], class_name: str | None, code: str
) -> None:
    data, run = built
    with pytest.raises(ClinquantError) as caught:
        explain_images(run.parent / place, [str(data)], tmp_path, methods, class_name=class_name)
    assert caught.value.code == code


def test_an_image_without_its_mask_is_named(built: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = built
    with pytest.raises(ClinquantError, match="no mask named") as caught:
        explain_images(run, [str(data / "ill" / "0.png")], tmp_path / "maps", masks=tmp_path)
    assert caught.value.code == "mask-missing"
