"""The work of `cfx explain`: reads, answers, writes and prints one batch of images after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..answers.answer import Answer
from ..answers.loop import AnswerLoop, Failed
from ..answers.pictures.held import drawn
from ..answers.pictures.panel import change_picture
from ..answers.pipeline import AnswerOptions, default_engine
from ..answers.question import QuestionBatch
from ..answers.reach import far_note
from ..answers.segments import segments_of
from ..answers.style import typical_of
from ..answers.wanted import wanted_of
from ..counterfactuals.choosing import EngineLoader
from ..counterfactuals.engine import Engine
from ..counterfactuals.problem import ModelError
from ..counterfactuals.registry import DEFAULT_ENGINE
from ..errors import OutputError
from ..files import make_directory
from ..memory import keep_freed_memory
from ..metrics.evaluate import load_scoring, requested
from .exit_code import ExitCode
from .explain_files import AnswerFiles, record_of
from .explain_inputs import STDIN, Errors, Input, find, temporary_directory
from .explain_options import ExplainOptions
from .explain_questions import Batch, Questions
from .explain_subject import open_subject
from .naming import file_names
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
            loader = EngineLoader(options.engines, terminal.note)
            bundle = open_subject(options, [each.path for each in inputs], terminal)
            names = [default_engine(bundle)]
            engines = loader.load(bundle, options.confidence, names, certain=options.certain or options.may_be_certain)
            certain = options.certain or any(engine.any_class for engine in engines.values())
            wanted = wanted_of(options.target, bundle, other_than=options.other_than, certain=certain)
            load_scoring(bundle)
        segments = None if options.segments is None else segments_of(options.segments)
        questions = Questions(options, terminal, bundle, errors, wanted, segments)
        explainer = Explainer(options, terminal, inputs, questions, engines)
        try:
            explainer.go()
        except KeyboardInterrupt:
            terminal.note(f"interrupted; the answers so far are in {options.out}")
            raise
        return explainer.exit_code


class Explainer:
    """One invocation of `cfx explain`.

    Args:
        options: the options of the command.
        terminal: prints answers and notes.
        inputs: the images.
        questions: makes the questions about them, of the bundle that holds the classifier to explain.
        engines: the engines by name.
    """

    def __init__(
        self,
        options: ExplainOptions,
        terminal: Terminal,
        inputs: list[Input],
        questions: Questions,
        engines: dict[str, Engine],
    ) -> None:
        self.options = options
        self.terminal = terminal
        self.inputs = inputs
        self.questions = questions
        self.bundle, self.errors = questions.bundle, questions.errors
        self.engines = engines
        self.all_valid = True
        answering = AnswerOptions(
            seed=options.seed,
            path=options.path,
            also=requested(lpips=options.lpips, strokes=options.strokes),
            count=options.count,
            typical=typical_of(self.bundle, options.style),
            segments=questions.segments,
        )
        self.loop = AnswerLoop(self.bundle, engines, answering, options.batch_size, terminal.note)
        self.files = AnswerFiles(options.out, self.bundle, file_names(self.bundle.classes), carry=not options.invert)
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

    def go(self) -> None:
        """Explain all images."""
        self.inputs = self.questions.choose_scale(self.inputs)
        for each in self.inputs:
            own = Path(each.name).stem
            if each.name != STDIN and each.stem != own:
                note = f"{each.name}: another image is also called {own}; its results are named {each.stem}"
                self.terminal.note(note)
        count = len(self.inputs)
        what = f"explain: {count} image{'s' if count > 1 else ''} with {', '.join(self.engines)}"
        with ExitStack() as work:
            for number, batch in enumerate(self._batches()):
                make_directory(self.options.out)
                if not number:
                    work.enter_context(self.terminal.work(what))
                by_engine = [self._answer(batch, name) for name in self.engines]
                if len(by_engine) > 1 or self.options.count > 1:
                    for each in batch.inputs:
                        self._write_overview(each, [own for answers in by_engine for own in answers.get(each, [])])
            page = None if self.page is None else self.page.write(self.options, self.bundle)
            if page is not None:
                self.terminal.note(f"{page}: a page with all answers")
            self._close()

    def _batches(self) -> Iterator[Batch]:
        """Yield the questions in batches, without images that cannot be asked about."""
        size, engines = self.options.batch_size, len(self.engines)
        for start in range(0, len(self.inputs), size):
            with self.terminal.task("reading", len(self.inputs) * engines, start * engines):
                batch = self.questions.ask(self.inputs[start : start + size])
            self._say_what_is_far(batch.asked)
            if batch.inputs:
                yield batch

    def _say_what_is_far(self, asked: QuestionBatch) -> None:
        """Tell which targets the bundle's engine seldom reached in its trial, each pair of classes once."""
        reach = self.bundle.file.reach
        if reach is None or not {reach.engine, DEFAULT_ENGINE} & set(self.engines):
            return
        for question, image in zip(asked.questions, asked.images, strict=True):
            pair = (question.factual.name, question.target)
            if question.is_met(self.options.confidence) or len(question.targets) > 1:
                continue
            if pair not in self.pairs and (note := far_note(self.bundle, question, image)) is not None:
                self.terminal.note(note)
            self.pairs.add(pair)

    def _answer(self, batch: Batch, name: str) -> dict[Input, list[Answer]]:
        """Answer a batch with one engine: search, score, write, then print. Errors cost only their own image."""
        total = len(self.inputs) * len(self.engines)
        with self.terminal.task(f"searching with {name}", total, self.done) as task:
            answers: dict[Input, list[Answer]] = {}
            results = self.loop.answer(name, batch.asked, lambda calls: task.advance(0, calls=calls))
            for each, result in zip(batch.inputs, results, strict=True):
                if isinstance(result, Failed):
                    self._report(each, result)
                    continue
                for answer in result.answers:
                    try:
                        answers.setdefault(each, []).append(self.files.write(answer, each.stem))
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

    def _write_overview(self, each: Input, answers: Sequence[Answer]) -> None:
        """Write the picture that compares the engines' answers about an image."""
        if len(answers) < 2:
            return
        try:
            path = self.files.write_overview(answers, each.stem)
        except OutputError as error:
            self.errors.add(each.name, OutputError(f"{each.name}: {error}"))
        else:
            self.terminal.note(f"{path}: all {'engines' if len(self.engines) > 1 else 'answers'} in one picture")

    def _show(self, answer: Answer) -> None:
        """Print one answer, and update the means, the gallery and the exit code."""
        self.all_valid &= answer.valid
        means = self.means.setdefault(answer.label, RunningMeans())
        means.add(answer, alone=len(self.inputs) == 1)
        factual, counterfactual = drawn(answer.pictures)
        if self.page is not None:
            self.page.add(answer)
        if self.options.format == "json":
            self.terminal.json(record_of(answer))
        elif len(self.inputs) > CARDS:
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
        if len(self.means) > 1 or len(self.inputs) > 1:
            print_comparison(self.terminal.out, self.means)
        self.terminal.out.print(MEASURED, style="dim")


def _page() -> ExplainPage:
    """A page to be; few commands ask for one, so that its modules are imported here."""
    from .explain_page import ExplainPage

    return ExplainPage()
