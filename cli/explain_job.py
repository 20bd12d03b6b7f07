"""The work of `cfx explain`: reads, answers, writes and prints one batch of images after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..answers.answer import Answer
from ..answers.loop import Failed
from ..answers.pictures.held import drawn
from ..answers.pictures.panel import change_picture
from ..answers.question import QuestionBatch
from ..answers.reach import far_note
from ..counterfactuals.choosing import EngineLoader
from ..counterfactuals.problem import ModelError
from ..counterfactuals.registry import DEFAULT_ENGINE
from ..errors import OutputError
from ..files import make_directory
from ..memory import keep_freed_memory
from .claims import ClaimedNames
from .exit_code import ExitCode
from .explain_asked import Asked, ask_about, once, with_one_scale
from .explain_files import record_of
from .explain_inputs import STDIN, Errors, Input, find, temporary_directory
from .explain_options import ExplainOptions
from .explain_questions import Batch
from .explain_subject import open_subjects
from .terminal.answers import MEASURED, RunningMeans, print_card, print_comparison, print_row
from .terminal.terminal import Terminal

if TYPE_CHECKING:
    from .explain_page import ExplainPage

CARDS = 4  # up to this many images are printed as cards; more are printed as lines


def run(options: ExplainOptions, terminal: Terminal) -> ExitCode:
    """Explain all images, and return the exit code."""
    with ExitStack() as opened:
        temporary = opened.enter_context(temporary_directory()) if STDIN in options.images else Path()
        inputs, missing = find(options, temporary, terminal)
        as_json = options.format == "json"
        errors = Errors(terminal, as_json=as_json)
        for name, reason in missing:
            if len(options.images) == 1 and not as_json:
                raise reason
            errors.add(name, reason)
        if not inputs:
            return ExitCode.WRONG_USAGE
        with terminal.task("loading the models"):
            keep_freed_memory()
            loader = EngineLoader(options.engines, once(terminal.note))
            subjects = open_subjects(options, inputs, errors, terminal)
            asked = [ask_about(options, each, loader, errors, terminal) for each in subjects]
        names = opened.enter_context(ClaimedNames.opened(options.out, [each.stem for each in inputs]))
        explainer = Explainer(options, terminal, errors, names, len(inputs))
        try:
            explainer.go(with_one_scale(asked))
        except KeyboardInterrupt:
            terminal.note(f"interrupted; the answers so far are in {options.out}")
            raise
        return explainer.exit_code


class Explainer:
    """One invocation of `cfx explain`.

    Args:
        options: the options of the command.
        terminal: prints answers and notes.
        errors: reports images without an answer.
        names: reserves the names of results.
        count: number of images.
    """

    def __init__(
        self, options: ExplainOptions, terminal: Terminal, errors: Errors, names: ClaimedNames, count: int
    ) -> None:
        self.options = options
        self.terminal = terminal
        self.errors = errors
        self.names = names
        self.count = count
        self.all_valid = True
        self.means: dict[str, RunningMeans] = {}
        self.page = _page() if options.html else None
        self.pairs: set[tuple[str, str]] = set()
        self.done = 0

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        if self.errors.any:
            return ExitCode.WRONG_USAGE
        return ExitCode.DONE if self.all_valid else ExitCode.ANSWERED_NO

    def go(self, asked: Sequence[Asked]) -> None:
        """Explain all images."""
        self.count = sum(len(part.inputs) for part in asked)
        what = f"explain: {self.count} image{'s' if self.count > 1 else ''} with {', '.join(asked[0].engines)}"
        with ExitStack() as work:
            number = 0
            for part in asked:
                for batch in self._batches(part):
                    make_directory(self.options.out)
                    batch = replace(batch, inputs=self._named(batch.inputs))
                    if not number:
                        work.enter_context(self.terminal.work(what))
                    number += 1
                    self._answer_all(part, batch)
            page = None if self.page is None else self.page.write(self.options, asked[0].bundle)
            if page is not None:
                self.terminal.note(f"{page}: a page with all answers")
            self._close()

    def _answer_all(self, part: Asked, batch: Batch) -> None:
        """Answer a batch with all engines."""
        by_engine = [self._answer(part, batch, name) for name in part.engines]
        if len(by_engine) > 1 or self.options.count > 1:
            for each in batch.inputs:
                answers = [own for answers in by_engine for own in answers.get(each, [])]
                self._write_overview(part, each, answers)

    def _named(self, inputs: Sequence[Input]) -> list[Input]:
        """The images with the names of their results reserved; tells where these are not the images' own."""
        claimed = self.names.claim(inputs)
        for each in claimed:
            if each.own != Path(each.name).stem and each.name != STDIN:
                self.terminal.note(f"{each.name}: has a long name; its results are named {each.stem}")
            elif each.name != STDIN and each.stem != each.own:
                self.terminal.note(
                    f"{each.name}: another image is also called {each.own}; its results are named {each.stem}"
                )
        return claimed

    def _batches(self, part: Asked) -> Iterator[Batch]:
        """Yield the questions in batches, without images that cannot be asked about."""
        size, engines = self.options.batch_size, len(part.engines)
        for start in range(0, len(part.inputs), size):
            with self.terminal.task("reading", self.count * engines, self.done):
                batch = part.questions.ask(part.inputs[start : start + size])
            self._say_what_is_far(part, batch.asked)
            if batch.inputs:
                yield batch

    def _say_what_is_far(self, part: Asked, asked: QuestionBatch) -> None:
        """Tell which targets the bundle's engine seldom reached in its trial, each pair of classes once."""
        reach = part.bundle.file.reach
        if reach is None or not {reach.engine, DEFAULT_ENGINE} & set(part.engines):
            return
        for question, image in zip(asked.questions, asked.images, strict=True):
            pair = (question.factual.name, question.target)
            if question.is_met(self.options.confidence) or len(question.targets) > 1:
                continue
            if pair not in self.pairs and (note := far_note(part.bundle, question, image)) is not None:
                self.terminal.note(note)
            self.pairs.add(pair)

    def _answer(self, part: Asked, batch: Batch, name: str) -> dict[Input, list[Answer]]:
        """Answer a batch with one engine: search, score, write, then print. Errors cost only their own image."""
        total = self.count * len(part.engines)
        with self.terminal.task(f"searching with {name}", total, self.done) as task:
            answers: dict[Input, list[Answer]] = {}
            results = part.loop.answer(name, batch.asked, lambda calls: task.advance(0, calls=calls))
            for each, result in zip(batch.inputs, results, strict=True):
                if isinstance(result, Failed):
                    self._report(each, result)
                    continue
                for answer in result.answers:
                    try:
                        answers.setdefault(each, []).append(part.files.write(answer, each.stem))
                    except OutputError as error:
                        self.errors.add(each.name, OutputError(f"{each.name}: {error}"))
                task.advance()
        self.done += len(batch.inputs)
        for of_image in answers.values():
            for answer in of_image:
                self._show(answer)
        return answers

    def _report(self, each: Input, failed: Failed) -> None:
        """Report that an engine could not even make an attempt; where all engines are asked, one may have nothing."""
        if failed.fault == "nothing-to-offer" and self.options.engines.every:
            self.terminal.note(f"{each.name}: engine {failed.engine} is left out: {failed.reason}")
        else:
            self.errors.add(each.name, ModelError(f"{each.name}: engine {failed.engine}: {failed.reason}"))

    def _write_overview(self, part: Asked, each: Input, answers: Sequence[Answer]) -> None:
        """Write the picture that compares the engines' answers about an image."""
        if len(answers) < 2:
            return
        try:
            path = part.files.write_overview(answers, each.stem)
        except OutputError as error:
            self.errors.add(each.name, OutputError(f"{each.name}: {error}"))
        else:
            self.terminal.note(f"{path}: all {'engines' if len(part.engines) > 1 else 'answers'} in one picture")

    def _show(self, answer: Answer) -> None:
        """Print one answer, and update the means, the gallery and the exit code."""
        self.all_valid &= answer.valid
        means = self.means.setdefault(answer.label, RunningMeans())
        means.add(answer, alone=self.count == 1)
        factual, counterfactual = drawn(answer.pictures)
        if self.page is not None:
            self.page.add(answer)
        if self.options.format == "json":
            self.terminal.json(record_of(answer))
        elif self.count > CARDS:
            print_row(self.terminal.out, answer)
        else:
            change, _ = change_picture(factual, counterfactual)
            titled = (("factual", factual), ("counterfactual", counterfactual), ("change", change))
            self.terminal.pictures(*titled)
            print_card(self.terminal.out, answer)

    def _close(self) -> None:
        """Print the comparison and the legend that end the output."""
        if self.options.format == "json" or not self.means:
            return
        if len(self.means) > 1 or self.count > 1:
            print_comparison(self.terminal.out, self.means)
        self.terminal.out.print(MEASURED, style="dim")


def _page() -> ExplainPage:
    """A page to be; few commands ask for one, so that its modules are imported here."""
    from .explain_page import ExplainPage

    return ExplainPage()
