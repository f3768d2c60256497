"""Initial weights: the published ones classify a photograph; a file fits or the first misfit is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from clinquant.core.errors import ClinquantError
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.weights import head_name, initial_weights, load_backbone, pretrained_state, read_state, sha256_tensors

DAISY = 985  # ImageNet's index


@pytest.fixture(scope="module")
def lite0() -> dict[str, torch.Tensor]:
    try:
        return pretrained_state("efficientnet_lite0")
    except ClinquantError as error:
        if error.code == "weights-unavailable":
            pytest.skip(f"no package index: {error.message}")
        raise


def test_published_weights_know_a_daisy(lite0: dict[str, torch.Tensor]) -> None:
    sample_images = pytest.importorskip("sklearn.datasets").load_sample_image
    module = ARCHITECTURES["efficientnet_lite0"].build(1000).eval()
    assert initial_weights(ARCHITECTURES["efficientnet_lite0"], module, None).endswith("Apache-2.0)")
    preprocess = ARCHITECTURES["efficientnet_lite0"].preprocess()
    flower = Image.fromarray(sample_images("flower.jpg")).crop((133, 27, 507, 400)).resize((224, 224), Image.Resampling.BILINEAR)
    x = (np.asarray(flower, np.float32) - preprocess.mean) / preprocess.std
    with torch.no_grad():
        probability = module(torch.tensor(x, dtype=torch.float32).permute(2, 0, 1)[None]).softmax(1)[0]
    assert int(probability.argmax()) == DAISY and float(probability[DAISY]) > 0.25


def test_the_head_keeps_its_initialisation_where_classes_differ(lite0: dict[str, torch.Tensor]) -> None:
    module = ARCHITECTURES["efficientnet_lite0"].build(2)
    before = module.fc.weight.detach().clone()
    load_backbone(module, lite0, where="published")
    assert torch.equal(module.fc.weight, before)
    assert torch.equal(module.conv_stem.weight, lite0["conv_stem.weight"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_round_trips(tmp_path: Path, suffix: str) -> None:
    architecture = ARCHITECTURES["resnet20"]
    source, path = architecture.build(2), tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": source.state_dict()}, path)
    else:
        save_file(source.state_dict(), path)
    target = architecture.build(2)
    assert initial_weights(architecture, target, str(path)).startswith(path.name)
    assert sha256_tensors(target.state_dict()) == sha256_tensors(source.state_dict())


def test_the_first_misfit_is_named() -> None:
    module = ARCHITECTURES["resnet20"].build(2)
    state = module.state_dict()
    absent = {key: value for key, value in state.items() if key != "layer2.0.conv1.weight"}
    with pytest.raises(ClinquantError, match=r"layer2\.0\.conv1\.weight is absent, the network has 32x16x3x3"):
        load_backbone(module, absent, where="x")
    with pytest.raises(ClinquantError, match=r"conv1\.weight is 16x1x3x3, the network has 16x3x3x3"):
        load_backbone(module, state | {"conv1.weight": torch.zeros(16, 1, 3, 3)}, where="x")
    with pytest.raises(ClinquantError, match="odd is 1, the network has absent"):
        load_backbone(module, state | {"odd": torch.zeros(1)}, where="x")
    assert head_name(module) == "fc"


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


def test_a_pickle_is_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ClinquantError) as caught:
        read_state(path)
    assert caught.value.code == "weights-broken" and "executed" not in capsys.readouterr().out
    assert "Re-running" not in caught.value.message, "torch's advice is to run it"
    with pytest.raises(ClinquantError) as caught:
        read_state(tmp_path / "none.pth")
    assert caught.value.code == "weights-missing"
