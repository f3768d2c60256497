"""Training that is killed at 20 random moments ends in the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_killed_at_twenty_random_moments_ends_in_the_same_bytes(tmp_path: Path) -> None:
    harness = Path(__file__).with_name("small_training.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(harness), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert set(outcome["killed"]) == {outcome["unbroken"]}
    assert outcome["resumable"] >= 5, "too few kills came after a checkpoint for the test to mean anything"
