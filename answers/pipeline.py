"""Searches, scores and describes a batch of questions, for `cfx explain`, `cfx bench` and `cfx.explain`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from ..bundles.bundle import Bundle
from ..counterfactuals.curve import About
from ..counterfactuals.engine import Counterfactuals, Engine
from ..counterfactuals.goal import Requirement
from ..counterfactuals.registry import CONTROL, DEFAULT_ENGINE
from ..counterfactuals.request import SearchRequest
from ..memory import peak, restart_peak
from ..metrics.catalogue import BY_NAME
from ..metrics.evaluate import score
from ..metrics.scene import Scene, TrainingImages
from .answer import COUNTS, Answer, Cost, Envelope
from .pictures.held import InMemory
from .question import QuestionBatch, indices_of
from .seen import Seen, probabilities_of, seen_in
from .segments import Segments
from .sets import search_sets
from .which_regions import which_regions


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How questions are answered.

    Attributes:
        seed: seed of the engine's random numbers.
        path: also return the path to the counterfactual.
        metrics: names of the metrics to compute; None for all but those that are computed on request.
        also: without `metrics`, the names of those on request to compute, and LPIPS.
        watch: called with the number of the classifier's evaluations of a batch so far, as they are made.
        count: number of different answers to each question.
        typical: an extra condition: answers must also be typical of their target. None: no condition.
        segments: also find out which regions suffice, of those into which this cuts an image; None: do not.
        memory: also measure the peak memory of the search; this resets the process's own counter of the peak.
        training: the images that the classifier was trained on, for metrics that need them; None if they are not known.
    """

    seed: int = 0
    path: bool = False
    metrics: frozenset[str] | None = None
    also: frozenset[str] = frozenset()
    watch: Callable[[int], None] | None = None
    count: int = 1
    typical: Requirement | None = None
    segments: Segments | None = None
    memory: bool = False
    training: TrainingImages | None = None

    def request(self, batch: QuestionBatch) -> SearchRequest:
        """What an engine is asked about a batch, with the first target of each question."""
        return SearchRequest(
            images=batch.images,
            targets=batch.targets,
            region=batch.region,
            typical=self.typical,
            path=self.path,
            seed=self.seed,
            watch=self.watch,
        )


def default_engine(bundle: Bundle) -> str:
    """The name of the engine that answers where none is asked for; a classifier without a bundle has one of its own."""
    return (bundle.engine if bundle.is_standalone else None) or DEFAULT_ENGINE


def answer_batch(
    bundle: Bundle, name: str, engine: Engine, batch: QuestionBatch, options: AnswerOptions
) -> list[Answer]:
    """Answer a batch of questions with one engine.

    Returns:
        The answers in the order of the questions; those to one question in the order of their places.

    Args:
        bundle: holds the classifier and the judges.
        name: name of the engine.
        engine: the engine, built with the bundle's models.
        batch: the questions.
        options: how they are answered.
    """
    if options.memory:
        restart_peak(bundle.device)
    began, asked = perf_counter(), len(batch)
    request = options.request(batch)
    sets = search_sets(bundle, engine, batch, request, options.count)
    batch, found = sets.batch, sets.found
    found.valid.tolist()  # waits for the device to finish
    seconds = (perf_counter() - began) / asked
    highest = peak(bundle.device) if options.memory else None
    counted = zip(*(getattr(found, count).tolist() for count in COUNTS), strict=True)
    memory = None if highest is None else highest / 1e6
    costs = [
        Cost(seconds=seconds, steps=steps, forward_calls=forward, backward_calls=backward, peak_memory_mb=memory)
        for steps, forward, backward in counted
    ]
    envelope = Envelope(
        bundle=bundle.name,
        digest=bundle.digest,
        classifier=bundle.explained,
        settings=engine.settings(),
        confidence=engine.confidence,
        device=str(bundle.device),
        seed=options.seed,
        style="minimal" if options.typical is None else "human",
        notes=(
            *bundle.notes,
            *([engine.caution] if engine.caution and (bundle.is_standalone or name != CONTROL) else []),
        ),
    )
    answers = describe(
        bundle,
        name,
        batch,
        found,
        costs,
        envelope,
        metrics=options.metrics,
        also=options.also,
        training=options.training,
    )
    placed = zip(answers, sets.places, sets.counts, sets.diversity, strict=True)
    answers = [replace(answer, place=place, of=of, diversity=apart) for answer, place, of, apart in placed]
    if options.segments is None:
        return answers
    for row, answer in enumerate(answers):  # of an image that meets its goal already nothing needs to change
        if answer.place == 1 and not answer.question.is_met(engine.confidence):
            asked = options.request(batch.only([row]))
            which = which_regions(bundle, engine, answer.question, asked, options.segments)
            answers[row] = replace(answer, which_regions=which, notes=(*answer.notes, *which.notes))
    return answers


def describe(
    bundle: Bundle,
    name: str,
    batch: QuestionBatch,
    found: Counterfactuals,
    costs: Sequence[Cost],
    envelope: Envelope,
    *,
    metrics: frozenset[str] | None = None,
    also: frozenset[str] = frozenset(),
    training: TrainingImages | None = None,
) -> list[Answer]:
    """Make answers from counterfactuals, which an engine or another tool has found.

    Args:
        bundle: holds the classifier and the judges.
        name: name of the engine.
        batch: the questions.
        found: the counterfactuals, one row per question.
        costs: the costs, one per question.
        envelope: the envelope of all answers.
        metrics, also, training: as in `AnswerOptions`.
    """
    factual_classes = indices_of((question.factual.name for question in batch.questions), bundle)
    scene = Scene.of(bundle, batch.images, found.images, batch.targets, factual_classes, training=training)
    scores = score(scene, metrics, also)
    predictions = zip(found.predicted.tolist(), found.predicted_confidence.tolist(), strict=True)
    seen = [Seen(bundle.classes[predicted], confidence) for predicted, confidence in predictions]
    answers: list[Answer] = []
    for row, (question, values) in enumerate(zip(batch.questions, scores.rows(), strict=True)):
        without = {name: BY_NAME[name].without for name, value in values.items() if value is None}
        about = About() if found.about is None else found.about[row]
        pictures = InMemory(batch.images[row], found.images[row])
        if found.path is not None:
            between = seen_in(probabilities_of(bundle.classifier, found.path[row][1:-1]), bundle.classes)
            path_seen = (question.factual, *between, seen[row])
            pictures = InMemory(pictures.factual, pictures.counterfactual, found.path[row], path_seen)
        answers.append(
            Answer(
                question=question,
                engine=name,
                counterfactual=seen[row],
                target_confidence=float(found.confidence[row]),
                valid=bool(found.valid[row]),
                metrics=values,
                cost=costs[row],
                notes=(*question.source.notes, *envelope.notes, *about.notes),
                regions=about.regions,
                fell_back=about.fell_back,
                missing=without | scores.missing,
                envelope=envelope,
                pictures=pictures,
            )
        )
    return answers
