"""Whether the integer file's explanations are still the float file's: distances beside those of another training and of no training at all.

A distance alone says little: two float networks that differ in their seed explain one image differently as well. So every distance to the
integer file stands beside the same distance to a float network of another seed (the noise floor), and beside that to a network with random
weights (the control of Adebayo et al. 2018, arXiv 1810.03292), and is stated as a fraction of the floor: 0 is no change, 1 as much as
training again would change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.evidence.bootstrap import Counts, Statistic, bootstrap, percentile_interval
from clinquant.evidence.maps import SIMILARITIES, pointing_hit, similarities
from clinquant.evidence.metrics import Floats

FEWEST = 12
"""Units whose floor is not 0 that a fraction of the floor needs, so that no draw of units is without one."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over images and its 95% interval by patient (paired bootstrap, whole patients drawn)."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """One metric of one kind of explanation, on the same images and for the same class in every network.

    Attributes:
        method: how the explanation was made, such as `class_map`.
        metric: of two maps (`spearman`, `ssim`, `top_iou`: distance is 1 minus it) or of one (`insertion`, `deletion`, `gini`,
            `pointing`: distance is the absolute difference, image by image).
        images, units: how many, and how many independent ones.
        baseline, candidate: mean of the metric on the float and the integer file; None for metrics of two maps.
        difference: candidate less baseline; None for metrics of two maps.
        distance: between the float and the integer file.
        floor: between the float file and a float network of another seed; None where there is none.
        control: between the float file and a network with random weights; None where there is none.
        fraction: distance over floor; None without a floor, or where that is 0 but in fewer than 12 units.
        chance: of `pointing`, the mean share of a picture that its mask covers: what a point put anywhere would hit.
    """

    method: str
    metric: str
    images: int
    units: int
    baseline: float | None
    candidate: float | None
    difference: Estimate | None
    distance: Estimate
    floor: Estimate | None
    control: Estimate | None
    fraction: Estimate | None
    chance: float | None = field(default=None, metadata={"omit_empty": True})


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """What one network gave for the images, in one order.

    Attributes:
        maps: float [n, h, w].
        values: metric of one map -> [n].
    """

    maps: NDArray[Any]
    values: Mapping[str, Floats]


def fidelity(
    method: str,
    baseline: Explained,
    candidate: Explained,
    groups: Sequence[str],
    *,
    other_seed: Explained | None = None,
    random: Explained | None = None,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
) -> tuple[Fidelity, ...]:
    """Every metric that the maps allow, or those named.

    Args:
        method: of explanation.
        baseline, candidate: of the float and the integer file.
        groups: [n] the independent unit of every image.
        other_seed: of a float network of another seed.
        random: of a network with random weights.
        seed: of the bootstrap.
        metrics: names; None for all.
    """
    names, unit_of_case = np.unique(np.array(groups), return_inverse=True)
    units = Units(count=len(names), of_case=unit_of_case, seed=seed)
    metrics = metrics or (*similarities(baseline.maps.shape[1:]), *sorted(baseline.values))
    ones, asked = np.ones(len(groups)), dict[tuple[str, str], tuple[Floats, Floats]]()
    for metric in metrics:
        apart, floor, control = (None if other is None else distances(metric, baseline, other) for other in (candidate, other_seed, random))
        assert apart is not None
        asked[metric, "distance"] = (apart, ones)
        if metric not in SIMILARITIES:
            asked[metric, "difference"] = (candidate.values[metric] - baseline.values[metric], ones)
        if floor is not None:
            asked[metric, "floor"] = (floor, ones)
            asked |= {(metric, "fraction"): (apart, floor)} if units.with_any(floor) >= min(FEWEST, units.count) else {}
        if control is not None:
            asked[metric, "control"] = (control, ones)
    found = dict(zip(asked, units.ratios(list(asked.values())), strict=True))
    return tuple(
        Fidelity(
            method=method,
            metric=metric,
            images=len(groups),
            units=units.count,
            baseline=None if metric in SIMILARITIES else float(baseline.values[metric].mean()),
            candidate=None if metric in SIMILARITIES else float(candidate.values[metric].mean()),
            difference=found.get((metric, "difference")),
            distance=found[metric, "distance"],
            floor=found.get((metric, "floor")),
            control=found.get((metric, "control")),
            fraction=found.get((metric, "fraction")),
        )
        for metric in metrics
    )


