"""How a long step tells its caller where it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]  # called with the parts done and the parts in all
Say = Callable[[str], None]  # called with a sentence for a person to read
