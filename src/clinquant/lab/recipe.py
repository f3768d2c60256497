"""Tries a recipe on tune: the candidate is exported and its very file is run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clinquant.core.predictions import Predictions
from clinquant.data.split import Split, choosing_half
from clinquant.data.study import Study
from clinquant.edge.predict import predict_fresh
from clinquant.evidence.metrics import macro_auc
from clinquant.evidence.reliability import divergence, nll
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.run import Narrator


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one recipe did on the choosing half of tune.

    Attributes:
        recipe: its name.
        divergence: mean Kullback-Leibler divergence of its probabilities from the float's, nats; decides.
        agreement: share of cases with the float's class.
        nll: mean negative log likelihood of the label.
        auc: macro AUC, or None where a class has no case.
        forward_top1, forward_codes: of quantization-aware training, the share of classes and of narrow codes that its own forward has in
            common with the integers; else None.
    """

    recipe: str
    divergence: float
    agreement: float
    nll: float
    auc: float | None
    forward_top1: float | None = None
    forward_codes: float | None = None


def try_recipe(candidate: QuantizedNetwork, baseline: Predictions, study: Study, split: Split, narrator: Narrator) -> Trial:
    """What the exported file of `candidate` does on the choosing half of tune.

    Labels do not enter the choice: divergence from the float's probabilities moves less by chance than accuracy does.

    Args:
        baseline: the float file's predictions of (at least) that half.
    """
    ids = choosing_half(split)
    rows = {case: row for row, case in enumerate(baseline.ids)}
    reference = baseline.take(np.array([rows[case] for case in ids], dtype=np.int64))
    with tempfile.TemporaryDirectory() as folder:
        return trial(candidate.recipe, reference, _predict(candidate, study, ids, Path(folder), narrator))


def trial(name: str, reference: Predictions, answered: Predictions) -> Trial:
    """How far `answered` is from `reference`, case by case."""
    return Trial(
        recipe=name,
        divergence=divergence(reference.scores, answered.scores),
        agreement=float((reference.decisions == answered.decisions).mean()),
        nll=nll(answered.scores, answered.labels),
        auc=macro_auc(answered.scores, answered.labels),
    )


def _predict(candidate: QuantizedNetwork, study: Study, ids: Sequence[str], folder: Path, narrator: Narrator) -> Predictions:
    model = export_integer(lower(candidate), folder / f"{candidate.recipe}.onnx")
    with narrator.progress(f"try recipe {candidate.recipe} on tune") as tick:
        return predict_fresh(model, study, ids, out=folder / f"{candidate.recipe}.csv", progress=tick)
