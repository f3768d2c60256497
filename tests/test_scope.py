"""Out of scope: the rule against a plain oracle, against scikit-learn, and against the JavaScript of its page, bit for bit."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from sklearn.covariance import ShrunkCovariance

from clinquant.core.errors import ClinquantError
from clinquant.core.scope import FIGURES, Scope, distance, figures
from clinquant.evidence.scope import FOLDS, SHARES, SMALLEST_DEVIATION, fit_scope, shrunk

PAGE = Path(__file__).parents[1] / "docs" / "methods" / "out-of-scope.md"


def smooth(random: np.random.Generator, side: int = 28) -> np.ndarray:
    """A grey picture of one kind: a bright disc on a dark ground, with a little noise."""
    rows, columns = np.mgrid[0:side, 0:side]
    centre = side / 2 + random.normal(0, 1, 2)
    disc = 60 + 120 * (np.hypot(rows - centre[0], columns - centre[1]) < side / 4 + random.normal())
    grey = np.clip(disc + random.normal(0, 6, (side, side)), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def table(random: np.random.Generator, n: int) -> np.ndarray:
    return np.array([figures(smooth(random)) for _ in range(n)])


def fitted(train: int = 150, tune: int = 80) -> Scope:
    random = np.random.default_rng(0)
    rule = fit_scope(table(random, train), table(random, tune))
    assert rule is not None
    return rule


@pytest.mark.parametrize("side", [8, 13, 28])
def test_figures_are_what_the_page_says(side: int) -> None:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    r, n, b = (pixels[..., k].astype(int).tolist() for k in range(3))
    g = [[r[y][x] + n[y][x] + b[y][x] for x in range(side)] for y in range(side)]
    cells = [(y, x) for y in range(side) for x in range(side)]
    edge = [i * side // 4 for i in range(5)]
    expected = []
    for i in range(4):
        for j in range(4):
            inside = [g[y][x] for y in range(edge[i], edge[i + 1]) for x in range(edge[j], edge[j + 1])]
            expected.append(sum(inside) / (3 * len(inside)))
    textures = []
    for lag in (1, 2, 4):
        for down, across in ((0, lag), (lag, 0)):
            steps = [abs(g[y + down][x + across] - g[y][x]) for y, x in cells if y + down < side and x + across < side]
            textures.append(sum(steps) / (3 * len(steps)))
    inner = [(y, x) for y, x in cells if 0 < y < side - 1 and 0 < x < side - 1]
    bends = [abs(4 * g[y][x] - g[y - 1][x] - g[y + 1][x] - g[y][x - 1] - g[y][x + 1]) for y, x in inner]
    textures.append(sum(bends) / (3 * len(bends)))
    expected += [*textures, *(math.sqrt(math.sqrt(t)) for t in textures)]
    expected += [math.sqrt(sum(abs(a[y][x] - c[y][x]) for y, x in cells) / side**2) for a, c in ((r, n), (n, b))]
    expected += [math.sqrt(sum(g[y][x] * 8 // 766 == level for y, x in cells) / side**2) for level in range(8)]
    assert figures(pixels) == tuple(expected)
    assert len(expected) == FIGURES


@pytest.mark.parametrize("n", [40, 400])
def test_the_share_is_the_likeliest_by_scikit_learn(n: int) -> None:
    """The same folds, scored by `ShrunkCovariance`; fewer values are shrunk further."""
    values = np.random.default_rng(1).normal(size=(n, 12)) @ np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))[0]
    values = (values - values.mean(axis=0)) * np.geomspace(0.01, 1, 12)
    units = [str(row // 2) for row in range(n)]
    names, unit = np.unique(units, return_inverse=True)
    fold = np.random.default_rng(0).permutation(len(names))[unit] % FOLDS
    scores = []
    for share in SHARES:
        made = [ShrunkCovariance(shrinkage=share, assume_centered=True).fit(values[fold != each]) for each in range(FOLDS)]
        scores.append(sum(each.score(values[fold == k]) * (fold == k).sum() for k, each in enumerate(made)))
    best = ShrunkCovariance(shrinkage=SHARES[int(np.argmax(scores))], assume_centered=True).fit(values)
    assert np.allclose(shrunk(values, units), best.covariance_, rtol=1e-12, atol=1e-15)


def test_a_figure_that_never_varied_counts_by_the_smallest_deviation() -> None:
    """Pictures that were always grey: the colour noise of another camera's JPEG moves the distance no more than one deviation."""
    random = np.random.default_rng(4)
    train, tune = table(random, 300), table(random, 60)
    rule = fit_scope(train, tune)
    assert rule is not None and not train[:, 30:32].any()
    tinted = tune[0] + np.eye(40)[30] * SMALLEST_DEVIATION[30]
    assert distance(tinted.tolist(), rule) == pytest.approx(math.hypot(distance(tune[0].tolist(), rule), 1.0), rel=1e-3)


