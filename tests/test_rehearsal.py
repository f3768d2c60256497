"""A user's own network: what cannot be made integer is named before any training, and code that changed is trained anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinquant.core.artifact import sha256_file
from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.lab.architectures import ARCHITECTURES, find_architecture
from clinquant.lab.build import build
from clinquant.lab.options import BuildOptions
from clinquant.lab.rehearsal import rehearse
from networks import Branches, Plain, SmallTransformer
from tiny_bundle import write_pictures

USERS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, act=nn.ReLU, outputs=2, norm=nn.Identity):
        super().__init__()
        self.conv, self.act, self.norm, self.head = nn.Conv2d(3, 8, 3), act(), norm(), nn.Linear(8, outputs)

    def features(self, x):
        return self.act(self.norm(self.conv(x)))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))

def good(classes):
    return Net()

def softplus(classes):
    return Net(nn.Softplus)

def seven(classes):
    return Net(outputs=7)

class Softened(Net):
    def forward(self, x):
        return super().forward(x).softmax(1)

def broken(classes):
    net = Net()
    net.conv.weight.data[0, 0, 0, 0] = float("nan")
    return net

def lone(classes): return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))

class Viewing(Net):
    def __init__(self):
        super().__init__(nn.SiLU)
        self.head = nn.Linear(8 * 14 * 14, 2)

    def forward(self, x):
        x = self.features(x)
        return self.head(x.view(x.size(0), -1))

class Branching(Net):
    def features(self, x):
        return super().features(x if x.sum() > 0 else -x)

class Sliced(Net):
    def features(self, x):
        return torch.relu(super().features(x)[:, :, ::2])

class Reshaped(Net):
    def features(self, x):
        n, c, h, w = x.size()
        return super().features(x.reshape(n, h, c, w).reshape(n, c, h, w))

class Auxiliary(Net):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits

class Large(Net):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 40)

def viewing(classes): return Viewing()
def branching(classes): return Branching()
def sliced(classes): return Sliced()
def reshaped(classes): return Reshaped()
def auxiliary(classes): return Auxiliary()
def large(classes): return Large()
def softened(classes): return Softened()
def raising(classes): raise ValueError("no such backbone")
def nothing_asked(): return Net()
def lazy(classes): return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LazyLinear(classes))

class LogSoftened(Net):
    def forward(self, x):
        return nn.functional.log_softmax(super().forward(x), 1)

class Grey(Net):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)

def log_softened(classes): return LogSoftened()
def log_softmax_layer(classes): return nn.Sequential(Net(), nn.LogSoftmax(1))
def grey(classes): return Grey()
def group_norm(classes): return Net(norm=lambda: nn.GroupNorm(2, 8))
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users.py"
    path.write_text(USERS)
    return path


def card(architecture: str, size: int = 16, classes: int = 2) -> Card:
    names = tuple(f"class {index}" for index in range(classes))
    return Card(architecture=architecture, classes=names, positive=1 if classes == 2 else None, preprocess=Preprocess(size=size))


@pytest.mark.parametrize(
    ("function", "code", "names"),
    [
        ("softplus", "operator-unsupported", "act: Softplus"),
        ("seven", "arch-broken", "[2, 7], expected logits [2, 2]"),
        ("softened", "operator-unsupported", "softmax"),
        ("broken", "arch-broken", "conv.weight"),
        ("lone", "operator-unsupported", "only layer"),
        ("branching", "trace-failed", "control flow"),
        ("sliced", "operator-unsupported", "steps"),
        ("reshaped", "trace-failed", "reshaped"),
        ("auxiliary", "arch-broken", "tuple"),
        ("large", "arch-broken", "Kernel size"),
        ("raising", "arch-broken", "no such backbone"),
        ("nothing_asked", "arch-broken", "positional"),
    ],
)
def test_what_has_no_integer_form_is_named(function: str, code: str, names: str, users: Path) -> None:
    name = f"{users}:{function}"
    with pytest.raises(ClinquantError) as caught:
        rehearse(find_architecture(name).build(2), card(name))
    assert caught.value.code == code and names in caught.value.message


@pytest.mark.parametrize(
    ("function", "fix"),
    [
        ("lazy", "run the network once on zeros"),
        ("log_softened", "return the logits"),
        ("log_softmax_layer", "return the logits"),
        ("grey", "x[:, :1]"),
        ("group_norm", "BatchNorm2d"),
    ],
)
def test_the_fix_is_the_one_that_helps(function: str, fix: str, users: Path) -> None:
    name = f"{users}:{function}"
    with pytest.raises(ClinquantError) as caught:
        rehearse(find_architecture(name).build(2), card(name))
    assert fix in caught.value.fix and "\n" not in caught.value.message


def test_every_network_of_the_zoo_passes() -> None:
    for name, architecture in ARCHITECTURES.items():
        size = 32 if architecture.size > 64 else architecture.size
        rehearse(architecture.build(3), card(name, size, classes=3))
    rehearse(Branches(3), card("branches", 16, classes=3))
    rehearse(Plain(2), card("plain", 28))
    rehearse(SmallTransformer(2), card("transformer", 28))


def test_narrow_widths_need_a_layer_to_narrow(users: Path) -> None:
    name = f"{users}:good"
    rehearse(find_architecture(name).build(2), card(name))
    with pytest.raises(ClinquantError, match="would narrow nothing"):
        rehearse(find_architecture(name).build(2), card(name), bits="w4a4")


def test_refused_before_training_and_trained_anew_when_the_code_has_changed(users: Path, tmp_path: Path) -> None:
    data, out = write_pictures(tmp_path / "pictures", each=30), tmp_path / "run"
    options = {"data": str(data), "size": 16, "epochs": 1}
    with pytest.raises(ClinquantError, match="Softplus"):
        build(BuildOptions(arch=f"{users}:softplus", **options), out)
    assert not (out / "train").exists()
    build(BuildOptions(arch=f"{users}:viewing", **options), tmp_path / "viewing")
    assert "SiLU-like activations (act)" in (tmp_path / "viewing" / "plan.json").read_text()
    build(BuildOptions(arch=f"{users}:good", **options), out)
    first = sha256_file(out / "float.onnx")
    users.write_text(USERS.replace("act=nn.ReLU,", "act=nn.ReLU6,"))
    build(BuildOptions(arch=f"{users}:good", **options), out)
    assert sha256_file(out / "float.onnx") != first
