"""The work of `cfx explain`: reads, answers, writes and prints one batch of images after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..answers.answer import Answer
from ..answers.panel import change_picture
from ..answers.pipeline import AnswerOptions, answer_batch
from ..answers.question import QuestionBatch, Source, ask, target_class
from ..bundles.bundle import Bundle, load_bundle, pick_device
from ..counterfactuals.engine import Engine
from ..counterfactuals.registry import DEFAULT_ENGINE
from ..errors import CfxError, UsageError
from ..files import make_directory
from ..images.reading import find_images
from ..images.writing import as_png
from ..memory import keep_freed_memory
from ..metrics.evaluate import load_scoring, with_lpips
from ..reports.gallery import GalleryItem
from ..reports.page import write_page
from ..reports.run import PAGE, versions
from .engines import load_engines
from .exit_code import ExitCode
from .explain import ExplainOptions
from .explain_files import AnswerFiles, as_line
from .naming import file_names, stems
from .terminal.answers import MEASURED, RunningMeans, print_card, print_comparison, print_row
from .terminal.terminal import Terminal

CARDS = 4  # up to this many images are printed as cards; more are printed as lines


def run(options: ExplainOptions, terminal: Terminal) -> ExitCode:
    """Explain all images, and return the exit code."""
    paths, unreadable = find(options.images, terminal)
    if not paths:
        return ExitCode.WRONG_USAGE
    with terminal.task("loading the models"):
        keep_freed_memory()
        bundle = load_bundle(options.bundle, pick_device(options.device))
        target = target_class(options.target, bundle)
        engines = load_engines(
            options.engines or [bundle.engine or DEFAULT_ENGINE],
            bundle,
            options.confidence,
            leave_out=options.every_engine,
            note=terminal.note,
        )
        load_scoring(bundle)
    explainer = Explainer(options, terminal, paths, bundle, engines, unreadable=unreadable)
    explainer.go(target)
    return explainer.exit_code


def find(patterns: Sequence[str], terminal: Terminal) -> tuple[list[Path], bool]:
    """The images asked for, each once, in the order of the command line; and whether one is missing.

    Raises:
        ImageError: the image is missing, and it is the only one that was asked for.
    """
    found: dict[Path, Path] = {}
    missing = False
    for pattern in patterns:
        try:
            for path in find_images([pattern]):
                found.setdefault(path.absolute(), path)
        except CfxError as error:
            if len(patterns) == 1:
                raise
            terminal.error(str(error))
            missing = True
    return list(found.values()), missing


@dataclass(frozen=True)
class Batch:
    """Questions, and the index of each question's image among all images."""

    places: list[int]
    asked: QuestionBatch


