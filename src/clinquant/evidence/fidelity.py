"""Whether the integer file's explanations are still the float file's: distances beside those of another training and of no training at all.

A distance alone says little: two float networks that differ in their seed explain one image differently as well. So every distance to the
integer file stands beside the same distance to a float network of another seed (the noise floor), and beside that to a network with random
weights (the control of Adebayo et al. 2018, arXiv 1810.03292), and is stated as a fraction of the floor: 0 is no change, 1 as much as
training again would change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.evidence.bootstrap import Counts, Statistic, bootstrap, percentile_interval
from clinquant.evidence.maps import SIMILARITIES
from clinquant.evidence.metrics import Floats


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
        fraction: distance over floor; None without a floor, or where that is 0.
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
) -> tuple[Fidelity, ...]:
    """Every metric that the maps allow.

    Args:
        method: of explanation.
        baseline, candidate: of the float and the integer file.
        groups: [n] the independent unit of every image.
        other_seed: of a float network of another seed.
        random: of a network with random weights.
        seed: of the bootstrap.
    """
    names, unit_of_case = np.unique(np.array(groups), return_inverse=True)
    units = Units(count=len(names), of_case=unit_of_case, seed=seed)
    found = []
    for metric in (*SIMILARITIES, *sorted(baseline.values)):
        apart, floor, control = (None if other is None else distances(metric, baseline, other) for other in (candidate, other_seed, random))
        assert apart is not None
        single = metric not in SIMILARITIES
        found.append(
            Fidelity(
                method=method,
                metric=metric,
                images=len(groups),
                units=units.count,
                baseline=float(baseline.values[metric].mean()) if single else None,
                candidate=float(candidate.values[metric].mean()) if single else None,
                difference=units.mean(candidate.values[metric] - baseline.values[metric]) if single else None,
                distance=units.mean(apart),
                floor=None if floor is None else units.mean(floor),
                control=None if control is None else units.mean(control),
                fraction=None if floor is None or not floor.any() else units.ratio(apart, floor),
            )
        )
    return tuple(found)


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

    def mean(self, values: Floats) -> Estimate:
        """Mean of [n] with its interval."""
        return self._estimate(float(values.mean()), self._ratio(values, np.ones(len(values))))

    def ratio(self, over: Floats, under: Floats) -> Estimate:
        """Mean of `over` divided by that of `under`, drawn together."""
        return self._estimate(float(over.mean() / under.mean()), self._ratio(over, under))

    def _ratio(self, over: Floats, under: Floats) -> Statistic:
        above, below = (np.bincount(self.of_case, weights=values, minlength=self.count) for values in (over, under))

        def statistic(counts: Counts) -> Floats:
            drawn = counts.astype(np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray((drawn @ above) / (drawn @ below))

        return statistic

    def _estimate(self, value: float, statistic: Statistic) -> Estimate:
        interval = percentile_interval(bootstrap([statistic], self.count, cells=self.count, seed=self.seed)[0], self.count)
        return Estimate(value=value, lower=interval.lower, upper=interval.upper)
