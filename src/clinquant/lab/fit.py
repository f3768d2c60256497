"""The training loop: from pixels, labels and a plan to the best weights on tune. Can be killed at any moment and called again."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from clinquant.core.artifact import sha256_json
from clinquant.core.errors import ClinquantError
from clinquant.core.progress import Progress
from clinquant.lab.augment import augment
from clinquant.lab.checkpoint import Checkpoint, beneath, read_checkpoint, under
from clinquant.lab.depthwise import DepthwiseBackwardInFloat32
from clinquant.lab.guide import Guide
from clinquant.lab.memory import keep_freed_memory
from clinquant.lab.objectives import Batch
from clinquant.lab.objectives.objective import Answer
from clinquant.lab.plan import TrainingPlan
from clinquant.lab.weights import sha256_tensors

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """Mean losses (cross-entropy, nats) of an epoch, and accuracy on tune at argmax, of the averaged weights."""

    epoch: int
    train_loss: float
    tune_loss: float
    tune_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What training gives: the weights of the epoch with the lowest loss on tune, or of the last one, and the course."""

    state: dict[str, Tensor]
    best_epoch: int
    history: tuple[EpochRecord, ...]


def fit(
    module: nn.Module,
    train: tuple[Pixels, Labels],
    tune: tuple[Pixels, Labels],
    plan: TrainingPlan,
    folder: Path,
    *,
    guide: Guide | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Trains `module` (in place) and returns the best averaged weights.

    The result is a function of the arguments alone on one machine: a run that was killed goes on from its last checkpoint in
    `folder` and ends in the same bytes; a checkpoint of other arguments is put aside with a message.

    Args:
        module: with its initial weights.
        train, tune: uint8 pixels [n, S, S, 3] and labels [n] in [0, classes).
        plan: all numbers.
        folder: for the checkpoint.
        guide: what a special kind of training adds.
        progress: called with (steps done, steps planned); early stopping ends it with the two equal.

    Raises:
        ClinquantError: `training-diverged` when the loss is not finite; `disk-full`, `output-unwritable`.
    """
    guide = guide or Guide()
    key = run_key(module, train, tune, plan) + guide.key
    with reproducible(plan):
        run = Run(module, plan, len(train[1]), key, folder, guide)
        run.resume()
        while not run.finished:
            run.epoch(*train, progress)
            run.judge(*tune)
        if progress:
            progress(run.steps, run.steps)
        return run.result()


def run_key(module: nn.Module, train: tuple[Pixels, Labels], tune: tuple[Pixels, Labels], plan: TrainingPlan) -> str:
    """Hash of all that determines a run's result."""
    digest = hashlib.sha256(sha256_json(plan).encode())
    arithmetic = getattr(module, "arithmetic", "torch")
    digest.update(f"{torch.__version__} {arithmetic} {sha256_tensors(module.state_dict())}".encode())
    for array in (*train, *tune):
        digest.update(f"{array.dtype} {array.shape}".encode())
        for block in range(0, len(array), 256):
            digest.update(np.ascontiguousarray(array[block : block + 256]).tobytes())
    return digest.hexdigest()


@contextmanager
def reproducible(plan: TrainingPlan) -> Iterator[None]:
    """Deterministic algorithms and the plan's thread count, both set back afterwards; freed memory is kept from here on.

    PyTorch would also fill every fresh tensor, so that reading one before writing shows; nothing here does, and it took a tenth of a step.
    """
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    keep_freed_memory()
    torch.set_num_threads(plan.threads)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=plan.device != "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.set_num_threads(threads)


class Run:
    """The state of one training run; everything that changes is in `tensors()` and `progress`."""

    def __init__(self, module: nn.Module, plan: TrainingPlan, n_train: int, key: str, folder: Path, guide: Guide) -> None:
        self.plan, self.key, self.folder, self.n_train, self.guide = plan, key, folder, n_train, guide
        self.layout = fastest_layout(module.to(plan.device), plan)
        self.module = module.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.average = _clone(self.module.state_dict())
        self.best: dict[str, Tensor] = {}
        if guide.teacher is not None:
            guide.teacher.to(plan.device).eval()
        self.optimizer = torch.optim.AdamW(guide.groups(module, plan.weight_decay), lr=plan.rate, fused=True)
        self.per_epoch = plan.steps_per_epoch(n_train)
        self.steps = plan.epochs * self.per_epoch
        self.step, self.loss_sum = 0, 0.0
        self.history: list[EpochRecord] = []
        self.class_weights = torch.tensor(plan.class_weights, device=plan.device)
        self.mean, self.std = (torch.tensor(v, device=plan.device).view(1, 3, 1, 1) for v in (plan.preprocess.mean, plan.preprocess.std))

    @property
    def finished(self) -> bool:
        """All epochs done, or none better on tune for `patience` epochs."""
        done = len(self.history)
        return done == self.plan.epochs or (done > 0 and done - 1 - self.best_epoch >= self.plan.patience)

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest loss on tune."""
        return min(range(len(self.history)), key=lambda epoch: self.history[epoch].tune_loss)

    def epoch(self, pixels: Pixels, labels: Labels, progress: Progress | None) -> None:
        """The (rest of the) current epoch."""
        self.module.train()
        number = len(self.history)
        order = np.random.default_rng([self.plan.seed, number]).permutation(self.n_train)
        while self.step < (number + 1) * self.per_epoch:
            position = self.step - number * self.per_epoch
            rows = order[position * self.plan.batch : (position + 1) * self.plan.batch]
            self.update(pixels[rows], labels[rows])
            if progress:
                progress(self.step, self.steps)
            if self.step % self.plan.checkpoint_steps == 0 and self.step % self.per_epoch:
                self.save()

    def update(self, pixels: Pixels, labels: Labels) -> None:
        """One optimizer step on one batch; dropout and views depend on seed and step only."""
        generator = torch.Generator().manual_seed(_stream(self.plan.seed, self.step, 0))
        torch.manual_seed(_stream(self.plan.seed, self.step, 1))
        images = augment(torch.from_numpy(pixels).to(self.plan.device), self.plan.augment, generator)
        logits = self.forward(self.guide.answering(self.module), images)
        loss = self.guide.labels * self.loss(logits, labels, smoothing=self.plan.label_smoothing)
        extra = self.guide.extra(self.batch(images, labels, logits))
        loss = loss if extra is None else loss + extra
        if not math.isfinite(value := loss.item()):
            raise ClinquantError(
                "training-diverged",
                f"the loss at step {self.step} is {value}.",
                fix="check the images and --weights, or try another --seed.",
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate(self.step, self.steps) * group.get("share", 1.0)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.guide.settle(self.module)
        _average(self.average, self.module.state_dict(), self.plan.average_decay(self.step, self.steps))
        self.step, self.loss_sum = self.step + 1, self.loss_sum + value

    def batch(self, images: Tensor, labels: Labels, logits: Tensor) -> Batch:
        """What objectives see of a step."""
        return Batch(
            module=self.module,
            images=images,
            labels=torch.from_numpy(np.asarray(labels, np.int64)).to(images.device),
            logits=logits,
            forward=self.forward,
            share=self.step / self.steps,
            teacher=self.guide.teacher,
            feature=getattr(self.module, "feature", None),
        )

    def forward(self, module: Answer, images: Tensor) -> Tensor:
        """float32 logits of float32 images [n, 3, S, S] in [0, 255], in the plan's precision."""
        x = ((images - self.mean) / self.std).contiguous(memory_format=self.layout)
        half = self.plan.precision == "bfloat16"
        with torch.autocast(self.plan.device, torch.bfloat16, enabled=half):
            if half and self.plan.device == "cpu":
                with DepthwiseBackwardInFloat32():
                    return torch.as_tensor(module(x)).float()
            return torch.as_tensor(module(x)).float()

    def loss(self, logits: Tensor, labels: Labels, *, smoothing: float) -> Tensor:
        """Class-weighted cross-entropy."""
        targets = torch.from_numpy(np.asarray(labels, np.int64)).to(logits.device)
        return functional.cross_entropy(logits, targets, self.class_weights, label_smoothing=smoothing)

    def judge(self, pixels: Pixels, labels: Labels) -> None:
        """Ends an epoch: the averaged weights on tune, the best kept, a checkpoint."""
        live = _clone(self.module.state_dict())
        self.module.load_state_dict(self.average)
        logits = self.logits(pixels)
        self.module.load_state_dict(live)
        self.history.append(
            EpochRecord(
                epoch=len(self.history),
                train_loss=self.loss_sum / self.per_epoch,
                tune_loss=float(self.loss(logits, labels, smoothing=0.0)),
                tune_accuracy=float((logits.argmax(1).cpu().numpy() == labels).mean()),
            )
        )
        self.loss_sum = 0.0
        if self.guide.keeps_last or self.best_epoch == len(self.history) - 1:
            self.best = _clone(self.average)
        self.save()

    @torch.no_grad()
    def logits(self, pixels: Pixels) -> Tensor:
        """float32 [n, classes] in evaluation mode."""
        self.module.eval()
        batches = (torch.from_numpy(np.array(pixels[i : i + 64])) for i in range(0, len(pixels), 64))
        return torch.cat([self.forward(self.module, batch.to(self.plan.device).permute(0, 3, 1, 2).float()) for batch in batches])

    def save(self) -> None:
        """Writes the checkpoint; of a finished run only the best weights."""
        tensors = under("best", self.best)
        if not self.finished:
            tensors |= under("module", self.module.state_dict()) | under("average", self.average) | self.moments()
        progress = {"step": self.step, "loss_sum": self.loss_sum, "history": [asdict(record) for record in self.history]}
        Checkpoint(key=self.key, progress=progress, tensors=tensors).write(self.folder)

    def resume(self) -> None:
        """Takes up the checkpoint in the folder, if it is of this run."""
        found = read_checkpoint(self.folder)
        if found is None:
            return
        if found.key != self.key:
            log.warning("the checkpoint in %s is of other data or another plan: training starts anew", self.folder)
            return
        self.step, self.loss_sum = found.progress["step"], found.progress["loss_sum"]
        self.history = [EpochRecord(**record) for record in found.progress["history"]]
        self.best = beneath("best", found.tensors)
        if not self.finished:
            self.module.load_state_dict(beneath("module", found.tensors))
            for name, tensor in beneath("average", found.tensors).items():
                self.average[name].copy_(tensor)
            self.set_moments(beneath("moment", found.tensors))

    def moments(self) -> dict[str, Tensor]:
        """The optimizer's state, named `moment.<parameter index>.<moment>`."""
        state: dict[int, dict[str, Tensor]] = self.optimizer.state_dict()["state"]
        return {f"moment.{index}.{name}": tensor for index, moments in state.items() for name, tensor in moments.items()}

    def set_moments(self, moments: dict[str, Tensor]) -> None:
        """Undoes `moments`; in the memory layout of the parameters, which the fused optimizer relies on."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in moments.items():
            index, name = key.split(".")
            like = parameters[int(index)]
            placed = tensor if name == "step" else torch.empty_like(like).copy_(tensor)
            state.setdefault(int(index), {})[name] = placed
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})

    def result(self) -> Fitted:
        """The best weights, float32 on the processor."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.best.items()}
        return Fitted(state=state, best_epoch=self.best_epoch, history=tuple(self.history))


@torch.no_grad()
def fastest_layout(module: nn.Module, plan: TrainingPlan) -> torch.memory_format:
    """Channels last, which is quicker, unless `module` relies on the other order in memory, as `x.view(n, -1)` does."""
    images = torch.zeros(1, 3, plan.preprocess.size, plan.preprocess.size, device=plan.device)
    training = module.training
    try:
        module.eval()(images.contiguous(memory_format=torch.channels_last))
    except RuntimeError:
        return torch.contiguous_format
    finally:
        module.train(training)
    return torch.channels_last


def _average(average: dict[str, Tensor], live: dict[str, Tensor], decay: float) -> None:
    """average <- decay average + (1 - decay) live; counters are copied."""
    for name, tensor in live.items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, 1 - decay)
        else:
            average[name].copy_(tensor)


def _clone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _stream(seed: int, step: int, purpose: int) -> int:
    """A 63-bit seed of its own for every (seed, step, purpose)."""
    return int(np.random.SeedSequence([seed, step, purpose]).generate_state(1, np.uint64)[0] >> np.uint64(1))
