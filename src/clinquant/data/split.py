"""Who trains, who tunes, who is the locked test: whole groups on one side."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Split:
    """Case ids by role. A dropped case (a copy, a leak) stands in `dropped` with its reason and nowhere else.

    Attributes:
        train, tune, test: disjoint case ids; no unit crosses them.
        calibration: a subset of train, for activation ranges.
        referral: the half of tune that chooses neither recipe nor temperature; for the referral confidence.
        units: id of the independent unit (patient, or group of copies) of every case kept: the unit of resampling.
        dropped: case id -> reason.
        rule: in words: given or drawn, fractions, stratified.
        seed: of the draw.
        warnings: plain sentences, for example a class with very few cases.
    """

    train: tuple[str, ...]
    tune: tuple[str, ...]
    test: tuple[str, ...]
    calibration: tuple[str, ...]
    referral: tuple[str, ...]
    units: dict[str, str]
    rule: str
    seed: int
    dropped: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
