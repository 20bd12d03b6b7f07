"""The answer of one engine to one question. docs/record.md describes its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL.Image import Image

from .._version import VERSION
from ..counterfactuals.curve import Region
from ..counterfactuals.engine import COUNTS
from ..counterfactuals.registry import CONTROL
from ..documents import Table
from ..images.writing import as_png
from ..metrics.evaluate import Value
from .pictures.held import InRun, Pictures, drawn
from .pictures.panel import draw_panel
from .question import Question
from .region import Within
from .seen import Seen
from .which_regions import WhichRegions
from .wording import rounded

SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of the search for one image.

    Attributes:
        seconds: time of the batch's search, divided by the number of its images.
        steps, forward_calls, backward_calls: counts for this image; None if they were not counted.
        peak_memory_mb: peak memory during the batch's search, in MB, of the CUDA device or else of the process; None
            if it was not measured.
    """

    seconds: float
    steps: int | None = None
    forward_calls: int | None = None
    backward_calls: int | None = None
    peak_memory_mb: float | None = None


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What all answers of an engine in a run have in common.

    Attributes:
        bundle, digest: name and sha256 of the bundle.
        classifier: name of the part of the bundle that was explained.
        settings: settings of the engine.
        confidence: minimum probability of the target in a valid counterfactual.
        device: device that the models ran on.
        seed: seed of the engine's random numbers.
        style: "minimal", or "human" if answers go on until they are typical of their target.
        notes: sentences that each of the answers says.
    """

    bundle: str
    digest: str
    classifier: str = "classifier"
    settings: Mapping[str, object]
    confidence: float
    device: str
    seed: int
    style: str = "minimal"
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The fields of the envelope in a record."""
        return {
            "version": VERSION,
            "settings": dict(self.settings),
            "bundle": {"name": self.bundle, "digest": self.digest},
            "classifier": self.classifier,
            "device": self.device,
            "seed": self.seed,
            "style": self.style,
        }


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of one engine to one question.

    Attributes:
        question: the question.
        engine: name of the engine.
        place: 1, 2, ... if there are several answers to the question.
        of: how many answers to the question there are.
        diversity: mean L1 distance of the answers to the question from each other; None if there is one only.
        counterfactual: what the classifier sees in the counterfactual.
        target_confidence: probability of the target in the counterfactual.
        valid: whether the counterfactual meets the goal.
        metrics: the metrics of this image by name; None if a metric has no value.
        cost: cost of the search.
        notes: sentences for the user.
        regions: what was taken from other images, in pixels of the counterfactual.
        fell_back: whether it comes from what the engine falls back on; None: the engine has nothing of the kind.
        which_regions: which of its cells suffice; None if it was not asked for.
        missing: why a metric has no value, by metric.
        files: paths of the files that were written, by kind.
        envelope: what it has in common with the other answers.
        pictures: factual and counterfactual.
    """

    question: Question
    engine: str
    place: int = 1
    of: int = 1
    diversity: float | None = None
    counterfactual: Seen
    target_confidence: float
    valid: bool
    metrics: Mapping[str, Value]
    cost: Cost
    notes: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    fell_back: bool | None = None
    which_regions: WhichRegions | None = field(default=None, repr=False)
    missing: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    envelope: Envelope = field(repr=False)
    pictures: Pictures = field(repr=False)

    @property
    def target(self) -> str:
        """Name of the target class."""
        return self.question.target

    @property
    def wording(self) -> str:
        """What was asked for, the end of "what would make this ...?"."""
        return self.question.wording

    @property
    def factual(self) -> Seen:
        """What the classifier sees in the factual."""
        return self.question.factual

    @property
    def within(self) -> Within | None:
        """Where the image may change; None: everywhere."""
        return self.question.within

    @property
    def label(self) -> str:
        """The engine's name; the control is marked."""
        return f"{self.engine} (control)" if self.engine == CONTROL else self.engine

    @property
    def threshold(self) -> float:
        """Minimum probability of the target in a valid counterfactual."""
        return self.envelope.confidence

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies the record in a run: the question, the engine and the place."""
        return (*self.question.key, self.engine, str(self.place))

    def value(self, metric: str) -> float | None:
        """A metric or cost as a number, with 1 for yes and 0 for no; None if it has no value."""
        own = {
            "validity": self.valid,
            "confidence": self.target_confidence,
            "answers_diversity": self.diversity,
            "fell_back": self.fell_back,
        }
        if metric in own:
            found = own[metric]
        else:
            found = self.metrics[metric] if metric in self.metrics else getattr(self.cost, metric, None)
        return None if found is None else float(found)

    def with_files(self, files: Mapping[str, str]) -> Answer:
        """The same answer with more files."""
        return replace(self, files={**self.files, **files})

    def panel(self) -> Image:
        """A picture of the factual, the counterfactual and the signed change, with what the model and judges see."""
        return draw_panel(self, *drawn(self.pictures))

    def _repr_png_(self) -> bytes:
        """The panel as a PNG, for notebooks."""
        return as_png(self.panel())

    def as_json(self) -> dict[str, object]:
        """The JSON object of schema 2, without the envelope."""
        question, placement = self.question, self.question.source.placement
        cost: dict[str, object] = {"seconds": rounded(self.cost.seconds)}
        cost |= {name: getattr(self.cost, name) for name in COUNTS}
        pair: dict[str, object] = {} if question.number is None else {"pair": question.number}
        if question.number is not None:
            memory = self.cost.peak_memory_mb
            cost["peak_memory_mb"] = None if memory is None else rounded(memory)
        return {
            **pair,
            "input": question.source.name,
            "engine": self.engine,
            "goal": question.goal,
            "target": self.target,
            **({"among": list(question.among)} if len(question.among) > 1 else {}),
            **({} if question.within is None else {"within": question.within.as_json()}),
            "factual": self.factual.as_json(),
            "counterfactual": self.counterfactual.as_json(),
            "target_confidence": rounded(self.target_confidence),
            "valid": self.valid,
            **({} if self.fell_back is None else {"fell_back": self.fell_back}),
            "place": self.place,
            **({} if self.diversity is None else {"of": self.of, "diversity": rounded(self.diversity)}),
            "metrics": {name: value if isinstance(value, bool | None) else rounded(value)
                        for name, value in self.metrics.items()},
            "cost": cost,
            **({"regions": [self._placed(region) for region in self.regions]} if self.regions else {}),
            **({} if self.which_regions is None else {"which_regions": self.which_regions.as_json(placement)}),
            "files": dict(self.files),
            "notes": list(self.notes),
            "missing": dict(self.missing),
        }  # fmt: skip

    def _placed(self, region: Region) -> dict[str, object]:
        """A region in pixels of the photograph that was given, if the image was resized from one."""
        placement = self.question.source.placement
        x, y, width, height = region.x, region.y, region.width, region.height
        if placement is not None:
            left, top, right, bottom = placement.carried((x, y, x + width, y + height))
            x, y, width, height = left, top, right - left, bottom - top
        return {"x": x, "y": y, "w": width, "h": height, "donor": region.donor}

    @classmethod
    def from_json(cls, table: Table, envelope: Envelope, directory: Path) -> Answer:
        """Read an answer from a record of a run.

        Args:
            table: the record.
            envelope: what the answers of its engine have in common.
            directory: of the run, in which the pictures are.

        Raises:
            DataError: a field is missing or has the wrong type.
        """
        counterfactual, metrics, cost = map(table.need_table, ("counterfactual", "metrics", "cost"))
        files = table.mapping("files", str)
        values: dict[str, Value] = {}
        for name, value in metrics.values.items():
            if not isinstance(value, bool | int | float | None):
                raise metrics.wrong(name, "a number, true, false or null", value)
            values[name] = value
        return cls(
            question=Question.from_json(table),
            engine=table.need("engine", str),
            place=table.need("place", int),
            of=table.get("of", int) or 1,
            diversity=table.get("diversity", float),
            counterfactual=Seen.from_json(counterfactual),
            target_confidence=table.need("target_confidence", float),
            valid=table.need("valid", bool),
            metrics=values,
            cost=Cost(
                seconds=cost.need("seconds", float),
                steps=cost.get("steps", int),
                forward_calls=cost.get("forward_calls", int),
                backward_calls=cost.get("backward_calls", int),
                peak_memory_mb=cost.get("peak_memory_mb", float),
            ),
            notes=table.several("notes", str) or (),
            regions=tuple(
                Region(
                    x=each.need("x", int),
                    y=each.need("y", int),
                    width=each.need("w", int),
                    height=each.need("h", int),
                    donor=each.need("donor", str),
                )
                for each in table.list_of_tables("regions")
            ),
            fell_back=table.get("fell_back", bool),
            missing=table.mapping("missing", str),
            files=files,
            envelope=envelope,
            pictures=InRun(directory, files),
        )
