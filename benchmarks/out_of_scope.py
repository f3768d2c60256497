"""How many pictures from elsewhere are said to be out of scope, and how many of the data set's own test pictures by mistake.

    python -m benchmarks.out_of_scope --data ../shared/data --photographs PHOTOS --out benchmarks/results/out_of_scope.csv

One rule a data set and network size, fitted on its train pictures, its limit on tune and held-out parts of train
(`clinquant.lab.scope.learn_scope`); no network is needed, as the rule reads pixels. A row is one rule against one source of pictures: its
own locked test set (`inside`; for X-rays also pictures at full size), the other data sets, photographs, blank pictures, noise, and the test
pictures blurred by a Gaussian of a 20th and a 10th of the side. Where a set comes with a split of its own, `inside, split anew` is a rule
and a test part drawn from all its pictures: what is left of false alarms where test pictures come from the same place as training
pictures. Sources that show the same part of the body by the same means are left out. `low` and `high` are Wilson's 95% bounds.

PHOTOS is a folder of photographs; the committed figures used the nine that ship in the wheels gradio 6.31.0 (`media_assets/images/*.jp*g`,
`test_data/cheetah2.jpg`), imgaug 0.4.0 (`quokka.jpg`) and ultralytics 8.4.190 (`assets/*.jpg`), each whole and in nine random squares of
it. The rule's form was settled on BreastMNIST, PneumoniaMNIST and `kermany_cxr_224` against other photographs, which ship with scikit-image
0.18.3, scikit-learn and matplotlib, and a hundred pictures of each other set. Its constants come from train and tune alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from benchmarks.floats import SMALL, options_of
from benchmarks.rows import Rows
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from clinquant.core.preprocess import Preprocess
from clinquant.core.scope import Scope
from clinquant.data.audit import audit
from clinquant.data.pixels import Pixels
from clinquant.data.read import read_study
from clinquant.data.split import split
from clinquant.data.study import Study
from clinquant.edge.resize import Resizer
from clinquant.evidence.wilson import wilson
from clinquant.lab.scope import learn_scope

Picture = NDArray[np.uint8]

SIZES = {
    "kermany_cxr_224": (224, 28),
    "brain_mri4_224": (224, 28),
    "busi_256": (224,),
    "bccd_cells_96": (96, 28),
    **dict.fromkeys(SMALL, (28,)),
}
"""Data set -> network sizes tried."""

ALIKE = ({"kermany_cxr_224", "pneumoniamnist_rebuilt"}, {"busi_256", "breastmnist"})
"""The same pictures, stored twice."""

FULL_SIZE = "kermany_cxr_orig_sample"
"""Pictures of `kermany_cxr_224` before they were made smaller, 1 to 2 megapixels."""

MOST = 200
"""Pictures of a source, at most."""


class Sets:
    """The data sets' pictures, each read once."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.studies: dict[str, Study] = {}

    def study(self, name: str) -> Study:
        """The study called `name`."""
        if name not in self.studies:
            options = options_of(self.data, name, "auto", 0)
            self.studies[name] = read_study(options.data, groups=options.groups)
        return self.studies[name]

    def some(self, name: str) -> Iterator[Picture]:
        """Pictures of a set, drawn."""
        yield from pictures(self.study(name), [case.id for case in self.study(name).cases])


def whole(data: Path) -> Iterator[Picture]:
    """Every picture of a folder."""
    study = read_study(data)
    yield from pictures(study, [case.id for case in study.cases])


def pictures(study: Study, ids: Sequence[str]) -> Iterator[Picture]:
    """At most MOST of them, drawn."""
    pixels = Pixels(study)
    for index in sorted(np.random.default_rng(11).permutation(len(ids))[:MOST].tolist()):
        yield pixels[ids[index]]


def photographs(folder: Path) -> Iterator[Picture]:
    """Each whole, and nine random squares of 40% to 90% of its shorter side."""
    random = np.random.default_rng(12)
    for path in sorted(folder.iterdir()):
        picture = np.asarray(Image.open(path).convert("RGB"))
        yield picture
        for _ in range(9):
            side = int(min(picture.shape[:2]) * random.uniform(0.4, 0.9))
            top, left = (int(random.integers(0, length - side + 1)) for length in picture.shape[:2])
            yield picture[top : top + side, left : left + side]


