"""The one training loop: deterministic batches, checkpoints, resumption after a kill."""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from ..errors import CfxError, OutputError
from ..images.sets.labelled import Labelled
from ..progress import SILENT, Progress

CHECKS = 20  # evaluations on held-out images in a full run
PATIENCE = 6  # evaluations without improvement before the run stops early
FIRST_CHECK = 50  # steps until the running statistics of batch normalisation match the weights
SETTLING = 0.2  # share of the steps, after a prelude, in which the averaged weights still reflect mostly the prelude
MOST_CHECKED = 1000  # held-out images in an evaluation
CHECK_BATCH = 250  # held-out images converted to floats at a time
REPORT_EVERY = 20  # steps


class FitError(CfxError):
    """Training diverged."""


class Fit(ABC):
    """A training run: its modules, its optimisers, and one step of training.

    All random numbers of a step depend only on `seed` and the step's index, so a run that was killed and resumed
    sees the same batches and the same noise as an uninterrupted one.

    Args:
        data: the training images.
        batch_size: images per step.
        epochs: passes over the data.
        seed: of the order and the noise; seed the initialisation before the models are built.

    Attributes:
        total_steps: the length of the run; may be set before it starts.
        prelude: share of the steps, at the start, that use a simpler loss. Held-out images are not evaluated until
            the steps after it have taken effect.
        held_out: images that are not trained on. If given, training stops early when the loss on them no longer
            improves, and the best weights are restored.
    """

    def __init__(self, data: Labelled, batch_size: int, epochs: float, seed: int) -> None:
        self.data = data
        self.batch_size = min(batch_size, len(data))
        self.steps_per_epoch = max(1, len(data) // self.batch_size)
        self.total_steps = max(1, round(epochs * self.steps_per_epoch))
        self.prelude = 0.0
        self.held_out: Labelled | None = None
        self.seed = seed
        self.modules: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))
        self._best = _Best()

    @abstractmethod
    def step(self, index: int) -> dict[str, Tensor]:
        """Train on batch number `index` and return the losses to report, by name."""

    def check(self, data: Labelled) -> Tensor:
        """The loss on held-out images, without noise; lower is better, the unit is up to the subclass."""
        raise NotImplementedError

    def in_prelude(self, index: int) -> bool:
        """Whether step `index` belongs to the prelude."""
        return index < self.prelude * self.total_steps

    def chosen(self, index: int) -> Tensor:
        """Indices of the images in batch number `index`, (N,)."""
        epoch, place = divmod(index, self.steps_per_epoch)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = (epoch, torch.randperm(len(self.data), generator=generator))
        return self._order[1][place * self.batch_size : (place + 1) * self.batch_size]

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """The images (N, C, H, W) in [0, 1] and labels (N,) of batch number `index`."""
        chosen = self.chosen(index)
        return self.data.floats(chosen), self.data.labels[chosen]

    def seconds_per_step(self, steps: int = 6) -> float:
        """Average duration of a step over the whole run, in seconds, measured on a copy.

        It is the median of all but the first of `steps` steps; with a prelude, of both kinds, weighted by their share.
        """
        shared = [data for data in (self.data, self.held_out) if data is not None]
        probe = copy.deepcopy(self, {id(data): data for data in shared})

        def typical(index: int) -> float:
            taken: list[float] = []
            for _ in range(steps):
                start = time.perf_counter()
                probe.step(index)
                taken.append(time.perf_counter() - start)
            return median(taken[1:])  # the first is slower

        with torch.random.fork_rng(devices=[]):
            real = typical(self.total_steps - 1)
            return real + self.prelude * (typical(0) - real) if self.prelude else real

    def run(self, checkpoint: Path | None = None, progress: Progress = SILENT, every_s: float = 30.0) -> None:
        """Train to the end, resuming from `checkpoint` if it exists.

        Args:
            checkpoint: the file to resume from and to write.
            progress: receives the latest losses at every `REPORT_EVERY`-th step.
            every_s: seconds between two checkpoints.

        Raises:
            FitError: a loss is NaN or infinite.
            OutputError: the checkpoint cannot be written.
        """
        start = self._resume(checkpoint)
        saved = time.monotonic()
        for module in self.modules.values():
            module.train()
        check_every = max(1, self.total_steps // CHECKS)
        first_check = max(FIRST_CHECK, (self.prelude + SETTLING) * self.total_steps if self.prelude else 0)
        reported = start
        with (
            progress.task("" if checkpoint is None else checkpoint.stem, self.total_steps, start) as task,
            torch.random.fork_rng(devices=[]),
        ):
            for index in range(start, self.total_steps):
                torch.manual_seed(self.seed * 7_368_787 + index)
                losses = self.step(index)
                last = index + 1 == self.total_steps
                save = checkpoint is not None and time.monotonic() - saved > every_s
                if index % REPORT_EVERY == 0 or last or save:
                    values = {name: float(loss.detach()) for name, loss in losses.items()}
                    self._must_be_finite(values, index + 1)
                    task.advance(index + 1 - reported, **values)
                    reported = index + 1
                is_check = ((index + 1) % check_every == 0 and index >= first_check) or last
                if self.held_out is not None and is_check and self._should_stop(index):
                    task.advance(self.total_steps - reported)
                    break
                if checkpoint and save:
                    self._save(checkpoint, index + 1)
                    saved = time.monotonic()
        self._best.restore(self.modules)
        if checkpoint:
            self._save(checkpoint, self.total_steps)
        for module in self.modules.values():
            module.eval()

    def _must_be_finite(self, losses: dict[str, float], step: int) -> None:
        wrong = [name for name, loss in losses.items() if not math.isfinite(loss)]
        if wrong:
            raise FitError(
                f"training diverged: {wrong[0]} is {losses[wrong[0]]} at step {step} of {self.total_steps}; run the "
                "command again to continue from the last checkpoint, and if it happens again check for identical images"
            )

    def _should_stop(self, index: int) -> bool:
        """Evaluate the held-out images; True if their loss has not improved in the last `PATIENCE` evaluations."""
        assert self.held_out is not None
        for module in self.modules.values():
            module.eval()
        data = self.held_out[:MOST_CHECKED]
        with torch.no_grad():
            loss = sum(float(self.check(batch)) * len(batch) for batch in data.batches(CHECK_BATCH)) / len(data)
        for module in self.modules.values():
            module.train()
        self._must_be_finite({"held-out loss": loss}, index + 1)
        self._best.update(loss, self.modules)
        # While the learning rate is high, the loss may rise for a while and still improve later.
        return index > 0.4 * self.total_steps and self._best.since >= PATIENCE

    def _save(self, checkpoint: Path, step: int) -> None:
        state = {
            "step": step,
            "total_steps": self.total_steps,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "best": asdict(self._best),
        }
        partial = checkpoint.with_suffix(".partial")
        try:
            torch.save(state, partial)
            partial.replace(checkpoint)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as the latter
            partial.unlink(missing_ok=True)
            raise OutputError(
                f"{checkpoint}: could not be written ({error}); free some space and run the command again"
            ) from error

    def _resume(self, checkpoint: Path | None) -> int:
        if checkpoint is None or not checkpoint.exists():
            return 0
        state = torch.load(checkpoint, weights_only=True)
        if state["total_steps"] != self.total_steps:
            return 0
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if "best" in state:
            self._best = _Best(**state["best"])
        return state["step"]


@dataclass
class _Best:
    """The weights with the lowest held-out loss, and the number of evaluations since; checkpoints hold its fields."""

    loss: float = math.inf
    since: int = 0
    weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def update(self, loss: float, modules: Mapping[str, nn.Module]) -> None:
        self.since += 1
        if loss < self.loss:
            self.loss, self.since = loss, 0
            self.weights = {
                name: {key: value.clone() for key, value in module.state_dict().items()}
                for name, module in modules.items()
            }

    def restore(self, modules: Mapping[str, nn.Module]) -> None:
        for name, weights in self.weights.items():
            modules[name].load_state_dict(weights)
        self.weights = {}


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one optimiser step on a loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def length_of(checkpoint: Path) -> int | None:
    """Total steps of the run that wrote a checkpoint; None if there is no checkpoint."""
    return torch.load(checkpoint, weights_only=True, mmap=True)["total_steps"] if checkpoint.exists() else None


def one_cycle(index: int, total: int, warm_up: float = 0.15) -> float:
    """Share of the peak learning rate at step `index`: linear warm-up, then cosine decay to zero."""
    place = index / max(1, total)
    if place < warm_up:
        return max(place, 1 / max(1, total)) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (place - warm_up) / (1 - warm_up)))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of every parameter group of an optimiser."""
    for group in optimizer.param_groups:
        group["lr"] = value
