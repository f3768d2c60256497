"""The card: what a model file is, needs and decides, in one frozen record."""

from __future__ import annotations

from dataclasses import dataclass, field

from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.core.scope import Scope
from clinquant.core.sets import PredictionSets

RESEARCH_USE = "Research use only. Not cleared or certified by any regulator. Not for diagnosis. A clinician must review every image."


@dataclass(frozen=True, kw_only=True)
class Card:
    """What stands beside every model file.

    Attributes:
        architecture: name in the zoo, or `module:function`.
        classes: class names in the order of the scores.
        positive: index of the diseased class when there are two classes, else None.
        preprocess: pixels to network input.
        bits: `float32`, or the quantized width, for example `w8a8`.
        target: what hardware the integers are meant for (`portable`, `x86-vnni`, `arm-dotprod`), or None for float.
        portable: whether the outputs are the same bits on every processor; where they are not, the bundle's golden vectors decide
            whether a machine may use the file. None for float, which is compared by tolerance.
        float_islands: operators computed in float between integers (softmax, layer norm), which make a file not portable.
        threshold: operating point on P(positive), chosen on tune and frozen; None when there are more than two classes.
        threshold_rule: how it was chosen: `youden`, `sens=0.95`, `spec=0.95`, or `argmax`.
        refer_below: a case whose highest probability is under this is REFERred; None when none was chosen.
        sets: the classes that a case may have; None where tune had too few cases.
        scope: the rule by which a picture unlike the training pictures is told apart before a class is named; None when none was fitted.
        temperature: the divisor of the logits that is folded into the last layer.
        grey_window: the 16-bit grey levels that map to 0 and 255.
        weights: where the initial weights came from, and their licence.
        data_licence: the data set's licence as stated by its source.
        parents: sha256 of the artifacts this one was made from, by kind; of a study, `learnt_sha256`.
        limits: the research-use notice.
    """

    architecture: str
    classes: tuple[str, ...]
    positive: int | None
    preprocess: Preprocess
    bits: str = "float32"
    target: str | None = None
    portable: bool | None = None
    float_islands: int = 0
    threshold: float | None = None
    threshold_rule: str = "argmax"
    refer_below: float | None = None
    sets: PredictionSets | None = None
    scope: Scope | None = None
    temperature: float = 1.0
    grey_window: tuple[int, int] = (0, 65535)
    weights: str = "random"
    data_licence: str = "not stated"
    parents: dict[str, str] = field(default_factory=dict)
    limits: str = RESEARCH_USE

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ClinquantError("one-class", f"the card names {len(self.classes)} class.", fix="a classifier needs at least two classes.")
        if (self.positive is not None) != (len(self.classes) == 2):
            raise ClinquantError(
                "card-invalid", "positive must be given for two classes and only then.", fix="set positive to 0 or 1, or null."
            )
