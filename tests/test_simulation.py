"""Simulation equals deployment: torch, the numpy reference and ONNX Runtime agree on every code of every tensor, on real images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clinquant.core import reference
from clinquant.core.affine import QParams, TensorSpec
from clinquant.core.edges import open_edges
from clinquant.core.integer import Clip, Conv, IntegerProgram, Requantize
from clinquant.core.reference import execute
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.simulate import RULES, Simulation, sum_type
from clinquant.lab.quantize.widths import WIDTHS
from test_exactness import NETWORKS, classifier, every_tensor, images

CHUNK = 50
"""Images a comparison: every tensor of a chunk is held at once."""

COUNTS = {"resnet20": 500, "plain": 500, "small_silu": 500, "small_hard_swish": 500, "resnet18_28": 50}
"""Real images a network; those for large pictures take 20 of 64 px. `benchmarks/exactness.py` takes 500 at full size of all."""

Programs = Callable[[str, str], IntegerProgram]


@pytest.fixture(scope="module")
def program_of() -> Iterator[Programs]:
    """(network, bits) -> its program, made once; how good the weights' grids are makes no difference here, so one share is tried."""
    made: dict[tuple[str, str], IntegerProgram] = {}

    def make(name: str, bits: str) -> IntegerProgram:
        if (name, bits) not in made:
            source = classifier(name)
            calibration = images(source.card.preprocess.size, 8, 1)
            made[name, bits] = lower(quantize(source, calibration, bits=bits, recipes=("mse",))["mse"], temperature=1.7)
        return made[name, bits]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clinquant.lab.quantize.weights.SHARES", np.array([0.7]))
        yield make


def simulated(program: IntegerProgram, pixels: np.ndarray) -> dict[str, np.ndarray]:
    seen: dict[str, np.ndarray] = {}
    Simulation(program).batch(pixels, lambda name, value: seen.__setitem__(name, value.numpy()))
    return seen


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, codes in found.items():
        assert np.array_equal(codes, expected[name]), name


def stays_in_width(program: IntegerProgram, found: dict[str, np.ndarray]) -> None:
    """No code that anyone but a Clip reads leaves the width of its grid."""
    for operator in program.operators:
        for name in operator.inputs:
            if name in program.tensors and not isinstance(operator, Clip):
                assert found[name].max() <= program.tensors[name].spec.qmax, (operator.name, name)


@pytest.fixture(scope="module")
def real_images(shared_data: Path) -> Callable[[int, int], np.ndarray]:
    """(count, size) -> real images, uint8 [count, size, size, 3]: half fundus photographs in colour, half chest X-rays in grey."""

    def make(count: int, size: int) -> np.ndarray:
        colour = np.load(shared_data / "medmnist" / "retinamnist.npz")["train_images"][: count // 2]
        grey = np.load(shared_data / "medmnist" / "pneumoniamnist_rebuilt.npz")["train_images"][: count - count // 2]
        both = np.concatenate([colour, np.repeat(grey[..., None], 3, axis=3)])
        return both if size == 28 else resized(both, size)

    return make


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR)) for picture in pixels])


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("name", NETWORKS)
def test_simulation_equals_the_reference_on_every_code(name: str, bits: str, program_of: Programs) -> None:
    program = program_of(name, bits)
    pixels = images(program.size, 2, 2)
    found, expected = simulated(program, pixels), execute(program, pixels)
    assert set(found) == set(expected) - {"image"}
    assert_same(found, expected)
    stays_in_width(program, found)
    assert not open_edges(program)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("branches", "every_function")])
def test_simulation_equals_the_exported_file_on_real_images(
    name: str, bits: str, program_of: Programs, real_images: Callable[[int, int], np.ndarray], tmp_path: Path
) -> None:
    program = program_of(name, bits)
    pixels = real_images(COUNTS.get(name, 20), program.size)
    path = export_integer(program, tmp_path / "integer.onnx")
    logits = []
    for start in range(0, len(pixels), CHUNK):
        chunk = pixels[start : start + CHUNK]
        found = simulated(program, chunk)
        answered = every_tensor(path, program, chunk, optimised=True)
        assert np.array_equal(answered.pop("pixels"), chunk)
        assert set(answered) == set(found) - {program.operators[-1].name}
        assert_same(answered, found)
        stays_in_width(program, found)
        logits.append(found["logits"])
    assert np.array_equal(Simulation(program)(pixels[:CHUNK]).numpy(), logits[0])
    if bits.endswith("a8"):
        assert len(np.unique(np.concatenate(logits), axis=0)) > len(pixels) // 10, "dead codes would make this test easy"


