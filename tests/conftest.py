"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import chromium
from clinquant.data.cache import cache_folder
from clinquant.edge.app.write import write_app
from clinquant.edge.bundle import Bundle


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this process alone, so that test set reads are counted from none; what was installed or compiled is the user's own."""
    kept, own = cache_folder(""), tmp_path_factory.mktemp("cache")
    for part in ("downloads", "weights", "kernels", "arm64"):
        (kept / part).mkdir(parents=True, exist_ok=True)
        (own / part).symlink_to((kept / part).resolve(), target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLINQUANT_CACHE", str(own))
        yield own


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images (`CLINQUANT_SHARED_DATA`, default `../shared/data`); skips where it is absent."""
    path = Path(os.environ.get("CLINQUANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip("the shared image sets are not on this machine")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; skips where there is none."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def integer_bundle(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A sealed bundle of a small quantized network, for tests in the browser."""
    from app_bundle import write_integer_bundle

    return write_integer_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def tablet_app(integer_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its tablet app."""
    write_app(integer_bundle.path, out := tmp_path_factory.mktemp("app") / "out")
    return out


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A profile of its own in the browser."""
    context = browser.new_context()
    yield context
    context.close()
