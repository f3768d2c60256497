"""The file that a browser runs is compared with the integer file on every test image, and nothing is packed where one differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from app_bundle import write_integer_bundle
from clinquant.core.errors import ClinquantError
from clinquant.data.read import read_study
from clinquant.data.study import Study
from clinquant.edge.browser_model import write_browser_model
from clinquant.edge.kernels import BOUND
from clinquant.edge.predict import predict_fresh
from clinquant.edge.runtimes.onnxruntime import load
from clinquant.lab.browser_file import BROWSER_FILE, make_browser_file, prove_browser_file
from clinquant.lab.mixed import exported
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.passes import Calibrate, FoldBatchNorm
from clinquant.lab.quantize.recipes import begin
from clinquant.lab.run import Run
from test_exactness import classifier, images
from tiny_bundle import write_pictures

FLOAT, INT8, UINT8 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8
INT32, INT64 = TensorProto.INT32, TensorProto.INT64


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
    made = make_browser_file(run)
    assert made is not None
    found = prove_browser_file(run, made, {"test": (study, ids(study))})
    assert (found.compared, found.differing, found.optimise) == (8, 0, False)
    assert found.in_float > 15 and 0 < found.largest_sum < BOUND


@pytest.mark.parametrize("bits", ["w4a4", "w2a2"])
def test_codes_without_a_zero_are_looked_up_before_the_browser_sees_them(bits: str, tmp_path: Path) -> None:
    """As PACT leaves them: a Cast to indices and a table of odd numbers."""
    source = classifier("resnet20")
    pixels, calibration = images(28, 6, 2), Calibration(pixels=images(28, 8, 1), preprocess=source.card.preprocess)
    seen = Calibrate()(FoldBatchNorm()(begin(source, bits), calibration), calibration)
    model, out = tmp_path / "model.onnx", tmp_path / "browser.onnx"
    model.write_bytes(exported(seen, calibration, seen.widths, "pact"))
    made = write_browser_model(model, out)
    assert made is not None
    answers = [load(file, optimise=made.optimise).run(pixels).logits for file in (model, out)]
    assert np.array_equal(*answers)
    written = onnx.load(out)
    assert not [node for node in written.graph.node if node.op_type in ("Cast", "Gather")]
    assert {tensor.data_type for tensor in written.graph.initializer} <= {FLOAT, INT8, UINT8, INT32, INT64}


def test_one_wrong_weight_is_found_and_stops_the_run(run: Run) -> None:
    """The control: a depthwise weight of the float kernels is another integer."""
    study = study_of(run.directory.parent)
    made = make_browser_file(run)
    assert made is not None
    model = onnx.load(str(run.path(BROWSER_FILE)))
    weight = next(tensor for tensor in model.graph.initializer if tensor.name.endswith(".weight_float"))
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(model, run.path(BROWSER_FILE))
    with pytest.raises(ClinquantError) as error:
        prove_browser_file(run, made, {"test": (study, ids(study))})
    assert error.value.code == "browser-differs"
