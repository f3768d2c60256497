"""Fake quantizers: put values on a grid in training, with a gradient for its step. One file a method, one line here."""

from __future__ import annotations

from clinquant.lab.quantize.fake_quant.lsq import LSQ
from clinquant.lab.quantize.fake_quant.pact import PACT

ACTIVATION_QUANTIZERS: dict[str, type[LSQ] | type[PACT]] = {"lsq": LSQ, "pact": PACT}

__all__ = ["ACTIVATION_QUANTIZERS", "LSQ", "PACT"]
