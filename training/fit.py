"""The one training loop: deterministic batches, checkpoints, resumption after a kill."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..bundles.entries import Trained
from ..errors import CfxError, OutputError
from ..images.sets.labelled import Labelled
from ..progress import SILENT, Progress
from .augment import Augmentation
from .course import Report, Timer, one_cycle

CHECKS = 20  # evaluations on held-out images in a full run
PATIENCE = 6  # evaluations without improvement before the run stops early
FIRST_CHECK = 50  # steps until the running statistics of batch normalisation match the weights
SETTLING = 0.2  # share of the steps, after a prelude, in which the averaged weights still reflect mostly the prelude
MOST_CHECKED = 1000  # held-out images in an evaluation
CHECK_BATCH = 250  # held-out images converted to floats at a time
REPORT_EVERY = 20  # steps
LEARNED = 2  # evaluations in a row after which `has_learned` is believed
LAST_PART = 0.7  # share of a schedule that is then taken to be over, so that the learning rate still comes down
CHECKS_COST = 0.2  # largest share of the time that evaluations on held-out images may take


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
        seconds: the time that the run may take, after which it ends even if steps are left; None: as long as it needs.
            Learning rates and the prelude then follow the share of the time that is over, if that is more than the
            share of the steps, so that a run that is cut short ends with a small learning rate, too.
        clock: gives the time in seconds.
        trained: how the run went, when it has ended.
        prelude: share of the steps, at the start, that use a simpler loss. Held-out images are not evaluated until
            the steps after it have taken effect.
        augmentation: random deformation of the training images, not of held-out ones; None: none.
        held_out: images that are not trained on. If given, training stops early when the loss on them no longer
            improves, and the best weights are restored.
    """

    def __init__(self, data: Labelled, batch_size: int, epochs: float, seed: int) -> None:
        self.data = data
        self.batch_size = min(batch_size, len(data))
        self.steps_per_epoch = max(1, len(data) // self.batch_size)
        self.total_steps = max(1, round(epochs * self.steps_per_epoch))
        self.prelude = 0.0
        self.augmentation: Augmentation | None = None
        self.held_out: Labelled | None = None
        self.seconds: float | None = None
        self.clock: Callable[[], float] = time.monotonic
        self.trained: Trained | None = None
        self.seed = seed
        self.modules: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))
        self._best = _Best()
        self._timer = Timer()
        self._learned = 0  # evaluations in a row after which hardly anything was left to learn
        self._shortened = False  # whether the rest of the schedule has been shortened for that

    @abstractmethod
    def step(self, index: int) -> dict[str, Tensor]:
        """Train on batch number `index` and return the losses to report, by name."""

    def check(self, data: Labelled) -> Tensor:
        """The loss on held-out images, without noise; lower is better, the unit is up to the subclass."""
        raise NotImplementedError

    def has_learned(self, data: Labelled) -> bool:
        """Whether held-out images show that hardly anything is left to learn, so that limited time is better spent."""
        return False

    def over(self, index: int) -> float:
        """The share of the run that is over at step `index`, in [0, 1]: of steps, or of its time if that is more."""
        of_steps = index / max(1, self.total_steps)
        return of_steps if self.seconds is None else min(1.0, max(of_steps, self._timer.spent / self.seconds))

    def cycle(self, index: int) -> float:
        """Share of the peak learning rate at step `index`, as in `one_cycle`."""
        return one_cycle(self.over(index), least=1 / max(1, self.total_steps))

    def in_prelude(self, index: int) -> bool:
        """Whether step `index` belongs to the prelude."""
        return self.over(index) < self.prelude

    def chosen(self, index: int) -> Tensor:
        """Indices of the images in batch number `index`, (N,)."""
        epoch, place = divmod(index, self.steps_per_epoch)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = (epoch, torch.randperm(len(self.data), generator=generator, device="cpu"))
        return self._order[1][place * self.batch_size : (place + 1) * self.batch_size]

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """The images (N, C, H, W) in [0, 1] and labels (N,) of batch number `index`."""
        chosen = self.chosen(index)
        images = self.data.floats(chosen)
        return images if self.augmentation is None else self.augmentation(images), self.data.labels[chosen]

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
        device = self.data.images.device
        timer = self._timer
        timer.start(self.clock)
        saved = self.clock()
        for module in self.modules.values():
            module.train()
        index = start
        stopped = start >= self.total_steps
        with (
            self._reports(progress, "" if checkpoint is None else checkpoint.stem, start) as report,
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        ):
            while not stopped and index < self.total_steps and not (index and self._time_is_up()):
                torch.manual_seed(self.seed * 7_368_787 + index)
                losses = self.step(index)
                index += 1
                timer.read(self.clock)
                last = index == self.total_steps or self._time_is_up()
                save = checkpoint is not None and self.clock() - saved > every_s
                if (index - 1) % REPORT_EVERY == 0 or last or save or report.is_due(self.clock()):
                    values = {name: float(loss.detach()) for name, loss in losses.items()}
                    self._must_be_finite(values, index)
                    report(index, self.over(index), self.clock(), values)
                if self.held_out is not None and (last or self._is_check_due(index)):
                    stopped = self._should_stop(index - 1)
                if checkpoint and save:
                    self._save(checkpoint, index)
                    saved = self.clock()
            report.finish()
        self._best.restore(self.modules)
        if start < self.total_steps:
            ended = stopped or index == self.total_steps or self._shortened
            self.trained = Trained(
                steps=index, planned=self.total_steps, seconds=round(timer.spent, 1), cut_short=not ended
            )
        if checkpoint:
            self._save(checkpoint, self.total_steps)
        for module in self.modules.values():
            module.eval()

    def _time_is_up(self) -> bool:
        """Whether no time is left but for the last evaluation."""
        return self.seconds is not None and self._timer.spent + self._timer.of_a_check >= self.seconds

    def _is_check_due(self, index: int) -> bool:
        """Whether held-out images are to be evaluated after `index` steps."""
        if self.seconds is None:
            first = max(FIRST_CHECK, (self.prelude + SETTLING) * self.total_steps if self.prelude else 0)
            return index % max(1, self.total_steps // CHECKS) == 0 and index > first
        timer, over = self._timer, self.over(index)
        if index <= FIRST_CHECK or (self.prelude and over < self.prelude + SETTLING):
            return False
        affordable = timer.spent - timer.checked_at >= timer.of_a_check / CHECKS_COST
        return affordable and over >= (timer.checks + 1) / CHECKS

    @contextmanager
    def _reports(self, progress: Progress, label: str, start: int) -> Iterator[Report]:
        """A task for the run."""
        in_percent = self.seconds is not None
        total, done = (100, int(100 * self.over(start))) if in_percent else (self.total_steps, start)
        with progress.task(f"{label}, per cent" if in_percent else label, total, done) as task:
            yield Report(task, done, total, self.clock(), in_percent=in_percent)

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
        began = self.clock()
        for module in self.modules.values():
            module.eval()
        data = self.held_out[:MOST_CHECKED]
        with torch.no_grad():
            loss = sum(float(self.check(batch)) * len(batch) for batch in data.batches(CHECK_BATCH)) / len(data)
            self._learned = self._learned + 1 if self.seconds is not None and self.has_learned(data) else 0
        for module in self.modules.values():
            module.train()
        self._must_be_finite({"held-out loss": loss}, index + 1)
        self._best.update(loss, self.modules)
        if self.seconds is not None and self._learned >= LEARNED and not self._shortened:
            self._shortened = True
            self.seconds = min(self.seconds, self._timer.spent / LAST_PART)
        self._timer.checked(self.clock, began, int(self.over(index + 1) * CHECKS))
        # While the learning rate is high, the loss may rise for a while and still improve later.
        return self.over(index) > 0.4 and self._best.since >= PATIENCE

    def _save(self, checkpoint: Path, step: int) -> None:
        state = {
            "step": step,
            "seconds": self._timer.spent,
            "trained": None if self.trained is None else asdict(self.trained),
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
        state = torch.load(checkpoint, weights_only=True, map_location=self.data.images.device)
        if state["total_steps"] != self.total_steps:
            return 0
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self._best = _Best(**state["best"])
        self._timer.before = state.get("seconds", 0.0)
        if state.get("trained") is not None:
            self.trained = Trained(**state["trained"])
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


def seconds_before(checkpoint: Path) -> float:
    """Seconds that the run that wrote a checkpoint had taken until then; 0 without a checkpoint."""
    if not checkpoint.exists():
        return 0.0
    return torch.load(checkpoint, weights_only=True, mmap=True, map_location="cpu").get("seconds", 0.0)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, *, clip: float | None = None) -> None:
    """Take one optimiser step on a loss, with the norm of the gradient of each group limited to `clip`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip is not None:
        for group in optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], clip)
    optimizer.step()


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of every parameter group of an optimiser."""
    for group in optimizer.param_groups:
        group["lr"] = value