class Explainer:
    """One invocation of `cfx explain`.

    Args:
        options: the options of the command.
        terminal: prints answers, notes and errors.
        paths: the image files.
        bundle: holds the classifier to explain.
        engines: the engines by name.
        unreadable: whether an image is already known to be missing.
    """

    def __init__(
        self,
        options: ExplainOptions,
        terminal: Terminal,
        paths: Sequence[Path],
        bundle: Bundle,
        engines: dict[str, Engine],
        *,
        unreadable: bool,
    ) -> None:
        self.options = options
        self.terminal = terminal
        self.paths = paths
        self.bundle = bundle
        self.engines = engines
        self.unreadable = unreadable
        self.all_valid = True
        self.stems = stems(paths)
        self.files = AnswerFiles(options.out, bundle, file_names(bundle.classes), carry=not options.invert)
        self.means: dict[str, RunningMeans] = {}
        self.gallery: list[GalleryItem] = []

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        if self.unreadable:
            return ExitCode.WRONG_USAGE
        return ExitCode.DONE if self.all_valid else ExitCode.ANSWERED_NO

    def go(self, target: int | None) -> None:
        """Explain all images.

        Args:
            target: index of the target class; None for each image's runner-up.
        """
        for path, stem in zip(self.paths, self.stems, strict=True):
            if stem != path.stem:
                note = f"{path}: an earlier image is also called {path.stem}; its results are named {stem}"
                self.terminal.note(note)
        for batch in self._batches(target):
            make_directory(self.options.out)
            by_engine = [
                self._answer(batch, name, len(self.engines) * batch.places[0] + number * len(batch.places))
                for number, name in enumerate(self.engines)
            ]
            if len(by_engine) > 1:
                for place, answers in zip(batch.places, zip(*by_engine, strict=True), strict=True):
                    path = self.files.write_overview(answers, self.stems[place])
                    self.terminal.note(f"{path}: all engines in one picture")
        if self.gallery:
            self._write_page()
        self._close()

    def _batches(self, target: int | None) -> Iterator[Batch]:
        """Yield the questions in batches, without images that cannot be read and questions without a search."""
        size, engines = self.options.batch_size, len(self.engines)
        for start in range(0, len(self.paths), size):
            places = list(range(start, min(start + size, len(self.paths))))
            with self.terminal.task("reading", len(self.paths) * engines, start * engines):
                read = {place: found for place in places if (found := self._read(self.paths[place])) is not None}
            if not read:
                continue
            sources, pixels = zip(*read.values(), strict=True)
            asked = ask(self.bundle, torch.stack(pixels).to(self.bundle.device), sources, target)
            rows = [row for row in range(len(asked)) if self._is_open(asked, row)]
            if rows:
                some = list(read)
                yield Batch([some[row] for row in rows], asked.only(rows))

    def _read(self, path: Path) -> tuple[Source, torch.Tensor] | None:
        """Read one image; print an error and return None if it cannot be read."""
        try:
            read = self.bundle.read(path, invert=self.options.invert)
        except CfxError as error:
            self.terminal.error(str(error))
            self.unreadable = True
            return None
        for note in read.notes:
            self.terminal.note(f"{path}: {note}")
        return Source(name=str(path), photo=path, placement=read.placement, notes=read.notes), read.pixels

    def _is_open(self, asked: QuestionBatch, row: int) -> bool:
        """Whether a question needs a search: the model does not see the target in the factual already.

        Raises:
            UsageError: it does, and this is the only image.
        """
        question = asked.questions[row]
        if not question.is_answered:
            return True
        what = f"{question.source.name}: the model already sees {question.factual}"
        if len(self.paths) == 1 and len(self.options.images) == 1:
            raise UsageError(f"{what}; choose another --target, or auto for the runner-up class")
        self.terminal.note(f"{what}; skipped")
        return False

    def _answer(self, batch: Batch, name: str, done: int) -> list[Answer]:
        """Answer a batch with one engine: search, score, write, then print.

        Args:
            batch: the questions.
            name: name of the engine.
            done: number of answers before this batch, for the progress bar.
        """
        options = self.options
        answering = AnswerOptions(seed=options.seed, path=options.path, metrics=with_lpips() if options.lpips else None)
        with self.terminal.task(f"searching with {name}", len(self.paths) * len(self.engines), done) as task:
            answers = answer_batch(self.bundle, name, self.engines[name], batch.asked, answering)
            for row, place in enumerate(batch.places):
                answers[row] = self.files.write(answers[row], self.stems[place])
                task.advance()
        for answer in answers:
            self._show(answer)
        return answers

    def _show(self, answer: Answer) -> None:
        """Print one answer, and update the means, the gallery and the exit code."""
        self.all_valid &= answer.valid
        means = self.means.setdefault(answer.label, RunningMeans())
        means.add(answer, alone=len(self.paths) == 1)
        factual, counterfactual = answer.given_images.pictures
        if self.options.html:
            found = Path(answer.files["counterfactual"]).read_bytes()
            self.gallery.append(GalleryItem.of(answer, as_png(factual), found))
        if self.options.format == "json":
            self.terminal.line(as_line(answer))
        elif len(self.paths) > CARDS:
            print_row(self.terminal.out, answer)
        else:
            change, _ = change_picture(factual, counterfactual)
            titled = (("factual", factual), ("counterfactual", counterfactual), ("change", change))
            self.terminal.pictures(*titled)
            print_card(self.terminal.out, answer)

    def _write_page(self) -> None:
        """Write the page with all answers."""
        facts = {
            "images": " ".join(self.options.images),
            "target": self.options.target,
            "confidence": f"{self.options.confidence:g}",
            "bundle": f"{self.bundle.name}, sha256 {self.bundle.digest[:12]}",
            "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        }
        path = self.options.out / PAGE
        write_page(path, title=f"cfx explain: {len(self.gallery)} answers", facts=facts, items=self.gallery)
        self.terminal.note(f"{path}: a page with all answers")

    def _close(self) -> None:
        """Print the comparison and the legend that end the output."""
        if self.options.format == "json" or not self.means:
            return
        if len(self.means) > 1 or len(self.paths) > 1:
            print_comparison(self.terminal.out, self.means)
        self.terminal.out.print(MEASURED, style="dim")
