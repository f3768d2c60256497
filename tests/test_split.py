"""Splits: whole units on one side, every case accounted for, every class on every side where there are enough units."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinquant.core.errors import ClinquantError
from clinquant.data.audit import Audit
from clinquant.data.balance import Sizes
from clinquant.data.datasets import reader_for
from clinquant.data.groups import with_groups
from clinquant.data.split import CALIBRATION, split
from clinquant.data.stratify import assign, proportional
from clinquant.data.study import Case, Source, Study
from clinquant.data.units import units_of


def study(labels, groups=None, sides=None, classes=2):
    n = len(labels)
    cases = [
        Case(
            id=f"{k:05d}",
            label=int(labels[k]),
            sha256=f"{k:064d}",
            width=64,
            height=64,
            mode="L",
            group=groups[k] if groups else None,
            split=sides[k] if sides else None,
        )
        for k in range(n)
    ]
    names = tuple(f"class{k}" for k in range(classes))
    return Study(name="s", task="t", classes=names, positive=None, source=Source(kind="folder", path="/x"), cases=tuple(cases))


def found(exact=(), near=(), edited=()):
    """An audit of which only the copies matter here."""
    return Audit(
        exact=tuple(exact),
        near=tuple(near),
        edited=tuple(edited),
        conflicts=(),
        leaks=(),
        images=0,
        distinct=0,
        units=0,
        balance={},
        sizes=Sizes(distinct=0, smallest="", largest="", commonest={}),
        modes={},
        margin=0.02,
        power=(),
        power_of="",
        warnings=(),
        parents={},
    )


def ids(*numbers):
    return tuple(f"{k:05d}" for k in numbers)


def check(cases, made):
    """What holds for every split of a study."""
    roles = {"train": made.train, "tune": made.tune, "test": made.test}
    kept = [case for members in roles.values() for case in members]
    assert len(kept) == len(set(kept))
    assert set(kept) | set(made.dropped) == {case.id for case in cases.cases}
    assert not set(kept) & set(made.dropped)
    assert set(made.units) == set(kept)
    sides = {}
    for side, members in roles.items():
        for case in members:
            assert sides.setdefault(made.units[case], side) == side, "a unit crosses the split"
    assert set(made.calibration) <= set(made.train) and len(made.calibration) == min(CALIBRATION, len(made.train))
    assert set(made.referral) <= set(made.tune)
    assert not {made.units[c] for c in made.referral} & {made.units[c] for c in made.tune if c not in made.referral}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_the_study_the_split_is_whole(data):
    n, k = data.draw(st.integers(30, 90)), data.draw(st.integers(2, 4))
    whole = st.lists(st.integers(0, k - 1), min_size=n, max_size=n)
    labels = data.draw(whole)
    groups = data.draw(st.one_of(st.none(), st.lists(st.integers(0, n // 2).map(str), min_size=n, max_size=n)))
    sides = data.draw(
        st.one_of(
            st.none(),
            st.lists(st.sampled_from(["train", "tune", "test"]), min_size=n, max_size=n),
            st.lists(st.sampled_from(["train", "test"]), min_size=n, max_size=n),
        )
    )
    members = st.lists(st.integers(0, n - 1), min_size=2, max_size=3, unique=True).map(lambda found: ids(*sorted(found)))
    exact = data.draw(st.lists(members, max_size=3))
    exact = [group for k, group in enumerate(exact) if not set(group) & {case for other in exact[:k] for case in other}]
    cases, copies = study(labels, groups, sides, k), found(exact, near=data.draw(st.lists(members, max_size=6)))
    try:
        made = split(cases, copies, seed=data.draw(st.integers(0, 3)))
    except ClinquantError as error:
        assert error.code in ("split-empty", "split-incomplete")
        return
    check(cases, made)
    assert made == split(cases, copies, seed=made.seed)
    if sides:
        given_side = {case.id: case.split for case in cases.cases}
        assert all(given_side[case] == "test" for case in made.test if "test" in sides)
        units = units_of(cases, copies)
        in_test = {units[case] for case in given_side if given_side[case] == "test" and case not in made.dropped}
        assert in_test == {units[case] for case in made.test} or "test" not in sides


def test_fractions_and_classes_are_kept():
    labels = [0] * 700 + [1] * 200 + [2] * 100
    made = split(study(labels, classes=3), found(), fractions=(0.6, 0.15, 0.25), seed=5)
    check(study(labels, classes=3), made)
    for members, share in ((made.train, 0.6), (made.tune, 0.15), (made.test, 0.25)):
        counts = Counter(labels[int(case)] for case in members)
        assert all(abs(counts[k] - share * n) <= 1 for k, n in enumerate((700, 200, 100)))
    assert "60% / tune 15% / test 25%" in made.rule
    assert abs(len(made.referral) - len(made.tune) / 2) <= 2


def test_patients_of_many_images_are_balanced():
    rng = np.random.default_rng(0)
    sizes = rng.geometric(0.2, 200)
    groups = [f"p{k}" for k, size in enumerate(sizes) for _ in range(size)]
    labels = [int(k < 60) for k, size in enumerate(sizes) for _ in range(size)]
    cases = study(labels, groups)
    made = split(cases, found())
    check(cases, made)
    for k in (0, 1):
        total = labels.count(k)
        assert abs(sum(labels[int(c)] == k for c in made.test) / total - 0.2) < 0.02
        assert abs(sum(labels[int(c)] == k for c in made.train) / total - 0.7) < 0.02


def test_the_seed_decides_and_the_order_of_cases_does_not():
    cases = study([0] * 60 + [1] * 40)
    first = split(cases, found(), seed=1)
    assert first == split(cases, found(), seed=1)
    assert first.test != split(cases, found(), seed=2).test
    units = {case.id: Counter({case.label: 1}) for case in cases.cases}
    shares = {"train": 0.7, "test": 0.3}
    backwards = dict(reversed(units.items()))
    assert assign(units, shares, 0) == assign(backwards, shares, 0)


@pytest.mark.parametrize("rare", [0, 1, 2, 3, 4])
def test_a_rare_class_is_served_train_first_and_said_to_be_rare(rare):
    labels = [0] * 50 + [1] * rare
    cases = study(labels)
    made = split(cases, found())
    check(cases, made)
    counts = {side: sum(labels[int(c)] == 1 for c in getattr(made, side)) for side in ("train", "tune", "test")}
    assert counts["train"] >= min(rare, 1)
    assert counts["test"] >= (rare >= 2)
    assert counts["tune"] >= (rare >= 3)
    assert any("'class1'" in warning for warning in made.warnings)


def test_of_equal_pictures_one_is_kept_and_none_where_labels_disagree():
    cases = study([0] * 30 + [1] * 30)
    made = split(cases, found(exact=[ids(3, 4, 5), ids(2, 40)]))
    check(cases, made)
    assert made.dropped["00004"] == "exact copy of 00003"
    assert set(made.dropped) == set(ids(4, 5, 2, 40))
    assert "class0 and class1: 00002, 00040" in made.dropped["00002"]


def test_near_and_edited_copies_stay_together():
    cases = study([0] * 30 + [1] * 30)
    made = split(cases, found(near=[ids(1, 2), ids(2, 3)], edited=[ids(3, 4)]))
    check(cases, made)
    assert len({made.units[case] for case in ids(1, 2, 3, 4)}) == 1
    assert not made.dropped


def test_the_published_test_set_stays_as_it_is():
    sides = ["train"] * 40 + ["tune"] * 10 + ["test"] * 10
    groups = [None] * 60
    groups[0] = groups[1] = groups[55] = "p"
    cases = study([0, 1] * 30, groups, sides)
    made = split(cases, found(exact=[ids(2, 56)], near=[ids(3, 41, 57), ids(5, 43)]))
    check(cases, made)
    assert made.test == ids(*range(50, 60))
    assert made.dropped == {
        "00000": "same patient or picture as 00055, which is in test",
        "00001": "same patient or picture as 00055, which is in test",
        "00002": "exact copy of 00056, which is in test",
        "00003": "same patient or picture as 00057, which is in test",
        "00005": "same patient or picture as 00043, which is in tune",
        "00041": "same patient or picture as 00057, which is in test",
    }
    assert made.rule.startswith("Given with the data (train, tune, test)")


def test_a_tune_set_is_drawn_out_of_train_by_unit():
    sides = ["train"] * 80 + ["test"] * 20
    groups = [str(k // 4) for k in range(100)]
    cases = study([(k // 4) % 2 for k in range(100)], groups, sides)
    made = split(cases, found())
    check(cases, made)
    assert made.test == ids(*range(80, 100))
    assert abs(len(made.tune) - 10) <= 4
    assert "Drawn out of train" in made.rule


def test_a_given_split_that_cannot_be_used_is_refused():
    with pytest.raises(ClinquantError, match=r"split-incomplete.*no train side"):
        split(study([0, 1] * 10, sides=["test", "tune"] * 10), found())
    with pytest.raises(ClinquantError, match=r"split-incomplete.*00000 has no split \(1"):
        split(study([0, 1] * 10, sides=[None, *["test", "train"] * 9, "train"]), found())
    with pytest.raises(ClinquantError, match="split-empty"):
        split(study([0, 1], groups=["p", "p"]), found())
    with pytest.raises(ClinquantError, match="fractions-invalid"):
        split(study([0, 1] * 10), found(), fractions=(0.7, 0.1, 0.1))


def test_ten_thousand_cases_in_two_seconds():
    rng = np.random.default_rng(0)
    cases = study(rng.integers(0, 5, 10_000), [str(g) for g in rng.integers(0, 4000, 10_000)], classes=5)
    start = time.process_time()
    split(cases, found())
    assert time.process_time() - start < 2


@given(counts=st.dictionaries(st.integers(0, 9), st.integers(1, 1000), min_size=1, max_size=8), wanted=st.integers(0, 2000))
def test_places_are_shared_in_proportion(counts, wanted):
    given_places = proportional(counts, wanted)
    total = sum(counts.values())
    assert sum(given_places.values()) == min(wanted, total)
    assert all(given_places[k] <= counts[k] for k in counts)
    if wanted >= len(counts):
        assert min(given_places.values()) >= 1
    for k, count in counts.items():
        assert abs(given_places[k] - min(wanted, total) * count / total) <= len(counts)


def test_a_published_split_by_slide_is_kept(shared_data):
    root = shared_data / "bccd_cells_96"
    items, _ = with_groups(reader_for(str(root)).listing(str(root)).items, root / "splits_by_slide_image.csv")
    cells = study([item.label for item in items], [item.group for item in items], [item.split for item in items], classes=3)
    made = split(cells, found())
    check(cells, made)
    assert (len(made.train), len(made.tune), len(made.test)) == (3377, 481, 1028)
    assert not made.dropped
