"""Proves the file that a browser runs in the integer file's place: by the bound of its sums, and by equality on every test image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from clinquant.core.errors import ClinquantError, Exit
from clinquant.core.predictions import Predictions
from clinquant.data.study import Study
from clinquant.edge.browser_model import BrowserModel, write_browser_model
from clinquant.edge.golden import TOLERANCE
from clinquant.edge.predict import predict_fresh
from clinquant.evidence.evidence import BrowserFile
from clinquant.lab.run import Run

BROWSER_FILE = "work/model.wasm.onnx"


def make_browser_file(run: Run) -> BrowserModel | None:
    """Makes the run's `BROWSER_FILE` of `integer.onnx`; None where a browser runs that itself."""
    return write_browser_model(run.path("integer.onnx"), run.path(BROWSER_FILE))


def prove_browser_file(
    run: Run, made: BrowserModel, tests: Mapping[str, tuple[Study, Sequence[str]]], *, islands: bool = False
) -> BrowserFile:
    """Runs `BROWSER_FILE` on every test case, in a fresh process on this machine, and compares its logits with the integer file's bits.

    Args:
        made: by `make_browser_file`.
        tests: part -> study and case ids, of which `predictions/<part>.integer.csv` holds the integer file's answers.
        islands: the file computes operators in float, whose last bit may follow the graph's form: then by `TOLERANCE`.

    Raises:
        ClinquantError: `browser-differs` where any logit does.
    """
    compared = differing = 0
    for part, (study, ids) in tests.items():
        expected = Predictions.read(run.path(f"predictions/{part}.integer.csv")).scores
        out = run.path(f"work/{part}.browser.csv")
        with run.narrator.progress(f"run the browser's file on {part}") as tick:
            found = predict_fresh(run.path(BROWSER_FILE), study, ids, out=out, optimise=made.optimise, progress=tick).scores
        compared, differing = compared + len(ids), differing + int((found.view(np.uint32) != expected.view(np.uint32)).any(1).sum())
        if not _alike(expected, found, islands):
            raise ClinquantError(
                "browser-differs",
                f"the file that a browser would run answers {differing} of {compared} test images otherwise than integer.onnx.",
                fix="nothing was packed; please report this network and its width.",
                exit_code=Exit.REFUSED,
            )
    return BrowserFile(compared=compared, differing=differing, **vars(made))


def _alike(expected: np.ndarray, found: np.ndarray, islands: bool) -> bool:
    if not islands:
        return bool(np.array_equal(expected.view(np.uint32), found.view(np.uint32)))
    return bool(np.allclose(expected, found, rtol=0.0, atol=TOLERANCE * float(np.abs(expected).max(initial=0.0))))
