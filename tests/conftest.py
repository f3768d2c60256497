"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images (`CLINQUANT_SHARED_DATA`, default `../shared/data`); skips where it is absent."""
    path = Path(os.environ.get("CLINQUANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip("the shared image sets are not on this machine")
    return path
