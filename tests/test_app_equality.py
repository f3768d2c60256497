"""Real pictures give the same output bytes in Chromium as on the workstation, from the encoded file on, at every size.

The page is a kept one, which has threads; those of the other tests have one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app_bundle import write_integer_bundle
from chromium import KEPT, ask, chromium, open_app, serving, start_engine
from clinquant.data.decode import decode
from clinquant.edge.app.write import write_app
from clinquant.edge.bundle import Bundle
from clinquant.edge.runtimes.onnxruntime import load

SETS = {"kermany_cxr_orig_sample": 32, "kermany_cxr_224": 40, "brain_mri4_224": 50, "busi_256": 60, "bccd_cells_96": 40}
"""Set -> how many of its pictures; every one of the first, whose sizes all differ."""


@dataclasses.dataclass
class Running:
    bundle: Bundle
    page: Any


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with chromium() as browser:
        bundle = write_integer_bundle(tmp_path_factory.mktemp("bundle"))
        write_app(bundle.path, out := tmp_path_factory.mktemp("app") / "out")
        with serving(out) as server:
            page = open_app(browser.new_page(), server.url)
            page.wait_for_selector(KEPT)
            open_app(page, server.url)
            assert page.evaluate("crossOriginIsolated"), "threads need it"
            start_engine(page)
            yield Running(bundle, page)


def some(folder: Path, count: int) -> list[Path]:
    """`count` pictures, evenly spaced among all."""
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg", ".jpeg"))
    return found[:: max(1, len(found) // count)][:count]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_real_pictures_give_the_workstations_bytes(shared_data: Path, running: Running, name: str) -> None:
    paths, model = some(shared_data / name, SETS[name]), load(running.bundle.model, 1)
    assert len(paths) == SETS[name] and sum(SETS.values()) >= 200
    differing = []
    for path in paths:
        encoded = path.read_bytes()
        expected, found = model.run(decode(encoded)[None]), ask(running.page, encoded)
        assert expected.class_map is not None
        if (found.get("logits"), found.get("classMap")) != (expected.logits.tobytes().hex(), expected.class_map.tobytes().hex()):
            differing.append((path.name, found))
    assert differing == []
