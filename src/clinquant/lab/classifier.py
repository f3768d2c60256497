"""A trained float classifier: the network and its card, saved as two files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from clinquant.core.artifact import read_json, write_bytes, write_json
from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.lab.architectures import find_architecture

WEIGHTS = "float.safetensors"
CARD = "float.card.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A network in evaluation mode, on the processor, in float32, and its card.

    Attributes:
        module: float32 [N, 3, S, S], normalised as the card says, to logits [N, k].
        card: classes, preprocessing, origin.
    """

    module: nn.Module
    card: Card

    def save(self, directory: Path | str) -> None:
        """Writes `float.safetensors` and `float.card.json`; the same classifier gives the same bytes."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.module.state_dict().items()}
        write_bytes(Path(directory) / WEIGHTS, save(state))
        write_json(Path(directory) / CARD, self.card, kind="card")

    @classmethod
    def load(cls, directory: Path | str) -> Classifier:
        """The classifier saved in `directory`.

        Raises:
            ClinquantError: `artifact-missing`, `artifact-broken`, or what `find_architecture` raises.
        """
        card = read_json(Path(directory) / CARD, Card, kind="card")
        module = find_architecture(card.architecture).build(len(card.classes))
        path = Path(directory) / WEIGHTS
        if not path.is_file():
            raise ClinquantError("artifact-missing", f"{path} does not exist.", fix="run 'clinquant train' first.")
        try:
            module.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError) as error:
            raise ClinquantError(
                "artifact-broken", f"{path} does not hold a {card.architecture}: {str(error).splitlines()[0]}", fix="train again."
            ) from error
        return cls(module=module.eval(), card=card)
