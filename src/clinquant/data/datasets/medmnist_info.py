"""The MedMNIST v2 table as published: class names, checksums, licences (medmnist 3.0.2, `info.py`; doi:10.5281/zenodo.10519652)."""

from __future__ import annotations

from dataclasses import dataclass

ARCHIVE = "https://zenodo.org/records/10519652/files"
"""Where the published files lie."""

ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)


@dataclass(frozen=True, kw_only=True)
class Info:
    """One 2D data set of MedMNIST v2.

    Attributes:
        classes: names in the order of the labels; empty for multi-label, which is refused.
        md5: of the 28-pixel file `<name>.npz`.
        images: number of images in train, val and test together.
        channels: 1 (grey) or 3 (RGB).
        licence: of the data.
    """

    classes: tuple[str, ...]
    md5: str
    images: int
    channels: int
    licence: str = "CC BY 4.0"


INFO = {
    "pathmnist": Info(
        classes=(
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
        md5="a8b06965200029087d5bd730944a56c1",
        images=107180,
        channels=3,
    ),
    "chestmnist": Info(classes=(), md5="02c8a6516a18b556561a56cbdd36c4a8", images=112120, channels=1),
    "dermamnist": Info(
        classes=(
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
        md5="0744692d530f8e62ec473284d019b0c7",
        images=10015,
        channels=3,
        licence="CC BY-NC 4.0",
    ),
    "octmnist": Info(
        classes=("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        md5="c68d92d5b585d8d81f7112f81e2d0842",
        images=109309,
        channels=1,
    ),
    "pneumoniamnist": Info(classes=("normal", "pneumonia"), md5="28209eda62fecd6e6a2d98b1501bb15f", images=5856, channels=1),
    "retinamnist": Info(classes=("0", "1", "2", "3", "4"), md5="bd4c0672f1bba3e3a89f0e4e876791e4", images=1600, channels=3),
    "breastmnist": Info(classes=("malignant", "normal, benign"), md5="750601b1f35ba3300ea97c75c52ff8f6", images=780, channels=1),
    "bloodmnist": Info(
        classes=(
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
        md5="7053d0359d879ad8a5505303e11de1dc",
        images=17092,
        channels=3,
    ),
    "tissuemnist": Info(
        classes=(
            "Collecting Duct, Connecting Tubule",
            "Distal Convoluted Tubule",
            "Glomerular endothelial cells",
            "Interstitial endothelial cells",
            "Leukocytes",
            "Podocytes",
            "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
        md5="ebe78ee8b05294063de985d821c1c34b",
        images=236386,
        channels=1,
    ),
    "organamnist": Info(classes=ORGANS, md5="68e3f8846a6bd62f0c9bf841c0d9eacc", images=58830, channels=1),
    "organcmnist": Info(classes=ORGANS, md5="b9ceb9546e10131b32923c5bbeaea2b1", images=23583, channels=1),
    "organsmnist": Info(classes=ORGANS, md5="9ab87b696fb54e2a387ebe992d6ed5f1", images=25211, channels=1),
}