def grey(found: Iterator[Picture]) -> Iterator[Picture]:
    """Without their colour."""
    for picture in found:
        yield np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))


def blank() -> Iterator[Picture]:
    """Forty grey levels and forty colours."""
    random = np.random.default_rng(13)
    for index in range(80):
        colour = random.integers(0, 256, 1 if index % 2 else 3).astype(np.uint8)
        yield np.broadcast_to(colour, (64, 64, 3)).copy()


def noise() -> Iterator[Picture]:
    """Uniform and normal, grey and coloured."""
    random = np.random.default_rng(14)
    for index in range(80):
        channels = 1 if index % 2 else 3
        normal = random.normal(random.uniform(40, 210), random.uniform(10, 70), (256, 256, channels))
        values = random.integers(0, 256, (256, 256, channels)) if index % 4 < 2 else np.clip(normal, 0, 255)
        yield np.broadcast_to(values.astype(np.uint8), (256, 256, 3)).copy()


def blurred(found: Iterator[Picture], share: float) -> Iterator[Picture]:
    """By a Gaussian whose deviation is `share` of the shorter side."""
    for picture in found:
        yield np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(share * min(picture.shape[:2]))))


def sources(sets: Sets, name: str, test: Sequence[str], photos: Path) -> dict[str, Callable[[], Iterator[Picture]]]:
    """What a rule of the set `name` is tried on."""
    study = sets.study(name)
    same = next((alike for alike in ALIKE if name in alike), {name})
    others = {f"set {other}": (lambda other=other: sets.some(other)) for other in SIZES if other not in same}
    full = {"inside, at full size": lambda: whole(sets.data / FULL_SIZE)} if name == "kermany_cxr_224" else {}
    return {
        "inside": lambda: pictures(study, test),
        **full,
        **others,
        "photographs": lambda: photographs(photos),
        "photographs, grey": lambda: grey(photographs(photos)),
        "blank": blank,
        "noise": noise,
        "blurred by a 20th": lambda: blurred(pictures(study, test), 1 / 20),
        "blurred by a 10th": lambda: blurred(pictures(study, test), 1 / 10),
    }


def flagged(rule: Scope, resize: Resizer, found: Iterator[Picture]) -> tuple[int, int]:
    """Pictures said to be out of scope, and all."""
    said = [rule.excludes(resize(picture[None])[0]) for picture in found]
    return sum(said), len(said)


def split_anew(study: Study, preprocess: Preprocess) -> dict[str, float]:
    """A rule of the set's pictures without the split that it came with, on the test part drawn from them."""
    mixed = replace(study, cases=tuple(replace(case, split=None) for case in study.cases))
    parts = split(mixed, audit(mixed), seed=0)
    rule = learn_scope(mixed, parts, preprocess)
    assert rule is not None
    return figures_of(rule, *flagged(rule, Resizer(preprocess), pictures(mixed, parts.test)))


def figures_of(rule: Scope, out: int, n: int) -> dict[str, float]:
    """The columns of a row."""
    bounds = wilson(out, n)
    shares = {"share": round(out / n, 4), "low": round(bounds.lower, 4), "high": round(bounds.upper, 4)}
    return {"out_of_scope": out, "pictures": n, **shares, "limit": round(rule.limit, 4)}


def main() -> None:
    """Adds the missing rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/out_of_scope.csv"))
    asked = parser.parse_args()
    rows, sets = Rows(asked.out, ("data", "size", "source")), Sets(asked.data)
    for name, sizes in SIZES.items():
        parts = split(sets.study(name), audit(sets.study(name)), seed=0)
        for size in sizes:
            preprocess = Preprocess(size=size)
            rule, resize = learn_scope(sets.study(name), parts, preprocess), Resizer(preprocess)
            assert rule is not None
            for source, make in sources(sets, name, parts.test, asked.photographs).items():
                key = {"data": name, "size": size, "source": source}
                if key in rows:
                    continue
                rows.add(key | figures_of(rule, *flagged(rule, resize, make())))
            key = {"data": name, "size": size, "source": "inside, split anew"}
            if key not in rows and any(case.split for case in sets.study(name).cases):
                rows.add(key | split_anew(sets.study(name), preprocess))


if __name__ == "__main__":
    main()
