"""The zoo: every entry traces, has integer-friendly layers only, and answers at its size."""

from __future__ import annotations

import operator
from pathlib import Path

import pytest
import torch
from torch import fx, nn

from clinquant.core.errors import ClinquantError
from clinquant.lab.architectures import ARCHITECTURES, find_architecture
from clinquant.lab.architectures.efficientnet_lite0 import halving_pad
from clinquant.lab.weights import head_name

PLAIN = (
    nn.Conv2d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.ReLU6,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Linear,
    nn.Dropout,
    nn.ZeroPad2d,
)
PARAMETERS = {  # classes and published counts (torchvision's, the Lite release's; He et al.'s 0.27 million plus 2,752 of option B)
    "efficientnet_lite0": (1000, 4_652_008),
    "mobilenet_v2": (1000, 3_504_872),
    "resnet18": (1000, 11_689_512),
    "resnet50": (1000, 25_557_032),
    "resnet18_28": (2, 11_169_858),
    "resnet18_half": (2, 4_704 + 36_864 + 131_072 * (1 + 4 + 16) + 4_800 + 514),  # no table has it: stem, stages, batch norms, head
    "resnet20": (10, 269_722 + 2_752),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_traces_to_plain_layers_and_ends_in_pooling_and_a_linear_layer(name: str) -> None:
    module = ARCHITECTURES[name].build(3).eval()
    graph = fx.symbolic_trace(module)
    for node in graph.graph.nodes:
        assert node.op in ("placeholder", "output", "call_module") or node.target is operator.add
        if node.op == "call_module":
            assert type(graph.get_submodule(str(node.target))) in PLAIN
    layers = [graph.get_submodule(str(node.target)) for node in graph.graph.nodes if node.op == "call_module"]
    tail = [type(layer) for layer in layers if not isinstance(layer, nn.Dropout)][-3:]
    assert tail == [nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear]
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(graph(x), module(x)) and module(x).shape == (2, 3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_number_of_parameters_is_the_published_one(name: str) -> None:
    classes, expected = PARAMETERS[name]
    assert sum(parameter.numel() for parameter in ARCHITECTURES[name].build(classes).parameters()) == expected


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_parameters_are_named_as_in_published_checkpoints(name: str) -> None:
    keys = set(ARCHITECTURES[name].build(1000).state_dict())
    published = {
        "resnet18": {"conv1.weight", "bn1.running_var", "layer2.0.downsample.1.bias", "layer4.1.conv2.weight", "fc.bias"},
        "resnet50": {"conv1.weight", "layer1.0.downsample.0.weight", "layer4.2.bn3.num_batches_tracked", "fc.weight"},
        "mobilenet_v2": {
            "features.0.0.weight",
            "features.1.conv.0.0.weight",
            "features.2.conv.2.weight",
            "features.18.1.bias",
            "classifier.1.bias",
        },
    }
    assert published[name] <= keys
    assert len(keys) == {"resnet18": 122, "resnet50": 320, "mobilenet_v2": 314}[name]


@pytest.mark.parametrize("kernel", [3, 5])
def test_halving_pad_is_tensorflows_same_padding(kernel: int) -> None:
    side = 14
    total = (side // 2 - 1) * 2 + kernel - side
    assert halving_pad(kernel).padding == (total // 2, total - total // 2) * 2


def test_medmnist_checkpoint_names_become_ours() -> None:
    architecture = ARCHITECTURES["resnet18_28"]
    assert architecture.our_name("layer2.0.shortcut.0.weight") == "layer2.0.downsample.0.weight"
    own = architecture.build(2).state_dict()
    assert architecture.our_name("linear.weight") in own and {architecture.our_name(key) for key in own} == set(own)


def test_a_users_file_and_module_work_the_same(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def net(num_classes):\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))\n"
        "def wrong(num_classes):\n"
        "    return num_classes\n"
    )
    module = find_architecture(f"{tmp_path / 'mine.py'}:net").build(5)
    assert module(torch.zeros(1, 3, 8, 8)).shape == (1, 5) and head_name(module) == "2"
    assert head_name(find_architecture("clinquant.lab.architectures.resnet20:resnet20").build(2)) == "fc"
    with pytest.raises(ClinquantError, match="returned int"):
        find_architecture(f"{tmp_path / 'mine.py'}:wrong").build(5)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("resnet81", "arch-unknown"),
        ("no_such_module:net", "arch-broken"),
        ("clinquant.lab.architectures:no", "arch-broken"),
        ("a/b.py:net", "arch-broken"),
    ],
)
def test_what_is_not_there_is_named(name: str, code: str) -> None:
    with pytest.raises(ClinquantError) as caught:
        find_architecture(name)
    assert caught.value.code == code
