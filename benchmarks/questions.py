"""The questions of a run: images, what the classifier sees in them, and the target classes.

The questions are sampled once, before any search. `QuestionSampler` reads the images, runs the classifier, chooses
targets, and writes the images at the model's size to the run's directory. After that, the run does not need the
original images any more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..answers.policies import LABEL
from ..answers.question import Question, QuestionBatch, Source, targets_of
from ..answers.region import Within
from ..answers.seen import Seen, probabilities_of
from ..answers.wanted import goal_of
from ..bundles.bundle import Bundle
from ..documents import Table, to_json
from ..errors import DataError, ImageError, UsageError
from ..files import write_text
from ..images.reading import read_image
from ..images.writing import write_png
from ..progress import Task
from ..runs.inputs import Inputs, Listed

QUESTIONS = "pairs.jsonl"
READ_AT_ONCE = 256  # images


class QuestionSampler:
    """Samples the questions of a run.

    Args:
        bundle: holds the classifier and the classes.
        inputs: the images.
        directory: directory of the run.
        seed: seed of the choice of images and of random targets.

    Attributes:
        questions: the questions sampled so far.
        unreadable: what is wrong with each image that could not be read.
        notes: why other images are left out.
    """

    def __init__(
        self,
        bundle: Bundle,
        inputs: Inputs,
        directory: Path,
        *,
        seed: int,
    ) -> None:
        self.bundle = bundle
        self.inputs = inputs
        self.directory = directory
        self.seed = seed
        self.questions: list[Question] = []
        self.unreadable: list[str] = []
        self.notes: list[str] = []

    def sample(self, targets: str | Listed, count: int | None, task: Task | None = None) -> list[Question]:
        """Sample the questions, and write pairs.jsonl and images/factual/*.png.

        Args:
            targets: one of `settings.POLICIES`, or the result of `read_targets`.
            count: maximum number of images, sampled at random without replacement; None for all.
            task: advanced for each image that is asked about.

        Raises:
            DataError: there are no questions.
        """
        generator = torch.Generator().manual_seed(self.seed)
        total, wanted = len(self.inputs), len(self.inputs) if count is None else count
        everything = isinstance(targets, Listed) or (wanted >= total and self.inputs.labels is None)
        order = torch.arange(total) if everything else torch.randperm(total, generator=generator)
        taken = 0
        for chosen in order.split(READ_AT_ONCE):
            for index, image, probabilities in self._classified(chosen.tolist()):
                if taken == wanted:
                    break
                if self._ask(index, image, probabilities, targets, taken):
                    taken += 1
                    if task is not None:
                        task.advance()
            if taken == wanted:
                break
        if not self.questions:
            raise DataError(self._nothing_to_ask(total, targets))
        write_questions(self.directory, self.questions)
        return self.questions

    def _nothing_to_ask(self, total: int, targets: str | Listed) -> str:
        """Why none of the images can be asked about."""
        unreadable = len(self.unreadable)
        reasons = [f"{unreadable} cannot be read, such as {self.unreadable[0]}"] if unreadable else []
        if total > unreadable:
            reason = (self.notes or ["they have no other class"])[0]
            if self.inputs.labels is not None:
                reason = f"the classifier is {'right' if targets == LABEL else 'wrong'} on them"
            reasons.append(f"{total - unreadable} cannot be asked about: {reason}")
        return f"no question to ask: of {total} images, {'; '.join(reasons)}"

    def _classified(self, chosen: Iterable[int]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield index, image and class probabilities (K,) of the images that can be read."""
        indices, images = [], []
        for index in chosen:
            try:
                images.append(self.inputs.read(index))
                indices.append(index)
            except ImageError as error:
                self.unreadable.append(str(error))
        if images:
            probabilities = probabilities_of(self.bundle.classifier, torch.stack(images).to(self.bundle.device))
            yield from zip(indices, images, probabilities.cpu(), strict=True)

    def _ask(self, index: int, image: Tensor, probabilities: Tensor, targets: str | Listed, number: int) -> bool:
        """Add the questions about one image; return whether there are any."""
        seen = int(probabilities.argmax())
        if self.inputs.labels is not None and (seen != int(self.inputs.labels[index])) != (targets == LABEL):
            return False
        classes, source = self.bundle.classes, Source(name=self.inputs.name(index))
        wanted = self._targets(index, seen, probabilities, targets)
        if not wanted:
            return False
        file = f"images/factual/{number:06d}.png"
        write_png(self.directory / file, image)
        factual = Seen(classes[seen], round(float(probabilities[seen]), 6))
        sha256 = pixels_digest(image)
        for target in wanted:
            place = len(self.questions)
            question = Question(
                source=source,
                factual=factual,
                target=classes[target],
                goal="label" if targets == LABEL else "target",
                number=place,
                file=file,
                sha256=sha256,
            )
            self.questions.append(question)
        return True

    def _targets(self, index: int, seen: int, probabilities: Tensor, targets: str | Listed) -> list[int]:
        count = len(probabilities)
        if isinstance(targets, Listed):
            for line, target in targets.asked[index]:
                if target == seen:
                    name = self.bundle.classes[seen]
                    self.notes.append(f"{self.inputs.name(index)} (line {line}): the model already sees {name}")
            return [target for _, target in targets.asked[index] if target != seen]
        if targets == LABEL:
            assert self.inputs.labels is not None
            return [int(self.inputs.labels[index])]
        present = set(self.bundle.present)
        others = [target for place in range(1, count) if (target := (seen + place) % count) in present]
        if targets == "all":
            return sorted(others)
        if targets == "runner-up":
            return [max(others, key=lambda target: float(probabilities[target]))]
        # Each image has its own generator, so that its target does not depend on which other images could be read.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        return [others[int(torch.randint(len(others), (1,), generator=generator))]]


def pixels_digest(image: Tensor) -> str:
    """The sha256 of an image (C, H, W) in [0, 1], as 8-bit values."""
    levels = (image * 255).round().to(torch.uint8).cpu().contiguous()
    return hashlib.sha256(f"{tuple(levels.shape)}\n".encode() + levels.numpy().tobytes()).hexdigest()


def write_questions(directory: Path, questions: Sequence[Question]) -> None:
    """Write pairs.jsonl into a run's directory, one question per line."""
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
    write_text(directory / QUESTIONS, "".join(to_json(line) + "\n" for line in lines))


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
                questions.append(
                    Question(
                        source=Source(name=table.need("input", str)),
                        factual=Seen.from_json(table.need_table("factual")),
                        target=table.need("target", str),
                        goal=goal_of(table),
                        number=table.need("pair", int),
                        file=table.mapping("files", str)["factual"],
                        sha256=table.get("sha256", str),
                    )
                )
            except (ValueError, KeyError, DataError) as error:
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