def pointing(
    method: str,
    networks: Mapping[str, Explained],
    masks: Sequence[NDArray[np.bool_] | None],
    groups: Sequence[str],
    seed: int = 0,
) -> tuple[Fidelity, ...]:
    """Pointing hits among the images that have a mask; nothing where none has.

    Args:
        method: of explanation.
        networks: `float`, `integer`, and where there are `other seed` and `random`.
        masks: [n] where the finding is, or None; of the maps' size.
        groups: [n] the independent unit of every image.
        seed: of the bootstrap.
    """
    rows = [row for row, mask in enumerate(masks) if mask is not None]
    if not rows:
        return ()
    chosen = [mask for mask in masks if mask is not None]
    hits = {
        name: Explained(
            maps=found.maps[rows],
            values={"pointing": np.array([pointing_hit(found.maps[row], mask) for row, mask in zip(rows, chosen, strict=True)])},
        )
        for name, found in networks.items()
    }
    (found,) = fidelity(
        method,
        hits["float"],
        hits["integer"],
        [groups[row] for row in rows],
        other_seed=hits.get("other seed"),
        random=hits.get("random"),
        seed=seed,
        metrics=("pointing",),
    )
    return (replace(found, chance=float(np.mean([mask.mean() for mask in chosen]))),)


def unfloored(found: tuple[Fidelity, ...]) -> tuple[str, ...]:
    """What is not shown without a noise floor, in a sentence."""
    if not found or all(each.floor is not None for each in found):
        return ()
    return ("How far training again would move the explanations is not known; --noise-floor trains a second float network to tell.",)


def distances(metric: str, first: Explained, second: Explained) -> Floats:
    """[n] how far two networks are apart on every image."""
    if metric not in SIMILARITIES:
        return np.abs(second.values[metric] - first.values[metric])
    alike = SIMILARITIES[metric]
    return 1.0 - np.array([alike(a, b) for a, b in zip(first.maps, second.maps, strict=True)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """The independent units of a table of images."""

    count: int
    of_case: NDArray[np.int64]
    seed: int = 0

    def with_any(self, values: Floats) -> int:
        """How many units have a value [n] that is not 0."""
        return int(np.count_nonzero(np.bincount(self.of_case, weights=np.abs(values), minlength=self.count)))

    def means(self, values: Sequence[Floats]) -> list[Estimate]:
        """Means of several [n] with their intervals."""
        return self.ratios([(each, np.ones(len(each))) for each in values])

    def ratios(self, pairs: Sequence[tuple[Floats, Floats]]) -> list[Estimate]:
        """The mean of the first of each pair [n] over that of the second, with intervals: both on the same draws, as are all pairs."""
        drawn = bootstrap([self._ratio(over, under) for over, under in pairs], self.count, cells=self.count, seed=self.seed)
        intervals = [percentile_interval(each, self.count) for each in drawn]
        values = [float(over.mean() / under.mean()) for over, under in pairs]
        return [Estimate(value=value, lower=each.lower, upper=each.upper) for value, each in zip(values, intervals, strict=True)]

    def _ratio(self, over: Floats, under: Floats) -> Statistic:
        above, below = (np.bincount(self.of_case, weights=values, minlength=self.count) for values in (over, under))

        def statistic(counts: Counts) -> Floats:
            drawn = counts.astype(np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray((drawn @ above) / (drawn @ below))

        return statistic
