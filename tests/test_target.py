"""Targets: which weights saturate where, shown on an emulated processor, and what a card says of it."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clinquant.core.errors import ClinquantError
from clinquant.core.integer import Conv
from clinquant.core.reference import execute
from clinquant.edge.golden import golden_images, record_golden, write_golden
from clinquant.edge.machine import cpu_features
from clinquant.edge.runtimes.onnxruntime import load
from clinquant.lab.export.integer import export_integer
from clinquant.lab.prove import printed_bits
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.target import TARGETS, find_target
from clinquant.lab.quantize.widths import Widths
from test_exactness import classifier, images

FULL = ("x86-vnni", "arm-dotprod")
SIZE = 28


def made_for(target: str, bits: str = "w8a8") -> QuantizedNetwork:
    return quantize(classifier("resnet20"), images(SIZE, 8, 1), bits=bits, recipes=("minmax",), target=find_target(target))["minmax"]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_portable_where_no_pair_of_products_leaves_sixteen_bits(name: str) -> None:
    target = TARGETS[name]
    activations = np.arange(target.activation.qmin, target.activation.qmax + 1)
    products = np.outer(activations, np.arange(target.weight.qmin, target.weight.qmax + 1))
    pairs = (2 * products.min(), 2 * products.max())
    assert target.portable == (pairs[0] >= -(2**15) and pairs[1] < 2**15)
    assert target.portable == (name == "portable")


@pytest.mark.parametrize("name", TARGETS)
def test_weights_fill_the_target_and_the_card_says_what_it_is_for(name: str) -> None:
    network = made_for(name)
    largest = max(int(np.abs(o.weight).max()) for o in lower(network).operators if isinstance(o, Conv))
    assert largest == TARGETS[name].weight.qmax == (63 if name == "portable" else 127)
    assert (network.card.target, network.card.portable) == (name, name == "portable")
    assert printed_bits(network.card) == ("w8a8 (7-bit weights)" if name == "portable" else "w8a8")


def test_full_weights_are_exact_where_the_processor_has_the_products(tmp_path: Path) -> None:
    if not {"avx512_vnni", "avx_vnni", "asimddp"} & set(cpu_features()):
        pytest.skip("this processor has no 8-bit dot products")
    program = lower(made_for("x86-vnni", "w4a4"))
    pixels = images(SIZE, 4, 2)
    assert np.array_equal(load(export_integer(program, tmp_path / "m.onnx")).run(pixels).logits, execute(program, pixels)["logits"])


@pytest.mark.parametrize("target,agrees", [("portable", True), ("x86-vnni", False)])
def test_golden_vectors_decide_on_an_emulated_processor_without_vnni(target: str, agrees: bool, tmp_path: Path) -> None:
    """Haswell has AVX2 and no VNNI: the portable file answers there bit for bit, one with full weights is refused."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None or platform.machine() != "x86_64" or not {"avx512_vnni", "avx_vnni"} & set(cpu_features()):
        pytest.skip("needs x86 with VNNI and qemu-x86_64")
    model = export_integer(lower(made_for(target)), tmp_path / "model.onnx")
    write_golden(tmp_path / "golden.npz", record_golden(model, golden_images(SIZE)))
    program = "import sys; from clinquant.edge.golden import *; replay_golden(Path(sys.argv[1]), read_golden(Path(sys.argv[2])))"
    command = [emulator, "-cpu", "Haswell", sys.executable, "-c", program, str(model), str(tmp_path / "golden.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode == 0) == agrees, done.stderr
    assert agrees or "bundle-golden" in done.stderr


@pytest.mark.parametrize("widths,words", [({"weight": {"layer1.0.conv1": 3}}, "3-bit weights"), ({"activation": {"a": 6}}, "6-bit act")])
def test_a_width_that_a_target_cannot_execute_is_named_with_its_layer(widths: dict[str, dict[str, int]], words: str) -> None:
    with pytest.raises(ClinquantError, match="bits-unsupported") as caught:
        quantize(classifier("resnet20"), images(SIZE, 2, 1), widths=Widths(**widths), recipes=("minmax",))
    layer = next(iter(next(iter(widths.values()))))
    assert f"{layer}: {words}" in caught.value.message and "portable" in caught.value.message
    assert "8, 4 or 2 bits" in caught.value.fix


def test_an_unknown_target_is_told() -> None:
    with pytest.raises(ClinquantError, match="target-unknown") as caught:
        find_target("abacus")
    assert all(name in caught.value.fix for name in TARGETS)


@pytest.mark.parametrize("name", FULL)
def test_what_a_target_costs_is_written_beside_it(name: str) -> None:
    page = (Path(__file__).parents[1] / "docs/methods/targets.md").read_text(encoding="utf-8")
    assert f"`{name}`" in page and TARGETS[name].note
