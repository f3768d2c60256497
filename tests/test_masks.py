"""Masks and boxes by the name of their picture, and pointing hits among the pictures that have one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clinquant.core.errors import ClinquantError
from clinquant.data.masks import read_masks
from clinquant.evidence.fidelity import Explained, pointing

SIZE = (40, 20)


def painted(path: Path, left: int, top: int, right: int, bottom: int, level: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((20, 40), np.uint8)
    mask[top:bottom, left:right] = level
    Image.fromarray(mask).save(path)


def test_several_masks_of_a_picture_beside_the_pictures_are_laid_over_one_another(tmp_path: Path) -> None:
    """As the breast ultrasound set has them: `malignant (1).png`, `malignant (1)_mask.png`, `malignant (1)_mask_1.png`."""
    painted(tmp_path / "malignant/malignant (1).png", 0, 0, 40, 20)  # the picture itself is no mask
    painted(tmp_path / "malignant/malignant (1)_mask.png", 0, 0, 20, 10, level=1)
    painted(tmp_path / "malignant/malignant (1)_mask_1.png", 20, 10, 40, 20)
    painted(tmp_path / "normal/normal (1)_mask.png", 0, 0, 0, 0)
    masks = read_masks(tmp_path)
    found = masks.of("malignant/malignant (1).png", SIZE, 8)
    assert found is not None and np.array_equal(found, np.kron(np.eye(2, dtype=bool), np.ones((4, 4), bool)))
    assert masks.of("normal/normal (1).png", SIZE, 8) is None and masks.knows("normal/normal (1).png")
    assert not masks.knows("benign/benign (1).png")


def test_names_that_two_classes_share_need_the_folder(tmp_path: Path) -> None:
    painted(tmp_path / "flat/0.png", 0, 0, 20, 20)
    painted(tmp_path / "deep/ill/0.png", 20, 0, 40, 20)
    flat, deep = read_masks(tmp_path / "flat"), read_masks(tmp_path / "deep")
    assert flat.of("ill/0.png", SIZE, 4, alone=False) is None and flat.of("ill/0.png", SIZE, 4) is not None
    found = deep.of("ill/0.png", SIZE, 4, alone=False)
    assert found is not None and found[:, 2:].all() and not found[:, :2].any()
    assert deep.of("well/0.png", SIZE, 4, alone=False) is None


def test_a_finding_smaller_than_a_position_is_kept(tmp_path: Path) -> None:
    painted(tmp_path / "a.png", 31, 3, 32, 4)
    found = read_masks(tmp_path).of("x/a.jpg", SIZE, 4)
    assert found is not None and np.argwhere(found).tolist() == [[0, 3]]


def test_boxes_are_in_pixels_of_the_stored_picture(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("filename,x,y,width,height\nill/a.png,20,0,20,10\nill/a.png,0,10,10,10\n")
    masks = read_masks(tmp_path / "boxes.csv")
    found = masks.of("ill/a.png", SIZE, 4)
    assert found is not None
    assert found.astype(int).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("name", "lines", "code"),
    [
        ("b.csv", "path,x,y,width\na,1,2,3\n", "csv-column"),
        ("b.csv", "path,x,y,width,height\na,1,2,3,wide\n", "csv-value"),
        ("b.txt", "", "masks-missing"),
    ],
)
def test_what_is_neither_mask_nor_box_is_refused(tmp_path: Path, name: str, lines: str, code: str) -> None:
    (tmp_path / name).write_text(lines)
    with pytest.raises(ClinquantError) as caught:
        read_masks(tmp_path / name)
    assert caught.value.code == code


def peaks(columns: list[int]) -> Explained:
    """Maps 4 x 4 whose greatest position is in the first row and that column."""
    maps = np.zeros((len(columns), 4, 4))
    maps[np.arange(len(columns)), 0, columns] = 1.0
    return Explained(maps=maps, values={})


def test_pointing_hits_count_images_with_a_finding_alone() -> None:
    left = np.zeros((4, 4), np.bool_)
    left[:, :1] = True
    masks = [left if row % 2 else None for row in range(60)]
    sharp = peaks([0] * 60)
    blunt = peaks([0 if row % 4 == 1 else 3 for row in range(60)])  # half of those with a finding
    groups = [f"p{row}" for row in range(60)]
    (found,) = pointing("class_map", {"float": sharp, "integer": blunt, "random": peaks([3] * 60)}, masks, groups)
    assert (found.metric, found.images, found.units, found.chance) == ("pointing", 30, 30, 0.25)
    assert (found.baseline, found.candidate, found.distance.value) == (1.0, 0.5, 0.5)
    assert found.difference is not None and found.difference.upper < 0 and found.floor is None
    assert found.control is not None and found.control.value == 1.0
    assert pointing("class_map", {"float": sharp, "integer": blunt}, [None] * 60, groups) == ()


def test_a_floor_that_hardly_ever_moves_gives_no_fraction() -> None:
    whole = np.ones((4, 4), np.bool_)
    whole[0, 3] = False
    networks = {"float": peaks([0] * 40), "integer": peaks([0] * 39 + [3]), "other seed": peaks([3] + [0] * 39)}
    (found,) = pointing("gradient", networks, [whole] * 40, [str(row) for row in range(40)])
    assert found.floor is not None and found.floor.value == pytest.approx(1 / 40) and found.fraction is None