def test_distance_is_mahalanobis() -> None:
    random = np.random.default_rng(2)
    train, tune = table(random, 200), table(random, 60)
    rule = fit_scope(train, tune)
    assert rule is not None
    deviation = np.maximum(train.std(axis=0), SMALLEST_DEVIATION)
    z = (train - train.mean(axis=0)) / deviation
    covariance = shrunk(z, [str(row) for row in range(200)])
    precision = np.linalg.inv(covariance + np.diag(1 - (z**2).mean(axis=0)))
    for row in tune[:10]:
        v = (row - train.mean(axis=0)) / deviation
        assert distance(row.tolist(), rule) == pytest.approx(math.sqrt(v @ precision @ v), rel=1e-4)


def test_the_limit_lets_unseen_pictures_pass() -> None:
    """Tune's from the rule, and every training picture from the rule that is fitted without its fold, patients whole."""
    random = np.random.default_rng(3)
    train, tune, test = (table(random, n) for n in (200, 300, 300))
    units = [str(row // 4) for row in range(200)]
    rule = fit_scope(train, tune, units)
    assert rule is not None
    fold = np.random.default_rng(0).permutation(50)[np.unique(units, return_inverse=True)[1]] % FOLDS
    unseen = [distance(row, rule) for row in tune.tolist()]
    for k in range(FOLDS):
        other = fit_scope(train[fold != k], tune, [unit for unit, place in zip(units, fold, strict=True) if place != k])
        assert other is not None
        unseen += [distance(row, other) for row in train[fold == k].tolist()]
    assert sum(each > rule.limit for each in unseen) == 500 - 491  # ceil(501 * .98) = 491 pass
    assert np.mean([distance(row, rule) > rule.limit for row in test.tolist()]) <= 0.06


def test_few_tune_pictures_do_not_make_the_limit_a_matter_of_chance() -> None:
    """The largest of ten distances alone would flag one new picture in eleven, and now and then a quarter of them."""
    flagged = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        rule = fit_scope(table(random, 150), table(random, 10))
        assert rule is not None
        flagged.append(np.mean([distance(row, rule) > rule.limit for row in table(random, 100).tolist()]))
    assert np.mean(flagged) < 0.04 and max(flagged) <= 0.06


def test_equal_pictures_give_a_rule_too() -> None:
    same = np.repeat(table(np.random.default_rng(7), 1), 30, axis=0)
    rule = fit_scope(same, same[:10])
    assert rule is not None and rule.limit < 0.001 and distance((same[0] + 1).tolist(), rule) > 1


def test_too_few_pictures_give_no_rule() -> None:
    random = np.random.default_rng(4)
    assert fit_scope(table(random, 19), table(random, 50)) is None
    assert fit_scope(table(random, 50), table(random, 9)) is None


def test_other_pictures_are_out_and_like_ones_in() -> None:
    rule, random = fitted(), np.random.default_rng(5)
    blank = np.full((28, 28, 3), 90, np.uint8)
    noise = random.integers(0, 256, (28, 28, 3), dtype=np.uint8)
    coloured = smooth(random) * np.array([1.0, 0.6, 0.2])
    turned = 255 - smooth(random)
    assert all(rule.excludes(picture.astype(np.uint8)) for picture in (blank, noise, coloured, turned))
    assert sum(rule.excludes(smooth(random)) for _ in range(50)) <= 5
    assert rule.excludes(blank) == (rule.distance(blank) > rule.limit)


def test_a_broken_rule_is_refused() -> None:
    with pytest.raises(ClinquantError, match="39 means") as caught:
        Scope(mean=(0.0,) * 39, whitening=(0.0,) * 820, limit=1.0)
    assert caught.value.code == "card-invalid"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_pages_javascript_gives_the_same_bits(tmp_path: Path) -> None:
    code = re.search(r"```js\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert code is not None
    rule, random = fitted(), np.random.default_rng(6)
    pictures = [smooth(random) for _ in range(20)] + [random.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (9, 28, 61)]
    job = {
        "scope": {"mean": rule.mean, "whitening": rule.whitening},
        "pictures": [{"side": len(each), "pixels": each.ravel().tolist()} for each in pictures],
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    asks = """import { readFileSync } from "node:fs";
const job = JSON.parse(readFileSync("job.json"));
console.log(JSON.stringify(job.pictures.map((p) => scopeDistance(Uint8Array.from(p.pixels), p.side, job.scope))));"""
    (tmp_path / "rule.mjs").write_text(code[1] + asks)
    said = subprocess.run(["node", "rule.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == [rule.distance(each) for each in pictures]
