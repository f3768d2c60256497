"""The file that a browser runs is compared with the integer file on every test image, and nothing is packed where one differs."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from app_bundle import write_integer_bundle
from clinquant.core.errors import ClinquantError
from clinquant.data.read import read_study
from clinquant.data.study import Study
from clinquant.edge.browser_model import BrowserModel
from clinquant.edge.kernels import BOUND
from clinquant.edge.predict import predict_fresh
from clinquant.lab import browser_file
from clinquant.lab.browser_file import prove_browser_file
from clinquant.lab.run import Run
from tiny_bundle import write_pictures


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose integer file has depthwise convolutions, and its answers for eight pictures."""
    folder = tmp_path_factory.mktemp("browser_file")
    bundle = write_integer_bundle(folder / "bundle", bits="w4a8", architecture="mobilenet_v2")
    run = Run(folder / "run")
    run.path("work").mkdir(parents=True)
    run.path("integer.onnx").write_bytes(bundle.model.read_bytes())
    study = study_of(folder)
    run.path("predictions").mkdir()
    predict_fresh(run.path("integer.onnx"), study, ids(study), out=run.path("predictions/test.integer.csv"))
    return run


def study_of(folder: Path) -> Study:
    pictures = folder / "pictures"
    return read_study(str(pictures if pictures.exists() else write_pictures(pictures)))


def ids(study: Study) -> list[str]:
    return [case.id for case in study.cases]


def test_it_answers_every_test_image_bit_for_bit(run: Run) -> None:
    study = study_of(run.directory.parent)
    found = prove_browser_file(run, {"test": (study, ids(study))})
    assert found is not None and (found.compared, found.differing, found.optimise) == (8, 0, False)
    assert found.in_float > 15 and 0 < found.largest_sum < BOUND


def test_one_wrong_weight_is_found_and_stops_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a depthwise weight of the float kernels is another integer."""
    study = study_of(run.directory.parent)

    def sabotaged(run: Run) -> BrowserModel | None:
        made = make(run)
        model = onnx.load(str(run.path(browser_file.BROWSER_FILE)))
        weight = next(tensor for tensor in model.graph.initializer if tensor.name.endswith(".weight_float"))
        weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
        onnx.save(model, run.path(browser_file.BROWSER_FILE))
        return made

    make = browser_file.make_browser_file
    monkeypatch.setattr(browser_file, "make_browser_file", sabotaged)
    with pytest.raises(ClinquantError) as error:
        prove_browser_file(run, {"test": (study, ids(study))})
    assert error.value.code == "browser-differs"
