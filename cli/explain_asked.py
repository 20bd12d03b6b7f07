"""What `cfx explain` asks: images of one shape, the questions about them, and the engines that answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..answers.loop import AnswerLoop
from ..answers.pipeline import AnswerOptions, default_engine
from ..answers.segments import segments_of
from ..answers.style import typical_of
from ..answers.wanted import wanted_of
from ..bundles.bundle import Bundle
from ..counterfactuals.choosing import EngineLoader
from ..counterfactuals.engine import Engine
from ..metrics.evaluate import load_scoring, requested
from .explain_files import AnswerFiles
from .explain_inputs import Errors, Input
from .explain_options import ExplainOptions
from .explain_questions import Questions
from .explain_subject import Subject
from .naming import file_names
from .terminal.terminal import Terminal


@dataclass(frozen=True)
class Asked:
    """Images that are asked about together.

    Attributes:
        inputs: the images.
        questions: makes the questions about them, of the bundle that holds the classifier to explain.
        engines: the engines by name.
        loop: answers the questions.
        files: writes the answers.
    """

    inputs: list[Input]
    questions: Questions
    engines: dict[str, Engine]
    loop: AnswerLoop
    files: AnswerFiles

    @property
    def bundle(self) -> Bundle:
        """The bundle that holds the classifier."""
        return self.questions.bundle


def ask_about(
    options: ExplainOptions, subject: Subject, loader: EngineLoader, errors: Errors, terminal: Terminal
) -> Asked:
    """What is asked of images, with the engines that are to answer."""
    bundle = subject.bundle
    default = [default_engine(bundle)]
    engines = loader.load(bundle, options.confidence, default, certain=options.certain or options.may_be_certain)
    certain = options.certain or any(engine.any_class for engine in engines.values())
    wanted = wanted_of(options.target, bundle, other_than=options.other_than, certain=certain)
    load_scoring(bundle)
    segments = None if options.segments is None else segments_of(options.segments)
    answering = AnswerOptions(
        seed=options.seed,
        path=options.path,
        also=requested(lpips=options.lpips, strokes=options.strokes),
        count=options.count,
        typical=typical_of(bundle, options.style),
        segments=segments,
    )
    return Asked(
        inputs=subject.inputs,
        questions=Questions(options, terminal, bundle, errors, wanted, segments),
        engines=engines,
        loop=AnswerLoop(bundle, engines, answering, options.batch_size, terminal.note),
        files=AnswerFiles(options.out, bundle, file_names(bundle.classes), carry=not options.invert),
    )


def with_one_scale(asked: Sequence[Asked]) -> list[Asked]:
    """The same with what black and white are decided for all images together, without those of which that fails."""
    first = asked[0].questions
    kept = {*first.choose_scale([each for part in asked for each in part.inputs])}
    for part in asked:
        part.questions.scale = first.scale
    return [replace(part, inputs=[each for each in part.inputs if each in kept]) for part in asked]


def once(note: Callable[[str], None]) -> Callable[[str], None]:
    """Prints each note once, however often it is given."""
    said: set[str] = set()

    def told(text: str) -> None:
        if text not in said:
            note(text)
        said.add(text)

    return told
