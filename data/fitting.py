"""The one training loop: deterministic batches, checkpoints, resumption after a kill."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .datasets import Labelled

Report = Callable[[int, int, dict[str, float]], None]
"""Called as report(steps done, steps in all, latest losses)."""


class Fit(ABC):
    """A model being fitted: its modules, its optimisers, and one step of training.

    Everything random in a step follows from `seed` and the step's index alone, so that a run which was
    killed and resumed sees the same batches and the same noise as one that was not.

    Args:
        data: the images to fit.
        batch_size: images per step.
        epochs: passes over the data.
        seed: of initialisation, order and noise.
    """

    def __init__(self, data: Labelled, batch_size: int, epochs: float, seed: int) -> None:
        self.data = data
        self.batch_size = min(batch_size, len(data))
        self.steps_per_epoch = max(1, len(data) // self.batch_size)
        self.total_steps = max(1, round(epochs * self.steps_per_epoch))
        self.seed = seed
        self.modules: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    @abstractmethod
    def step(self, index: int) -> dict[str, Tensor]:
        """Train on batch number `index`; returns the losses to report, by name."""

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """The images (N, C, H, W) in [0, 1] and labels (N,) of batch number `index`."""
        epoch, place = divmod(index, self.steps_per_epoch)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = (epoch, torch.randperm(len(self.data), generator=generator))
        chosen = self._order[1][place * self.batch_size : (place + 1) * self.batch_size]
        return self.data.floats(chosen), self.data.labels[chosen]

    def run(self, checkpoint: Path | None = None, report: Report | None = None, every_s: float = 30.0) -> None:
        """Train to the end, from `checkpoint` where it exists, writing it every `every_s` seconds."""
        start = self._resume(checkpoint)
        saved = time.monotonic()
        for module in self.modules.values():
            module.train()
        with torch.random.fork_rng(devices=[]):
            for index in range(start, self.total_steps):
                torch.manual_seed(self.seed * 7_368_787 + index)
                losses = self.step(index)
                if report and (index % 20 == 0 or index + 1 == self.total_steps):
                    report(index + 1, self.total_steps, {k: float(v.detach()) for k, v in losses.items()})
                if checkpoint and time.monotonic() - saved > every_s:
                    self._save(checkpoint, index + 1)
                    saved = time.monotonic()
        if checkpoint:
            self._save(checkpoint, self.total_steps)
        for module in self.modules.values():
            module.eval()

    def _save(self, checkpoint: Path, step: int) -> None:
        state: dict[str, Any] = {"step": step, "total_steps": self.total_steps}
        state["modules"] = {name: module.state_dict() for name, module in self.modules.items()}
        state["optimizers"] = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        partial = checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(checkpoint)

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
        return state["step"]


def one_cycle(index: int, total: int, warm_up: float = 0.15) -> float:
    """Share of the peak learning rate at step `index`: linear up, then cosine down to zero."""
    import math

    place = index / max(1, total)
    if place < warm_up:
        return max(place, 1 / max(1, total)) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (place - warm_up) / (1 - warm_up)))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Give every parameter group of an optimiser the learning rate `value`."""
    for group in optimizer.param_groups:
        group["lr"] = value
