"""Vision transformers: linear layers and products of matrices in integers, softmax and layer norm in float, counted and said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from clinquant.core.card import Card
from clinquant.core.edges import open_edges
from clinquant.core.integer import Dense, IntegerProgram, MatMul
from clinquant.core.preprocess import Preprocess
from clinquant.core.reference import execute
from clinquant.edge.integer_audit import integer_audit
from clinquant.edge.runtimes.onnxruntime import load
from clinquant.evidence.reliability import nll
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.export.qdq import export_qdq
from clinquant.lab.quantize.agreement import Agreement
from clinquant.lab.quantize.execute import Executor, normalised
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.guidance import Learning
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.passes import FineTune, Settle
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.recipes import RECIPES, begin, run_recipes
from clinquant.lab.quantize.settled import Settled
from clinquant.lab.quantize.simulate import Simulation
from clinquant.lab.quantize.trace.trace import trace
from networks import PooledTokens, SmallTransformer
from small_training import small_plan, spots
from test_exactness import every_tensor, images

SIZE = 28
TRANSFORMERS: dict[str, Callable[[], nn.Module]] = {
    "written_out": SmallTransformer,
    "torch_attention": lambda: SmallTransformer(ready_made=True),
    "torch_encoder": lambda: PooledTokens(3),
}


def transformer(name: str) -> Classifier:
    torch.manual_seed(0)
    card = Card(architecture=name, classes=tuple("abc"), positive=None, preprocess=Preprocess(size=SIZE))
    return Classifier(module=TRANSFORMERS[name]().eval(), card=card)


@pytest.fixture(scope="module")
def quantized() -> Callable[[str, str], QuantizedNetwork]:
    made: dict[tuple[str, str], QuantizedNetwork] = {}

    def make(name: str, bits: str = "w8a8") -> QuantizedNetwork:
        if (name, bits) not in made:
            made[name, bits] = quantize(transformer(name), images(SIZE, 16, 1), bits=bits, recipes=("mse",))["mse"]
        return made[name, bits]

    return make


Made = Callable[..., QuantizedNetwork]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_traced_layers_compute_what_the_module_does_and_keep_its_names(name: str) -> None:
    source = transformer(name)
    network, x = trace(source.module, SIZE), torch.randn(5, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.allclose(Executor(network)(x), source.module(x), atol=1e-5)
    weighted = {node.name for node in network if node.op == "linear"}
    expected = {
        "written_out": {"attention.qkv", "attention.project", "mlp.0", "mlp.3", "head"},
        "torch_attention": {"attention.linear", "attention.linear_1", "mlp.0", "mlp.3", "head"},
        "torch_encoder": {"encoder.self_attn.linear", "encoder.self_attn.linear_1", "encoder.linear1", "encoder.linear2", "hidden", "head"},
    }
    assert weighted == expected[name]
    assert not any(node.op == "affine" for node in network), "the factor of attention costs nothing"


@pytest.mark.parametrize("bits", ["w8a8", "w4a4"])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_code_is_near_the_reference(name: str, bits: str, quantized: Made, tmp_path: Path) -> None:
    """What lies before the first island equals it; behind, an island may give the next code, and what reads it follows."""
    program = lower(quantized(name, bits), temperature=1.7)
    assert open_edges(program) == ()
    path, pixels = export_integer(program, tmp_path / "integer.onnx"), images(SIZE, 4, 2)
    expected = execute(program, pixels) | {"pixels": pixels}
    assert np.array_equal(Simulation(program)(pixels).numpy(), expected["logits"])
    exact = {operator.name for operator in program.operators[: first_island(program)]}
    for optimised in (False, True):
        for tensor, codes in every_tensor(path, program, pixels, optimised=optimised).items():
            if tensor in exact:
                assert np.array_equal(codes, expected[tensor]), (tensor, optimised)
            elif tensor == "logits":
                assert np.abs(codes - expected[tensor]).max() < 0.2 * np.abs(expected[tensor]).max()
            else:
                far = np.abs(codes.astype(int) - expected[tensor])
                most = 2 if bits == "w8a8" else 8  # a step of 4 bits is many of the sum that it goes into
                assert (far > most).mean() < 0.05 and (far > 0).mean() < 0.4, (tensor, optimised, far.max())


def first_island(program: IntegerProgram) -> int:
    return next(index for index, operator in enumerate(program.operators) if operator.name in program.islands)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_files_follow_the_module_and_say_that_they_are_not_portable(name: str, quantized: Made, tmp_path: Path) -> None:
    source, network = transformer(name), quantized(name)
    pixels = images(SIZE, 24, 3)
    with torch.no_grad():
        expected = source.module(normalised(pixels, source.card.preprocess)).numpy()
    folded = fold_batch_norm(trace(source.module, SIZE))
    answered = load(export_float(folded, source.card.preprocess, tmp_path / "float.onnx")).run(pixels).logits
    assert np.allclose(answered, expected, atol=1e-4)
    program = lower(network)
    path = export_integer(program, tmp_path / "integer.onnx")
    integer = load(path).run(pixels).logits
    assert (integer - expected).std() < 0.1 * expected.std()
    session = onnxruntime.InferenceSession(str(export_qdq(network, tmp_path / "qdq.onnx")), providers=["CPUExecutionProvider"])
    assert (session.run(None, {"image": pixels})[0] - expected).std() < 0.1 * expected.std()
    islands = 4 if name != "torch_encoder" else 3
    assert len(program.islands) == network.card.float_islands == islands and network.card.portable is False
    assert sum(isinstance(operator, Dense | MatMul) for operator in program.operators) == 6
    float_types = [n.op_type for n in onnx.load(path).graph.node if n.op_type in ("MatMul", "Gemm", "Softmax", "LayerNormalization", "Add")]
    assert len(float_types) == islands and set(float_types) == {"Softmax", "LayerNormalization"}
    assert integer_audit(path, SIZE).share_int8 == 1.0
    network.save(tmp_path)
    again = export_integer(lower(QuantizedNetwork.load(tmp_path)), tmp_path / "again.onnx")
    assert again.read_bytes() == path.read_bytes()


def test_every_recipe_takes_tokens() -> None:
    source, pixels = transformer("torch_encoder"), images(SIZE, 8, 3)
    with torch.no_grad():
        expected = source.module(normalised(pixels, source.card.preprocess)).numpy()
    for recipe, made in quantize(source, images(SIZE, 8, 1), bits="w4a8", recipes=tuple(RECIPES)).items():
        assert (execute(lower(made), pixels)["logits"] - expected).std() < 0.5 * expected.std(), recipe


@pytest.mark.parametrize("method", ["lsq", "lsq+"])
def test_training_at_8_bits_takes_tokens_and_exports_what_it_learnt(method: str, tmp_path: Path) -> None:
    source, (pixels, labels) = transformer("written_out"), spots(96, 1, SIZE)
    calibration = Calibration(pixels=pixels[:32], preprocess=source.card.preprocess)
    heard: list[Agreement] = []
    three = np.where(np.arange(96) < 6, 2, labels)  # every class needs an image
    training = FineTune(
        train=(pixels, three),
        tune=spots(32, 2, SIZE),
        folder=tmp_path,
        method=method,
        learning=Learning(distillation=0.0, rate=1e-3),
        epochs=8,
        compared=heard.append,
    )
    start, seen, labels_of_seen = begin(source, "w8a8"), pixels[6:30], three[6:30]
    made = run_recipes(start, calibration, {"trained": (*RECIPES["mse"], training)})["trained"]
    before, after = ({node.name: node.params for node in model.network} for model in (start, made))
    assert np.abs(after["attention.qkv"]["weight"] - before["attention.qkv"]["weight"]).max() > 1e-3
    assert np.abs(after["norm1"]["gamma"] - before["norm1"]["gamma"]).max() > 1e-4
    program = lower(made.quantized(method))
    expected = execute(program, seen)["logits"]
    answered = load(export_integer(program, tmp_path / "trained.onnx")).run(seen).logits
    assert np.abs(answered - expected).max() < 0.2 * np.abs(expected).max()
    assert heard[0].top1 > 0.9
    untrained = execute(lower(run_recipes(start, calibration, {"mse": RECIPES["mse"]})["mse"].quantized("mse")), seen)["logits"]
    assert nll(answered, labels_of_seen) < nll(untrained, labels_of_seen)


def test_what_settles_is_what_is_exported(tmp_path: Path) -> None:
    """Constants and layer norm stay as they are, weights and biases learn on fixed grids."""
    source, (pixels, labels) = transformer("written_out"), spots(64, 1, SIZE)
    calibration = Calibration(pixels=pixels[:32], preprocess=source.card.preprocess)
    start = run_recipes(begin(source, "w8a8"), calibration, {"mse": RECIPES["mse"]})["mse"]
    plan = small_plan(epochs=1, classes=3, class_weights=(1.0, 1.0, 1.0), preprocess=source.card.preprocess)
    settle = Settle(train=(pixels, labels), tune=spots(32, 2, SIZE), plan=plan, folder=tmp_path)
    learnt = settle(start, calibration)
    with torch.no_grad():
        simulated = Settled(learnt).eval()(normalised(pixels[:12], source.card.preprocess)).numpy()
    expected = execute(lower(learnt.quantized("x")), pixels[:12])["logits"]
    assert np.median(np.abs(simulated - expected)) < 0.05 * np.abs(expected).max()
    kept, changed = start.network["norm1"].params["gamma"], learnt.network["norm1"].params["gamma"]
    assert np.array_equal(kept, changed)
    assert not np.array_equal(start.network["mlp.0"].params["weight"], learnt.network["mlp.0"].params["weight"])
