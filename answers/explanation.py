"""Answers the questions of a Python program about its images, a batch at a time, while the program keeps its state."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ..classifiers.introspection.frozen import frozen_eval
from ..classifiers.neutral import each_within, neutral
from ..counterfactuals.problem import ModelError
from ..images.scale import Scale
from . import parameters
from .answer import Answer
from .asking import ask_each
from .given import Given, read_all
from .loop import AnswerLoop, Failed
from .question import QuestionBatch, Source
from .region import Allowed, Within
from .wanted import Wanted, label_of

BATCH_SIZE = 64  # images


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What is asked of images, of whatever kind these are.

    Attributes:
        loop: the bundle, the engine, and how questions are answered.
        wanted: the goal of every question; None if each image's folder names its target.
        allowed: where images may change; None: everywhere.
        finds_region: whether only what changes most may change.
        scale: what black and white are in files with more than 8 bits per channel; None decides it by each image.
        on_unreadable, on_failure: "raise" or "skip".
    """

    loop: AnswerLoop
    wanted: Wanted | None
    allowed: Allowed | None
    finds_region: bool
    scale: Scale | None
    on_unreadable: str
    on_failure: str

    def answers(self, images: Iterable[Given]) -> Iterator[Answer]:
        """Answer the questions about images, as their answers are asked for.

        The images are taken, and the answers given, while the program has its own state.
        """
        numbered = enumerate(images)
        while some := list(islice(numbered, BATCH_SIZE)):
            yield from each_within(self._answers(some), self._undisturbed)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """While an answer is found: without what the program has set, and with its model in eval mode."""
        with neutral(), frozen_eval(self.loop.bundle.classifier):
            yield

    def _answers(self, images: Sequence[tuple[int, Given]]) -> Iterator[Answer]:
        """Answer the questions about one batch."""
        for result in self.loop.run(self._batches(images)):
            if isinstance(result, Failed):
                self._missing(str(result))
            else:
                yield from result.answers

    def _batches(self, images: Sequence[tuple[int, Given]]) -> Iterator[QuestionBatch]:
        bundle = self.loop.bundle
        images_read = [*read_all(images, bundle, self.scale, skip=self.on_unreadable == "skip")]
        if not images_read:
            return
        sources, pixels = zip(*images_read, strict=True)
        goals = [self.wanted or label_of(source.name, source.photo, bundle) for source in sources]
        within = [self._within(source, image) for source, image in images_read]
        stack = torch.stack(pixels).to(bundle.device)
        asked, failed = ask_each(bundle, stack, sources, goals, within, finds_region=self.finds_region)
        for row, error in failed.items():
            self._missing(f"{sources[row].name}: {error}")
        yield asked

    def _within(self, source: Source, pixels: Tensor) -> Within | None:
        """Where an image may change, in its own pixels; the picture of its segments must fit, too."""
        (height, width), segments = pixels.shape[1:], self.loop.options.segments
        if segments is not None:
            with parameters.naming("regions"):
                segments.check(source.name, (width, height) if source.placement is None else source.placement.size)
        with parameters.naming("region" if self.allowed is None or self.allowed.box is not None else "mask"):
            return self.allowed and self.allowed.within(source.name, (height, width), source.placement)

    def _missing(self, text: str) -> None:
        """Raise a ModelError about an image without an answer, or warn, as `on_failure` says."""
        if self.on_failure == "raise":
            raise ModelError(text)
        warnings.warn(f"{text}; skipped", stacklevel=3)