@pytest.mark.parametrize("name", ["branches", "resnet20", "mobilenet_v2"])
@pytest.mark.parametrize("bits", ["w4a4", "w2a2"])
def test_an_edge_without_its_clip_is_found(name: str, bits: str, program_of: Programs) -> None:
    """Removing any one bound of narrow codes is told."""
    program = program_of(name, bits)
    narrow = [o for o in program.operators if isinstance(o, Clip) and program.tensors[o.name].spec.bits < 8]
    assert narrow
    for clip in narrow:
        without = [
            replace(o, inputs=tuple(clip.inputs[0] if source == clip.name else source for source in o.inputs))
            for o in program.operators
            if o is not clip
        ]
        assert any(clip.inputs[0] in sentence for sentence in open_edges(replace(program, operators=tuple(without))))


def test_an_edge_without_a_grid_and_a_weight_too_wide_are_found(program_of: Programs) -> None:
    program = program_of("resnet20", "w4a4")
    conv = next(o for o in program.operators if isinstance(o, Conv) and o.weight_bits == 4)
    tensors = {name: grid for name, grid in program.tensors.items() if name != conv.inputs[0]}
    assert any("no grid" in sentence for sentence in open_edges(replace(program, tensors=tensors)))
    wide = replace(conv, weight=np.full_like(conv.weight, 8))
    operators = tuple(wide if o is conv else o for o in program.operators)
    assert any("more than 4 bits" in sentence for sentence in open_edges(replace(program, operators=operators)))


@pytest.mark.parametrize("bits", [bits for bits in WIDTHS if bits != "w8a8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_inner_layer_reads_and_holds_the_asked_width(name: str, bits: str, program_of: Programs) -> None:
    """A quantizer that is missing on one edge would leave 8 bits there; the first layer reads pixels, the last keeps 8 bits."""
    program = program_of(name, bits)
    image = program.operators[0].name
    convs = [o for o in program.operators if isinstance(o, Conv) and o.inputs[0] != image and not averages(o)]
    assert convs
    for conv in convs:
        assert (conv.weight_bits, program.tensors[conv.inputs[0]].spec.bits) == WIDTHS[bits], conv.name
    for operator in program.operators:
        if isinstance(operator, Requantize):
            assert program.tensors[operator.name].spec.bits == WIDTHS[bits][1]


def averages(conv: Conv) -> bool:
    """True for average pooling, which is written as a convolution of ones."""
    return conv.groups == len(conv.weight) and bool((conv.weight == 1).all())


def test_float64_takes_over_where_float32_would_round() -> None:
    """2,400 products of 255 and 63 pass 2^24; an odd sum there has no float32."""
    weight = np.full((1, 2400, 1, 1), 63, np.int8)
    assert sum_type(weight[:, :1000], np.zeros(1, np.int32), 0) is torch.float32
    assert sum_type(weight, np.zeros(1, np.int32), 0) is torch.float64
    assert sum_type(weight[:, :1000], np.array([2**24], np.int32), 0) is torch.float64
    random = np.random.default_rng(0)
    grid, out = unit_grid(1.0, 0), unit_grid(2400 * 63.0, 0)
    conv = Conv(
        name="sums",
        inputs=("features",),
        weight=weight,
        weight_scale=np.ones(1, np.float32),
        bias=np.ones(1, np.int32),
        stride=(1, 1),
        pads=(0, 0, 0, 0),
        dilation=(1, 1),
        groups=1,
    )
    codes = random.integers(200, 256, (1, 2400, 30, 30)).astype(np.uint8)
    found = RULES[Conv](conv, [grid], out)([torch.from_numpy(codes).float()])
    assert np.array_equal(found.numpy(), reference.conv(conv, [codes], [grid], out))


def unit_grid(scale: float, zero: int) -> QParams:
    return QParams(spec=TensorSpec(), scale=np.asarray(scale, np.float32), zero_point=np.asarray(zero, np.int32))
