"""Explanations against computations of their own: out of exported files, and by gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clinquant.core.errors import ClinquantError
from clinquant.edge.explain import FILE_METHODS, STEPS, class_map, enlarged, insertion_and_deletion, log_odds, occlusion, rise
from clinquant.edge.runtimes import Outputs, Session, runtime_module
from clinquant.lab.explain import METHODS, PATH_STEPS, differentiable, gradient_maps
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.trace.trace import trace
from test_exactness import classifier, images
from test_qat import rounded


class Corner:
    """A file that answers class 1 by how bright the top left quarter is, and has no class map."""

    runtime = "none"

    def run(self, images: np.ndarray) -> Outputs:
        height, width = images.shape[1:3]
        bright = images[:, : height // 2, : width // 2].mean((1, 2, 3)) / 255
        return Outputs(np.stack([0 * bright, 8 * bright - 4], 1).astype(np.float32), None)


def picture(side: int = 28) -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
    found[: side // 2, : side // 2] += 180
    return found


@pytest.mark.parametrize("method", [occlusion, rise])
def test_files_are_explained_by_what_they_read(method: object) -> None:
    found = method(Corner(), picture(), 1)  # type: ignore[operator]
    assert found.shape == (28, 28)
    inside, outside = found[:12, :12].mean(), found[16:, 16:].mean()
    assert inside > outside + 0.05 * abs(outside) and found[2:10, 2:10].min() > np.median(found[17:, 17:])


def test_occlusion_equals_windows_covered_by_hand() -> None:
    session, pixels = Corner(), picture()
    found = occlusion(session, pixels, 1, windows=7)
    grey = np.rint(pixels.mean((0, 1))).astype(np.uint8)
    falls = []
    for top in (0, 2):
        for left in (0, 2):
            changed = pixels.copy()
            changed[top : top + 4, left : left + 4] = grey
            falls.append(log_odds(session.run(pixels[None]).logits, 1)[0] - log_odds(session.run(changed[None]).logits, 1)[0])
    assert found[2, 2] == pytest.approx(np.mean(falls), rel=1e-4)
    assert found[0, 0] == pytest.approx(falls[0], rel=1e-4)


def test_log_odds_of_two_classes_are_the_difference_of_logits() -> None:
    logits = np.float32([[1, 3], [-2, 5]])
    assert log_odds(logits, 1) == pytest.approx([2, 7])
    three = np.float32([[1, 2, 3]])
    p = np.exp(three[0]) / np.exp(three[0]).sum()
    assert log_odds(three, 0) == pytest.approx([np.log(p[0] / (1 - p[0]))], rel=1e-5)


def test_a_file_without_a_class_map_says_so() -> None:
    with pytest.raises(ClinquantError) as caught:
        class_map(Corner(), picture(), 1)
    assert caught.value.code == "explain-no-map"


def test_the_true_map_inserts_early_and_deletes_early() -> None:
    session, pixels = Corner(), picture()
    good = np.zeros((28, 28))
    good[:14, :14] = 1
    best, worst = (insertion_and_deletion(session, pixels, values, 1) for values in (good, -good))
    assert best[0] > worst[0] + 0.03 and best[1] < worst[1] - 0.1
    counts = np.rint(np.linspace(0, 784, STEPS + 1)).astype(int)
    curve = []
    for count in counts:
        shown = np.zeros(784, bool)
        shown[np.argsort(-good.ravel(), kind="stable")[:count]] = True
        mixed = np.where(shown.reshape(28, 28, 1), np.rint(pixels.mean((0, 1))).astype(np.uint8), pixels)
        logits = session.run(mixed[None]).logits[0].astype(float)
        curve.append(np.exp(logits[1]) / np.exp(logits).sum())
    assert best[1] == pytest.approx(np.trapezoid(curve, dx=1 / STEPS), rel=1e-5)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, Session]]:
    """The network and the opened file of both, of one classifier with random weights."""
    source, folder = classifier("resnet20"), tmp_path_factory.mktemp("files")
    quantized = rounded(source, images(28, 16, 1), "w4a4").quantized("mse")
    paths = {
        "float": export_float(fold_batch_norm(trace(source.module)), source.card.preprocess, folder / "float.onnx"),
        "integer": export_integer(lower(quantized), folder / "integer.onnx"),
    }
    return {name: (network, open_file(paths[name])) for name, network in (("float", source), ("integer", quantized))}


def open_file(path: Path) -> Session:
    return runtime_module("onnxruntime").load(path, 1)


@pytest.mark.parametrize("file", ["float", "integer"])
def test_the_class_map_of_a_file_means_its_logits(files: dict[str, tuple[object, Session]], file: str) -> None:
    _, session = files[file]
    pixels = images(28, 6, 3)
    out = session.run(pixels)
    assert out.class_map is not None
    apart = out.class_map.mean((2, 3)) - out.logits
    assert np.abs(apart - apart.mean(0)).max() < (1e-4 if file == "float" else 0.05)  # the bias alone is left
    assert np.array_equal(class_map(session, pixels[0], 1), enlarged(out.class_map[0, 1], (28, 28)))


@pytest.mark.parametrize("method", FILE_METHODS)
def test_every_method_explains_both_files(files: dict[str, tuple[object, Session]], method: str) -> None:
    for _, session in files.values():
        found = FILE_METHODS[method](session, images(28, 1, 4)[0], 2)
        assert found.shape == (28, 28) and np.isfinite(found).all() and found.std() > 0


@pytest.mark.parametrize("file", ["float", "integer"])
def test_gradients_are_those_of_autograd(files: dict[str, tuple[object, Session]], file: str) -> None:
    network, _ = files[file]
    module, pixels, labels = differentiable(network), images(28, 3, 5), np.array([0, 2, 1])  # type: ignore[arg-type]
    preprocess = network.card.preprocess  # type: ignore[attr-defined]
    x = normalised(pixels, preprocess).requires_grad_()
    module(x)[torch.arange(3), torch.from_numpy(labels)].sum().backward()
    found = gradient_maps("gradient", module, pixels, labels, preprocess)
    assert np.allclose(found, x.grad.abs().sum(1).numpy(), rtol=1e-4, atol=1e-7)  # type: ignore[union-attr]
    way = normalised(pixels, preprocess)
    total = torch.zeros_like(way)
    nodes, weights = np.polynomial.legendre.leggauss(PATH_STEPS)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = (float(node) * way).requires_grad_()
        module(point)[torch.arange(3), torch.from_numpy(labels)].sum().backward()
        total += float(weight) * point.grad  # type: ignore[operator]
    found = gradient_maps("integrated_gradients", module, pixels, labels, preprocess)
    assert np.allclose(found, (total * way).abs().sum(1).numpy(), rtol=1e-2, atol=1e-4)


def test_grad_cam_of_a_pooled_linear_network_is_its_class_map_where_positive(files: dict[str, tuple[object, Session]]) -> None:
    network, session = files["float"]
    pixels, labels = images(28, 4, 6), np.array([0, 1, 2, 1])
    out = session.run(pixels)
    assert out.class_map is not None
    maps = np.stack([np.maximum(out.class_map[row, label], 0) for row, label in enumerate(labels)])
    expected = np.stack([enlarged(each / each[0].size / len(each), (28, 28)) for each in maps])
    found = gradient_maps("grad_cam", differentiable(network), pixels, labels, network.card.preprocess)  # type: ignore[arg-type, attr-defined]
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_smoothgrad_is_the_same_for_the_same_pictures(files: dict[str, tuple[object, Session]]) -> None:
    network, _ = files["float"]
    module, pixels = differentiable(network), images(28, 2, 7)  # type: ignore[arg-type]
    one, two = (gradient_maps("smoothgrad", module, pixels, np.array([0, 1]), network.card.preprocess) for _ in range(2))  # type: ignore[attr-defined]
    assert np.array_equal(one, two) and one.std() > 0


def test_every_gradient_method_runs_on_the_quantized_network(files: dict[str, tuple[object, Session]]) -> None:
    network, _ = files["integer"]
    module, pixels = differentiable(network), images(28, 2, 8)  # type: ignore[arg-type]
    for method in METHODS:
        found = gradient_maps(method, module, pixels, np.array([0, 1]), network.card.preprocess)  # type: ignore[attr-defined]
        assert found.shape == (2, 28, 28) and np.isfinite(found).all() and found.std() > 0
