"""How pixels become the network's input, as data: it travels in the card and is written into the exported graph."""

from __future__ import annotations

from dataclasses import dataclass

from clinquant.core.errors import ClinquantError


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Resize to a square, then (pixel - mean) / std per channel.

    Attributes:
        size: side of the network's square input, pixels; at least 8.
        mean: per channel (red, green, blue), in grey levels 0 to 255.
        std: per channel, in grey levels, above 0.
        resize: `stretch` ignores the aspect ratio; bilinear with antialiasing on uint8, as ONNX Resize computes it.
    """

    size: int
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)
    resize: str = "stretch"

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ClinquantError("size-too-small", f"input size is {self.size} pixels.", fix="give --size 8 or more.")
        if min(self.std) <= 0 or len(self.mean) != 3 or len(self.std) != 3:
            raise ClinquantError(
                "preprocess-invalid", f"mean {self.mean}, std {self.std}.", fix="give three means and three positive stds."
            )
        if self.resize != "stretch":
            raise ClinquantError("preprocess-invalid", f"resize rule {self.resize!r} is unknown.", fix="use 'stretch'.")

    @property
    def is_affine_code(self) -> bool:
        """True when all channels share one integer mean: then the uint8 pixel itself is the quantized input."""
        return len(set(self.mean)) == 1 and len(set(self.std)) == 1 and float(self.mean[0]).is_integer()
