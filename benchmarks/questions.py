"""The questions of a run: images, what the classifier sees in them, and the target classes.

The questions are sampled once, before any search. `QuestionSampler` reads the images, runs the classifier, chooses
targets, and writes the images at the model's size to the run's directory. After that, the run does not need the
original images any more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..answers.asking import ask_each
from ..answers.question import Question, QuestionBatch, Source, targets_of
from ..answers.region import Within
from ..answers.targets import ListedTargets, TargetPolicy, Which, is_among
from ..answers.wanted import Wanted
from ..bundles.bundle import Bundle
from ..counterfactuals.problem import ModelError
from ..documents import Table, to_json
from ..errors import DataError, ImageError, UsageError
from ..images.reading import read_image
from ..images.writing import as_png, to_picture
from ..progress import Task
from ..runs.directory import RunDirectory
from ..runs.inputs import Inputs

QUESTIONS = "pairs.jsonl"
READ_AT_ONCE = 256  # images


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Which questions a run asks.

    Attributes:
        targets: what is asked of each image.
        which: about which images.
        count: maximum number of images, sampled at random without replacement; None for all.
        seed: seed of the choice of images.
    """

    targets: TargetPolicy
    which: Which = "all"
    count: int | None = None
    seed: int = 0


class QuestionSampler:
    """Samples the questions of a run.

    Args:
        bundle: holds the classifier and the classes.
        inputs: the images.
        directory: of the run.
        sample: which questions are asked.

    Attributes:
        questions: the questions sampled so far.
        unreadable: what is wrong with each image that could not be read, or on which the classifier fails.
        notes: why other images are left out.
    """

    def __init__(self, bundle: Bundle, inputs: Inputs, directory: RunDirectory[Any], sample: Sample) -> None:
        self.bundle = bundle
        self.inputs = inputs
        self.directory = directory
        self.wanted = sample
        self.questions: list[Question] = []
        self.unreadable: list[str] = []
        self.notes: list[str] = []
        self._most = len(inputs) if sample.count is None else sample.count
        self._taken = 0

    def sample(self, task: Task | None = None) -> list[Question]:
        """Sample the questions, and write pairs.jsonl and images/factual/*.png.

        Args:
            task: advanced for each image that is asked about.

        Raises:
            DataError: there are no questions.
        """
        total = len(self.inputs)
        everything = isinstance(self.wanted.targets, ListedTargets) or (
            self._most >= total and self.inputs.labels is None
        )
        order = torch.arange(total)
        if not everything:
            order = torch.randperm(total, generator=torch.Generator().manual_seed(self.wanted.seed))
        for chosen in order.split(READ_AT_ONCE):
            before = self._taken
            self._ask(chosen.tolist())
            if task is not None:
                task.advance(self._taken - before)
            if self._taken == self._most:
                break
        if not self.questions:
            raise DataError(self._nothing_to_ask(total))
        self.directory.write(QUESTIONS, as_lines(self.questions))
        return self.questions

    def _nothing_to_ask(self, total: int) -> str:
        """Why none of the images can be asked about."""
        unreadable, which = len(self.unreadable), self.wanted.which
        reasons = [f"{unreadable} cannot be read, such as {self.unreadable[0]}"] if unreadable else []
        if total > unreadable:
            reason = (self.notes or ["they have no other class"])[0]
            if which != "all":
                reason = f"the classifier is {'right' if which == 'wrong' else 'wrong'} on them"
            reasons.append(f"{total - unreadable} cannot be asked about: {reason}")
        return f"no question to ask: of {total} images, {'; '.join(reasons)}"

    def _ask(self, chosen: Sequence[int]) -> None:
        """Add the questions about some images, and write these."""
        indices: list[int] = []
        images: list[Tensor] = []
        for index in chosen:
            try:
                images.append(self.inputs.read(index))
                indices.append(index)
            except ImageError as error:
                self.unreadable.append(str(error))
        if not images:
            return
        asked, failed = ask_each(
            self.bundle,
            torch.stack(images).to(self.bundle.device),
            [Source(name=self.inputs.name(index)) for index in indices],
            lambda row, probabilities: self._choose(indices[row], probabilities.cpu()),
        )
        if len(failed) == len(images):
            raise ModelError(f"{self.inputs.name(indices[0])}: {failed[0]}; so it is with {len(failed)} images")
        self.unreadable += [f"{self.inputs.name(indices[row])}: {error}" for row, error in failed.items()]
        files: dict[str, tuple[str, str]] = {}
        first = len({question.file for question in self.questions})
        for question, image in zip(asked.questions, asked.images.cpu(), strict=True):
            name = question.source.name
            if name not in files:
                files[name] = f"images/factual/{first + len(files):06d}.png", pixels_digest(image)
                self.directory.write(files[name][0], as_png(to_picture(image)))
            file, sha256 = files[name]
            seen = replace(question.factual, confidence=round(question.factual.confidence, 6))
            number = len(self.questions)
            self.questions.append(replace(question, factual=seen, number=number, file=file, sha256=sha256))

    def _choose(self, index: int, probabilities: Tensor) -> Sequence[Wanted]:
        """What is asked of an image, by its probabilities (K,); empty where it is none of the sample."""
        labels = self.inputs.labels
        label = None if labels is None else int(labels[index])
        if self._taken == self._most or not is_among(self.wanted.which, int(probabilities.argmax()), label):
            return ()
        targets = self.wanted.targets
        if isinstance(targets, ListedTargets):
            seen = self.bundle.classes[int(probabilities.argmax())]
            for line in targets.left_out(index, probabilities):
                self.notes.append(f"{self.inputs.name(index)} (line {line}): the model already sees {seen}")
        wanted = targets.wanted(index, probabilities, self.bundle)
        self._taken += bool(wanted)
        return wanted


