"""What a toolkit gives: a file of bytes, and a way to run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from benchmarks.peers.case import Case
from numpy.typing import NDArray

from clinquant.evidence.reliability import divergence

Images = NDArray[np.float32]
"""float32 [n, 3, s, s], normalised as the float network was trained."""


class Unsupported(Exception):
    """The toolkit has no such width; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A quantized network on its runtime.

    Attributes:
        predict: images to float logits [n, k]; one thread.
        bytes: of the exported file.
        runtime: name and version; `simulated` where no integer kernel runs.
        recipe: what was done, in words.
    """

    predict: Callable[[Images], NDArray[Any]]
    bytes: int
    runtime: str
    recipe: str


def best_on_tune(case: Case, candidates: Mapping[str, Callable[[], Deployed]]) -> Deployed:
    """The candidate whose probabilities on tune diverge least from the float file's (mean Kullback-Leibler), as our ladder chooses.

    A candidate that raises is left out; if all do, the first error is raised.
    """
    tried: dict[str, tuple[float, Deployed]] = {}
    errors: list[Exception] = []
    for name, make in candidates.items():
        try:
            deployed = make()
            scores = deployed.predict(case.tune)
            tried[name] = divergence(case.float_tune, scores) if np.isfinite(scores).all() else float("inf"), deployed
        except Exception as error:  # every toolkit raises in its own way
            errors.append(error)
    if not tried:
        raise errors[0]
    name = min(tried, key=lambda candidate: tried[candidate][0])
    return replace(tried[name][1], recipe=f"{name} (best of {len(tried)} on tune)")
