"""What a model file said about each case: the only thing evidence ever sees."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import write_text
from clinquant.core.errors import ClinquantError

Scores = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """A table of cases and scores, and what computed it.

    Attributes:
        ids: n case ids, unique.
        groups: n ids of the independent unit (patient or group of copies); a case of its own has its own id here.
        labels: [n] int64 in [0, k); -1 where no reference standard is known.
        scores: [n, k] float32 logits exactly as the file's output gave them (its temperature folded in).
        classes: k class names.
        model_sha256: of the model file that was run.
        runtime: name and version, for example `onnxruntime 1.32.0`.
        device: processor and the number of threads.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: NDArray[np.int64]
    scores: Scores
    classes: tuple[str, ...]
    model_sha256: str
    runtime: str
    device: str = ""

    def __post_init__(self) -> None:
        n = len(self.ids)
        shapes = (len(self.groups), self.labels.shape, self.scores.shape)
        if shapes != (n, (n,), (n, len(self.classes))):
            raise ClinquantError("predictions-shape", f"{n} ids, but groups, labels, scores are {shapes}.", fix="give one row a case.")
        if len(set(self.ids)) != n:
            raise ClinquantError("predictions-duplicate", "a case id stands twice.", fix="give every case one row.")
        if not np.isfinite(self.scores).all():
            bad = self.ids[int(np.flatnonzero(~np.isfinite(self.scores).all(axis=1))[0])]
            raise ClinquantError(
                "predictions-nan", f"the scores of {bad!r} are not finite.", fix="the model file is broken: build it again."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """[n, k] softmax of the scores, float64."""
        return softmax(self.scores)

    @property
    def decisions(self) -> NDArray[np.int64]:
        """[n] class of the highest score; the first on a tie."""
        return np.asarray(self.scores.argmax(axis=1), dtype=np.int64)

    def take(self, index: NDArray[Any]) -> Predictions:
        """The rows at `index` (integers or a mask), in that order."""
        rows = np.arange(len(self))[index]
        return replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            groups=tuple(self.groups[i] for i in rows),
            labels=self.labels[rows],
            scores=self.scores[rows],
        )

    def to_csv(self) -> str:
        """One row a case; float32 scores are printed with 9 significant digits, so they read back bit for bit."""
        out = io.StringIO()
        out.write(f"# model_sha256={self.model_sha256} runtime={self.runtime} device={self.device}\n")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["id", "group", "label", *(f"score:{name}" for name in self.classes)])
        for case, group, label, row in zip(self.ids, self.groups, self.labels, self.scores, strict=True):
            writer.writerow([case, group, int(label), *(f"{float(score):.9g}" for score in row)])
        return out.getvalue()

    def write(self, path: Path | str) -> None:
        """Writes the CSV atomically."""
        write_text(path, self.to_csv())

    @classmethod
    def read(cls, path: Path | str) -> Predictions:
        """The table at `path`. Raises ClinquantError `predictions-broken` when it is not one of ours."""
        try:
            return cls.parse(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, IndexError, KeyError) as error:
            raise ClinquantError(
                "predictions-broken", f"{path} is not a predictions file ({error}).", fix="write it again with 'clinquant predict'."
            ) from error

    @classmethod
    def parse(cls, text: str) -> Predictions:
        """The table that `to_csv` wrote. Raises ValueError, IndexError or KeyError when it is not one of ours."""
        first, _, rest = text.partition("\n")
        head = dict(_header(first))
        columns, *body = csv.reader(io.StringIO(rest, newline=""))
        classes = tuple(name.removeprefix("score:") for name in columns[3:])
        return cls(
            ids=tuple(row[0] for row in body),
            groups=tuple(row[1] for row in body),
            labels=np.array([int(row[2]) for row in body], dtype=np.int64),
            scores=np.array([[float(x) for x in row[3:]] for row in body], dtype=np.float32).reshape(len(body), len(classes)),
            classes=classes,
            model_sha256=head["model_sha256"],
            runtime=head["runtime"],
            device=head.get("device", ""),
        )


def softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Row-wise softmax in float64; shape [n, k] in and out."""
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def _header(line: str) -> list[tuple[str, str]]:
    if not line.startswith("# model_sha256="):
        raise ValueError("no header line")
    rest, _, device = line[2:].partition(" device=")
    sha, _, runtime = rest.partition(" runtime=")
    return [("model_sha256", sha.partition("=")[2]), ("runtime", runtime), ("device", device)]
