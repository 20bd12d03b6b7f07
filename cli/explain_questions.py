"""The questions of `cfx explain`: reads images in batches, and makes what is asked of each a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..answers.asking import ask_each
from ..answers.question import QuestionBatch, Source
from ..answers.region import Allowed, Within
from ..answers.segments import Segments
from ..answers.wanted import Wanted, label_of
from ..bundles.bundle import Bundle
from ..counterfactuals.problem import ModelError
from ..errors import CfxError, ImageError
from ..images.reading import deep_ranges
from ..images.scale import DeepRange, Scale
from .explain_inputs import STDIN, Errors, Input
from .explain_options import ExplainOptions
from .terminal.terminal import Terminal


@dataclass(frozen=True)
class Batch:
    """Questions, and the input that each is about."""

    inputs: list[Input]
    asked: QuestionBatch


@dataclass(frozen=True)
class Prepared:
    """An image that was read, and what is asked of it."""

    source: Source
    pixels: Tensor
    wanted: Wanted
    within: Within | None


class Questions:
    """Makes questions about images. What is wrong with an image is reported, and costs only its own question.

    Args:
        options: what is asked.
        terminal: prints notes.
        bundle: holds the classifier.
        errors: reports images that cannot be asked about.
        wanted: what is asked of each image; None for its label.
        segments: how images are cut to find out which regions suffice; None: they are not.

    Attributes:
        scale: what black and white are in images with more than 8 bits per channel; None: each decides for itself.
    """

    def __init__(
        self,
        options: ExplainOptions,
        terminal: Terminal,
        bundle: Bundle,
        errors: Errors,
        wanted: Wanted | None,
        segments: Segments | None = None,
    ) -> None:
        self.options = options
        self.terminal = terminal
        self.bundle = bundle
        self.errors = errors
        self.wanted = wanted
        self.segments = segments
        self.finds_region = options.mask == "auto"
        self.allowed = None
        if options.region is not None or (options.mask is not None and not self.finds_region):
            self.allowed = Allowed(box=options.region, mask=None if options.mask is None else Path(options.mask))
        self.scale = Scale(*options.window, clips=True) if options.window is not None else bundle.scale

    def choose_scale(self, inputs: list[Input]) -> list[Input]:
        """Decide what black and white are for all images together; if that cannot be told, leave these images out."""
        if self.scale is not None:
            return inputs
        with self.terminal.task("reading"):
            ranges = deep_ranges([each.path for each in inputs])
        if not ranges:
            return inputs
        together = DeepRange.of_all([*ranges.values()])
        try:
            self.scale, says = together.decide("the images")
            self.terminal.note(says)
            return inputs
        except ImageError:
            for each in inputs:
                if each.path in ranges:
                    try:
                        together.decide(each.name)
                    except ImageError as error:
                        self.errors.add(each.name, error)
        return [each for each in inputs if each.path not in ranges]

    def ask(self, inputs: Sequence[Input]) -> Batch:
        """Read images, and make the questions about those that can be read and asked about."""
        prepared: dict[Input, Prepared] = {}
        for each in inputs:
            try:
                prepared[each] = self._prepare(each)
            except CfxError as error:
                renamed = str(error).replace(str(each.path), each.name, 1)
                self.errors.add(each.name, type(error)(renamed))
        return self._ask(prepared)

    def _prepare(self, each: Input) -> Prepared:
        """Read one image, and find out what is asked of it.

        Raises:
            CfxError: it cannot be read, or its label or region cannot be had.
        """
        read = self.bundle.read(each.path, invert=self.options.invert, scale=self.scale)
        for note in read.notes:
            self.terminal.note(f"{each.name}: {note}")
        source = Source(
            name=each.name,
            photo=each.path,
            sha256=each.sha256,
            placement=read.placement,
            notes=read.notes,
            scale=self.scale,
        )
        if self.segments is not None:
            self.segments.check(each.name, read.placement.size)
        if each.row is not None:
            wanted = Wanted("target", (each.row.label(self.bundle.classes),))
        else:
            wanted = self.wanted or label_of(each.name, None if each.name == STDIN else each.path, self.bundle)
        return Prepared(source, read.pixels, wanted, self._where(source, read.pixels))

    def _where(self, source: Source, pixels: Tensor) -> Within | None:
        """Where an image may change; None: everywhere, or it is to be found."""
        return self.allowed and self.allowed.within(source.name, (pixels.shape[1], pixels.shape[2]), source.placement)

    def _ask(self, prepared: dict[Input, Prepared]) -> Batch:
        """Make questions about images; an image on which the classifier returns NaN is reported and left out."""
        inputs, every = [*prepared], [*prepared.values()]
        if not every:
            nothing = torch.zeros(0, dtype=torch.int64)
            return Batch([], QuestionBatch([], nothing, nothing))
        asked, failed = ask_each(
            self.bundle,
            torch.stack([each.pixels for each in every]).to(self.bundle.device),
            [each.source for each in every],
            [each.wanted for each in every],
            [each.within for each in every],
            finds_region=self.finds_region,
        )
        for row, error in failed.items():
            self.errors.add(inputs[row].name, ModelError(f"{inputs[row].name}: {error}"))
        return Batch([each for row, each in enumerate(inputs) if row not in failed], asked)
