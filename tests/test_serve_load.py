"""The benchmark's load in small: 8 clients at once, no request lost, no answer another's, no latency far out, no memory that grows."""

from __future__ import annotations

from pathlib import Path

from benchmarks.serve import drive

from pictures import encoded, scene
from serving import serving
from tiny_bundle import write_bundle


def test_under_load_nothing_is_lost_and_memory_stays_flat(tmp_path: Path) -> None:
    images = [encoded(scene(seed, 96 + 16 * seed), kind) for seed in range(6) for kind in ("PNG", "JPEG", "WEBP")]
    with serving(write_bundle(tmp_path).path) as served:
        drive(served.port, served.process.pid, images, clients=8, requests=100)
        load = drive(served.port, served.process.pid, images, clients=8, requests=800)
    assert load.statuses == {200: 800} and load.different == 0
    assert load.percentile(99) <= 10 * load.percentile(50)
    early, late, _ = load.memory()
    assert late - early <= 5e6
