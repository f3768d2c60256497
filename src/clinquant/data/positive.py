"""Which of two classes is the diseased one: by its name, unless the user says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from clinquant.core.errors import ClinquantError

HEALTHY = frozenset(
    [
        "normal",
        "normals",
        "no",
        "non",
        "not",
        "none",
        "negative",
        "neg",
        "healthy",
        "control",
        "controls",
        "notumor",
        "notumour",
        "absent",
        "without",
        "0",
        "false",
    ],
)
"""Words that name the absence of disease."""

HARMLESS = frozenset({"benign"})
"""Words that name the absence of the disease only where nothing healthier stands beside them."""


def positive_class(classes: Sequence[str], named: str | None = None) -> tuple[int | None, str]:
    """Index of the diseased class when there are two (else None), and one sentence on how it was chosen.

    A class whose name says the absence of disease (normal, no, negative, healthy, notumor, 0 ...; benign beside anything else)
    is negative; where the names do not tell, the last class is positive. `named` overrides.

    Raises:
        ClinquantError: `positive-unknown`.
    """
    if named is not None and named not in classes:
        near = difflib.get_close_matches(named, classes, n=1)
        raise ClinquantError(
            "positive-unknown",
            f"there is no class {named!r}; the classes are {', '.join(classes)}.",
            fix=f"give --positive {near[0] if near else classes[-1]!r}.",
        )
    if len(classes) != 2:
        return None, ""
    if named is not None:
        return list(classes).index(named), f"The positive class is {named!r}, as asked."
    for negative in (_is_healthy, _is_harmless):
        marks = [negative(name) for name in classes]
        if marks.count(True) == 1:
            index = marks.index(False)
            return index, f"The positive class is {classes[index]!r}, because {classes[1 - index]!r} names the absence of disease."
    return 1, f"The positive class is {classes[1]!r}, the last by name: the names do not tell. Say --positive NAME to change it."


def _is_healthy(name: str) -> bool:
    words = _words(name)
    return bool(words) and (words[0] in {"no", "non", "not", "without"} or (_only(words) and not HEALTHY.isdisjoint(words)))


def _is_harmless(name: str) -> bool:
    return _is_healthy(name) or _only(_words(name))


def _only(words: list[str]) -> bool:
    return bool(words) and all(word in HEALTHY | HARMLESS for word in words)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())
