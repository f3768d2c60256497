"""What `build` is asked for: every choice with its default, in one frozen record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """The choices of a run.

    Attributes:
        data: as `data.read.read_study`.
        groups, group_column, covariates, positive, grey_window, skip_broken: how it is read.
        tests: external test sets with the same classes.
        arch, size, epochs, weights, vertical_flip, teacher: how the float network is made; None for defaults.
        saliency_guided, saliency_k, saliency_fill, saliency_rank, saliency_weight, saliency_ramp: see `lab.objectives.SaliencyGuided`;
            for the float network, and for quantization-aware training where there is any.
        threshold: rule for the operating point, chosen on tune.
        bits, recipe, target: how it is quantized, and for what hardware.
        max_bytes, max_ms: what `bits="auto"` must stay under: the integer file, and its median time on this machine.
        max_minutes: after which no further rung of the ladder is begun.
        masks: where findings are, masks or boxes: with it explanations are also measured by pointing hits.
        explain: measure whether explanations survive; `noise_floor`: against a second float network too, which is trained for that.
        margin: of non-inferiority, written down before the test set is read.
        seed: of everything that is drawn.
    """

    data: str
    groups: str | None = None
    group_column: str | None = None
    covariates: str | None = None
    positive: str | None = None
    grey_window: tuple[int, int] | None = None
    skip_broken: bool = False
    tests: tuple[str, ...] = ()
    arch: str = "auto"
    size: int | None = None
    epochs: int | None = None
    weights: str | None = None
    vertical_flip: bool = False
    teacher: str | None = None
    saliency_guided: bool = False
    saliency_k: float = 0.5
    saliency_fill: str = "uniform"
    saliency_rank: str = "signed"
    saliency_weight: float = 1.0
    saliency_ramp: float = 0.2
    threshold: str = "youden"
    bits: str = "w8a8"
    recipe: str = "auto"
    target: str = "portable"
    max_bytes: int | None = None
    max_ms: float | None = None
    max_minutes: float | None = None
    explain: bool = False
    noise_floor: bool = False
    masks: str | None = None
    margin: float = 0.02
    seed: int = 0