def pixels_digest(image: Tensor) -> str:
    """The sha256 of an image (C, H, W) in [0, 1], as 8-bit values."""
    levels = (image * 255).round().to(torch.uint8).cpu().contiguous()
    return hashlib.sha256(f"{tuple(levels.shape)}\n".encode() + levels.numpy().tobytes()).hexdigest()


def as_lines(questions: Sequence[Question]) -> bytes:
    """The content of pairs.jsonl, one question a line."""
    lines = [
        {
            "pair": question.number,
            "input": question.source.name,
            "factual": question.factual.as_json(),
            "target": question.target,
            **({} if question.goal == "target" else {"goal": question.goal}),
            "files": {"factual": question.file},
            "sha256": question.sha256,
        }
        for question in questions
    ]
    return "".join(to_json(line) + "\n" for line in lines).encode("utf-8")


def read_questions(directory: Path) -> list[Question]:
    """Read the questions of a run.

    Raises:
        UsageError: there is no run in the directory.
        DataError: pairs.jsonl is damaged.
    """
    path = directory / QUESTIONS
    questions: list[Question] = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
            try:
                table = Table(json.loads(line), f"{path}: line {number}", DataError)
                question = Question.from_json(table)
                table.need("pair", int)
                table.need_table("files").need("factual", str)
                questions.append(question)
            except (ValueError, DataError) as error:
                raise DataError(f"{path}: line {number} is not a question; start anew with --fresh") from error
    except FileNotFoundError as error:
        raise UsageError(f"{directory}: no run there (no {QUESTIONS}); `cfx bench` makes one") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8; start anew with --fresh") from error
    return questions


def load_batch(
    directory: Path, questions: Sequence[Question], bundle: Bundle, within: Within | None = None
) -> QuestionBatch:
    """Load the images of some questions of a run, on the bundle's device; only `within` they may change."""
    images = load_pictures([directory / str(question.file) for question in questions], bundle)
    if within is not None:
        questions = [replace(question, within=within) for question in questions]
    return QuestionBatch(questions, images, targets_of(questions, bundle))


def load_pictures(paths: Sequence[Path], bundle: Bundle) -> Tensor:
    """Read PNG files at the model's size: (N, C, H, W) in [0, 1] on the bundle's device.

    Raises:
        ImageError: a file is missing or damaged.
    """
    return torch.stack([read_image(path, bundle.shape).pixels for path in paths]).to(bundle.device)
