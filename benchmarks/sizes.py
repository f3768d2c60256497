"""Bytes of the exported files, and of what the runtime holds, at every width: of random weights, for sizes do not depend on them.

python -m benchmarks.sizes --out benchmarks/results/sizes.csv
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from benchmarks.rows import Rows

from clinquant.core.card import Card
from clinquant.core.preprocess import Preprocess
from clinquant.edge.integer_audit import integer_audit
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.trace.trace import trace

NAMES = ("resnet18", "resnet18_28", "resnet20", "mobilenet_v2", "efficientnet_lite0")
BITS = ("w8a8", "w4a8", "w4a4", "w2a2")


def main() -> None:
    """Makes the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    rows = Rows(parser.parse_args().out, ("architecture", "bits"))
    for name in NAMES:
        torch.manual_seed(0)
        size = ARCHITECTURES[name].size
        module = ARCHITECTURES[name].build(2).eval()
        card = Card(architecture=name, classes=("a", "b"), positive=1, preprocess=Preprocess(size=size))
        pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            whole = export_float(fold_batch_norm(trace(module)), card.preprocess, Path(folder) / "float.onnx")
            for bits in BITS:
                row = {"architecture": name, "bits": bits}
                if row in rows:
                    continue
                made = quantize(Classifier(module=module, card=card), pixels, bits=bits, recipes=("minmax",))["minmax"]
                file = export_integer(lower(made), Path(folder) / f"{bits}.onnx")
                sizes, audits = [path.stat().st_size for path in (file, whole)], [integer_audit(path, size) for path in (file, whole)]
                facts = {"bytes": sizes[0], "float_bytes": sizes[1], "ratio": round(sizes[0] / sizes[1], 4)}
                memory = {"memory_bytes": audits[0].memory_bytes, "float_memory_bytes": audits[1].memory_bytes}
                rows.add(row | facts | memory | {"share_int8": audits[0].share_int8})


if __name__ == "__main__":
    main()
