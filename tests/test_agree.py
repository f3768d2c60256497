"""`clinquant agree`: real images through one file on every machine that is here, byte by byte; and what differs is found."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from app_bundle import write_integer_bundle
from clinquant.cli.main import run
from clinquant.core.errors import ClinquantError
from clinquant.edge.agree import agree as verb
from clinquant.edge.agree.agree import agree, compare_file
from clinquant.edge.agree.targets import TARGETS, target_module
from clinquant.edge.agree.targets.arm64 import environment_folder
from clinquant.edge.bundle import Bundle
from clinquant.edge.machine import cpu_features


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_integer_bundle(tmp_path_factory.mktemp("agree"))


def installed(name: str) -> None:
    if reason := target_module(name).missing():
        pytest.skip(reason)


@pytest.mark.parametrize("name", TARGETS)
def test_real_images_give_the_same_bytes(name: str, bundle: Bundle, shared_data: Path) -> None:
    installed(name)
    found = agree(bundle, [name], [str(shared_data / "kermany_cxr_orig_sample")], limit=4)
    compared = found.targets[0]
    assert found.images == 4 and compared.bytes > 4 * 2 * 4 and compared.runtime.startswith("onnxruntime")
    assert (compared.agrees, compared.differing_bytes, compared.largest) == (True, 0, 0.0)


@pytest.mark.parametrize("name", ["arm64", "wasm-node"])
def test_packed_weights_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    """4-bit weights, which the browser's runtime takes widened; the golden vectors' pictures."""
    installed(name)
    compared = agree(write_integer_bundle(tmp_path, bits="w4a4"), [name]).targets[0]
    assert compared.agrees and compared.differing_bytes == 0


def write_full_range(path: Path) -> Path:
    """A convolution with weights of the full 8 bits: on processors that add pairs in 16 bits its sums saturate."""
    weights = np.full((8, 3, 3, 3), 127, np.int8)
    constants = {
        "one": np.float32(1.0), "zero": np.uint8(0), "scale": np.float32(0.0002), "none": np.int8(0), "weights": weights,
        "large": np.float32(1.0), "sizes": np.array([16, 16], np.int64),
    }  # fmt: skip
    names = ["nchw", "one", "zero", "weights", "scale", "none", "large", "zero"]
    nodes = [
        helper.make_node("Resize", ["image", "", "", "sizes"], ["resized"], mode="linear", axes=[1, 2]),
        helper.make_node("Transpose", ["resized"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("QLinearConv", names, ["sums"], kernel_shape=[3, 3]),
        helper.make_node("DequantizeLinear", ["sums", "large", "zero"], ["real"]),
        helper.make_node("Flatten", ["real"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 8 * 14 * 14])]
    graph = helper.make_graph(nodes, "full", inputs, outputs, [numpy_helper.from_array(value, key) for key, value in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@pytest.mark.skipif("avx512_vnni" not in cpu_features() and "avx_vnni" not in cpu_features(), reason="this processor has no VNNI")
def test_a_file_that_is_not_portable_is_found_out(tmp_path: Path) -> None:
    """The control: weights of the full range are why the portable form has 7 bits."""
    installed("x86-no-vnni")
    pictures = [np.random.default_rng(seed).integers(180, 256, (32, 32, 3), dtype=np.uint8) for seed in range(2)]
    compared = compare_file(write_full_range(tmp_path / "full.onnx"), pictures, ["native", "x86-no-vnni"]).targets
    assert compared[0].agrees and not compared[1].agrees and compared[1].differing_bytes > 0


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Targets get a file of which one weight is another."""
    write = verb.write_job

    def other(folder: Path, model: bytes, *rest: Any, **options: Any) -> Path:
        if folder.name == "here":
            return write(folder, model, *rest, **options)
        proto = onnx.load_from_string(model)
        largest = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        codes = bytearray(largest.raw_data)
        codes[len(codes) // 2] ^= 0x1F
        largest.raw_data = bytes(codes)
        return write(folder, proto.SerializeToString(), *rest, **options)

    monkeypatch.setattr(verb, "write_job", other)
    yield


def test_one_changed_weight_is_found(bundle: Bundle, changed: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["agree", str(bundle.path), "native"]) == 4
    assert "DIFFERS" in capsys.readouterr().out


def test_a_file_that_is_not_portable_is_compared_by_tolerance(bundle: Bundle, changed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(bundle, card=dataclasses.replace(bundle.card, portable=False))
    monkeypatch.setattr(verb, "TOLERANCE", 1.0)
    found = agree(other, ["native"])
    assert found.targets[0].differing_bytes > 0 and found.targets[0].agrees and found.tolerance is not None
    monkeypatch.setattr(verb, "TOLERANCE", 1e-9)
    assert not agree(other, ["native"]).agrees


def test_targets_are_named_as_on_the_command_line(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["agree", str(bundle.path), "--targets", "native", "--limit", "1"]) == 0
    head, here, native = capsys.readouterr().out.splitlines()
    assert head.startswith("target") and "compared with" in here and native.startswith("native") and "the same bytes" in native
    assert run(["agree", str(bundle.path), "--targets", "native,nowhere"]) == 2
    assert "error[target-unknown]" in capsys.readouterr().err


def test_what_is_not_installed_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    assert run(["agree", str(bundle.path), "--json"]) == 0
    found = {each["target"]: each for each in json.loads(capsys.readouterr().out)["targets"]}
    assert found["native"]["agrees"] is True
    for name in ("x86-no-vnni", "arm64", "wasm-node", "wasm-chromium"):
        assert found[name]["agrees"] is None and "not installed" in found[name]["not_run"]
    assert run(["agree", str(bundle.path), "x86-no-vnni"]) == 5, "nothing was compared"
    assert "NOT RUN" in capsys.readouterr().out


def test_an_arm_environment_without_a_runtime_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINQUANT_ARM64", str(tmp_path))
    assert environment_folder() == tmp_path
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert str(tmp_path) in str(target_module("arm64").missing())


def test_a_target_that_fails_says_why(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = verb.write_job

    def broken(folder: Path, model: bytes, *rest: Any, **options: Any) -> Path:
        return write(folder, model if folder.name == "here" else b"no model", *rest, **options)

    monkeypatch.setattr(verb, "write_job", broken)
    with pytest.raises(ClinquantError) as caught:
        agree(bundle, ["native"])
    assert caught.value.code == "target-failed" and "cannot open" in caught.value.message


def test_ci_installs_the_emulated_processors_by_the_commands_of_the_page() -> None:
    """With the versions that this project is tested with, where the target looks for them."""
    root = Path(__file__).parents[1]
    script = (root / ".ci" / "run").read_text()
    function = script[script.index("commands_of_the_page()") : script.index("if can_install")]
    commands = subprocess.run(
        ["bash", "-c", f"{function}\ncommands_of_the_page"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    pins = [line for line in (root / "constraints.txt").read_text().splitlines() if line.split("==")[0] in ("numpy", "onnxruntime")]
    assert len(pins) == 2 and all(pin in commands for pin in pins)
    assert "install qemu-user" in script and "sudo" not in commands and "~/.cache/clinquant/arm64" in commands
