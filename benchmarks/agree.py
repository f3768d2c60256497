"""Every network of the zoo on every machine that `clinquant agree` knows: differing bytes of all outputs, real images.

    python -m benchmarks.agree --data ../shared/data --out benchmarks/results/agree.csv

At each network's own size, and one image larger, which the graph resizes. Weights are random, batch norm has the statistics of real images.
Emulated processors are slow: a few images each. The CSV is the resume key. Every count of differing bytes must be 0.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from benchmarks.exactness import network, real_images
from benchmarks.rows import Rows
from numpy.typing import NDArray

from clinquant.data.decode import decode
from clinquant.edge.agree.agree import compare_file
from clinquant.edge.agree.targets import TARGETS
from clinquant.edge.browser_model import write_browser_model
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize

BITS = ("w8a8", "w4a4", "w2a2")
CALIBRATION = 32


def pictures(data: Path, pixels: NDArray[np.uint8], number: int) -> list[NDArray[np.uint8]]:
    """Images at the network's size, spread over those there are, and one as a camera or archive gives it."""
    large = sorted((data / "kermany_cxr_orig_sample").rglob("*.jp*g"))[0]
    return [*(pixels[int(at)] for at in np.linspace(0, len(pixels) - 1, number)), decode(large.read_bytes())]


def main() -> None:
    """Adds rows to the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--architectures", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--bits", nargs="*", default=list(BITS))
    parser.add_argument("--images", type=int, default=3)
    asked = parser.parse_args()
    rows = Rows(asked.out, ("architecture", "bits", "target"))
    for name in sorted(asked.architectures, key=lambda name: (ARCHITECTURES[name].size, name)):
        wanted = {
            bits: [target for target in asked.targets if {"architecture": name, "bits": bits, "target": target} not in rows]
            for bits in asked.bits
        }
        if not any(wanted.values()):
            continue
        pixels = real_images(asked.data, ARCHITECTURES[name].size)
        classifier = network(name, pixels)
        for bits, targets in wanted.items():
            if not targets:
                continue
            program = lower(quantize(classifier, pixels[:: len(pixels) // CALIBRATION], bits=bits, recipes=("mse",))["mse"])
            with tempfile.TemporaryDirectory() as folder:
                model = export_integer(program, Path(folder) / "model.onnx")
                made = write_browser_model(model, own := Path(folder) / "model.wasm.onnx")
                browser = (own, made.optimise) if made else None
                found = compare_file(model, pictures(asked.data, pixels, asked.images), targets, browser=browser)
            for each in found.targets:
                rows.add(
                    {
                        "architecture": name,
                        "bits": bits,
                        "target": each.target,
                        "images": found.images,
                        "bytes": each.bytes,
                        "differing_bytes": each.differing_bytes if each.agrees is not None else "not run",
                        "differing_images": each.differing_images,
                        "runtime_here": found.runtime,
                        "runtime": each.runtime,
                        "target_machine": each.machine,
                    }
                )


if __name__ == "__main__":
    main()
