"""Evidence: everything measured on the two exported files, in one frozen record (`evidence.json`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from clinquant.evidence.claims import Claim, Finding, Verdict
from clinquant.evidence.fidelity import Fidelity

FILES = ("float", "integer")
"""The two files that are compared, as every table and mapping names them: baseline, candidate."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One exported file: bytes on disk and their sha256."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class BrowserFile:
    """What is known of `model.wasm.onnx`, which a browser runs in the integer file's place; its bytes and sha256 stand among the files.

    Attributes:
        optimise: whether the runtime may rewrite its graph; not where float kernels compute integers.
        in_float: convolutions whose integers float kernels compute.
        largest_sum: the largest absolute sum that one of these can have for any codes: below 2^24, up to where float32 is exact.
        compared: test cases on which its logits were compared with the integer file's, on this machine.
        differing: how many of these have any other bit.
    """

    optimise: bool
    in_float: int
    largest_sum: int
    compared: int
    differing: int


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Whole-graph time of one file for one picture on one thread, milliseconds; `megapixel_median_ms` is of one that it must resize."""

    median_ms: float
    minimum_ms: float
    maximum_ms: float
    runs: int
    megapixel_median_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class ElementType:
    """What one element type does and holds in the runtime's own optimised graph.

    Attributes:
        macs: multiply-accumulates of one picture whose data are of this type.
        operators: operator -> how many of these there are.
        tensors: tensors of this type that operators put out.
        constant_bytes: weights and other constants as they are held in memory.
    """

    macs: int = 0
    operators: dict[str, int] = field(default_factory=dict)
    tensors: int = 0
    constant_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class IntegerAudit:
    """What the runtime really computes in integers, read from the graph that it made of a file, run on one picture.

    Attributes:
        share_int8: share of multiply-accumulates in 8-bit integers; None where there are none.
        types: ONNX name of an element type (`uint8`, `float`, ...) -> what it does and holds.
        uncounted: operators that multiply and accumulate in a way that is not counted here.
        memory_bytes: of all constants once the file is loaded; packed weights are expanded by then.
    """

    share_int8: float | None
    types: dict[str, ElementType]
    uncounted: tuple[str, ...]
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How far probabilities can be believed: test set figures, before and after the temperature.

    Attributes:
        temperature: the divisor of the logits that is folded into the file.
        ece_before, ece: expected calibration error of the highest probability, 15 bins.
        brier: mean squared error of the probabilities; `nll`: mean negative log likelihood of the label, nats.
        classwise_ece: mean over classes of the calibration error of each class's probability.
        before: `ece`, `classwise_ece`, `brier` and `nll` without the temperature.
        intervals: the same names -> (lower, upper) of the value with the temperature, bootstrap by unit.
    """

    temperature: float
    ece_before: float
    ece: float
    brier: float
    nll: float
    classwise_ece: float | None = None
    before: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A file's threshold on P(positive), chosen on tune, and what it does on test; None where the task has none."""

    threshold: float | None
    rule: str
    sensitivity: float | None = None
    specificity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A test case that the two files decide differently."""

    id: str
    group: str
    label: int
    baseline: int
    candidate: int
    baseline_probability: float
    candidate_probability: float


@dataclass(frozen=True, kw_only=True)
class Churn:
    """Cases of one stratum, and how many of them changed.

    Attributes:
        name: of the stratum.
        cases: in it.
        lost: right before, wrong after (negative flips).
        gained: wrong before, right after (positive flips).
        other: wrong both times, in different ways.
    """

    name: str
    cases: int
    lost: int
    gained: int
    other: int


@dataclass(frozen=True, kw_only=True)
class SpecificityAt:
    """Specificity that each file has on test where its threshold is moved to this sensitivity there; the interval is of the difference."""

    sensitivity: float
    baseline: float
    candidate: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class SetSize:
    """Cases whose prediction set has `size` classes, and how many of these sets hold the true one."""

    size: int
    cases: int
    covered: int


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """Prediction sets of one file on test.

    Attributes:
        rule: `lac`, `classwise` or `aps`; `wanted`: the coverage asked for.
        at_least: the bounds (see `PredictionSets`), chosen on `calibrated_on` cases of tune.
        coverage: share of cases whose true class is in the set, with its interval `lower` to `upper`.
        mean_size: classes in a set.
        by_size, by_class: where it is reached and where not.
    """

    rule: str
    wanted: float
    at_least: tuple[float, ...]
    calibrated_on: int
    coverage: float
    lower: float
    upper: float
    mean_size: float
    by_size: tuple[SetSize, ...]
    by_class: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Referred:
    """What a file's referral rule does on test: the confidence it asks for, the share referred, the error of all and of those kept."""

    below: float | None
    referred: float
    error: float
    error_kept: float | None


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """Accuracy of both files among the cases of one class, site or other covariate.

    Attributes:
        covariate, value: `class` and its name, or a column of the manifest and what stands there.
        cases, units: in it.
        baseline, candidate, difference: share decided right.
        lower, upper: of the difference; all subgroups' intervals hold together.
        p, p_holm: of no difference, bare and corrected for the number of subgroups.
    """

    covariate: str
    value: str
    cases: int
    units: int
    baseline: float
    candidate: float
    difference: float
    lower: float
    upper: float
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class Corrupted:
    """Both files on the same corrupted pixels of some test cases.

    Attributes:
        name, words: the corruption.
        cases: test cases, drawn.
        findings: AUC and accuracy by the margin of the claims, secondary.
        agreement: share decided alike.
        clean: accuracy, by the highest score, of the same cases without the corruption, by file.
        out_of_scope: share that the card's rule would not have answered; None without a rule.
    """

    name: str
    words: str
    cases: int
    findings: tuple[Finding, ...]
    agreement: float
    clean: dict[str, float]
    out_of_scope: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScopeFigures:
    """What the rule for pictures out of scope does: on test pictures, where it should not speak, and on controls, where it should.

    Attributes:
        limit: distance from the training pictures above which one is out of scope.
        inside: share of test pictures said to be out of scope by mistake, `lower` to `upper` its interval, of `cases` pictures.
        controls: `blank`, `noise`, `blurred`: share of such pictures said to be out of scope.
    """

    limit: float
    inside: float
    lower: float
    upper: float
    cases: int
    controls: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """The locked test set: who is in it, and how often it has been read."""

    name: str
    sha256: str
    images: int
    units: int
    unit: str
    images_by_class: dict[str, int]
    reads: int


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Float against integer on one test set, by the same claims."""

    test: TestSet
    verdict: Verdict
    findings: tuple[Finding, ...]
    agreement: float
    flips: tuple[Flip, ...]
    confusion: dict[str, tuple[tuple[int, ...], ...]]
    reliability: dict[str, Reliability]
    operating_points: dict[str, OperatingPoint]
    churn: dict[str, tuple[Churn, ...]] = field(default_factory=dict)
    specificity_at: tuple[SpecificityAt, ...] = ()
    conformal: dict[str, tuple[Conformal, ...]] = field(default_factory=dict)
    referral: dict[str, Referred] = field(default_factory=dict)
    subgroups: tuple[Subgroup, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """`evidence.json`. Keys `float` and `integer` name the two files throughout; `browser` among the files is what a browser runs.

    Attributes:
        verdict: of the locked test set; INFERIOR if any primary claim is, NON_INFERIOR if all are, else INCONCLUSIVE.
        summary: the verdict in plain words, with the number of cases that would decide.
        findings, agreement, flips ...: of the locked test set (see `Pair`).
        churn: `class` and `decile` (of the float's confidence) -> what changed in each stratum.
        specificity_at: with two classes, at sensitivities of .90 and .95.
        conformal, referral: by file.
        subgroups: by class, and by site and other columns of the manifest.
        corruptions: both files on the same corrupted pixels.
        scope: what the rule for pictures out of scope does here.
        claims: as written down before the test set was read; `claims_sha256` is their hash.
        model: architecture, bits (as printed: `w8a8 (7-bit weights)`), target, recipe, size, parameters, initial weights.
        recipes_on_tune: what every recipe that was tried did there, in order.
        layers_on_tune: where widths were mixed, every layer's bits and what narrowing it alone adds to the divergence, nats.
        browser: what is known of the browser's own file; None where a browser runs the integer file itself.
        audits: what the runtime computes in integers, of each file.
        external: the same pair of files on test sets of other hospitals (`--test`).
        fidelity: whether explanations survived, beside a noise floor and a control; empty where that was not asked (`--explain`).
        not_shown: plain sentences on what this evidence does not show.
        parents: sha256 of study, split, card and prediction files.
    """

    verdict: Verdict
    summary: str
    findings: tuple[Finding, ...]
    agreement: float
    flips: tuple[Flip, ...]
    confusion: dict[str, tuple[tuple[int, ...], ...]]
    reliability: dict[str, Reliability]
    operating_points: dict[str, OperatingPoint]
    test: TestSet
    claims: tuple[Claim, ...]
    claims_sha256: str
    classes: tuple[str, ...]
    positive: int | None
    model: dict[str, str | int | float | None]
    files: dict[str, FileFacts]
    latency: dict[str, Latency]
    runtime: str
    machine: str
    churn: dict[str, tuple[Churn, ...]] = field(default_factory=dict)
    specificity_at: tuple[SpecificityAt, ...] = ()
    conformal: dict[str, tuple[Conformal, ...]] = field(default_factory=dict)
    referral: dict[str, Referred] = field(default_factory=dict)
    subgroups: tuple[Subgroup, ...] = ()
    corruptions: tuple[Corrupted, ...] = ()
    scope: ScopeFigures | None = None
    browser: BrowserFile | None = None
    audits: dict[str, IntegerAudit] = field(default_factory=dict)
    external: tuple[Pair, ...] = ()
    recipes_on_tune: tuple[dict[str, str | float], ...] = ()
    layers_on_tune: tuple[dict[str, str | float], ...] = ()
    fidelity: tuple[Fidelity, ...] = ()
    not_shown: tuple[str, ...] = ()
    parents: dict[str, str] = field(default_factory=dict)
    clinquant: str = ""
    created: str = ""
