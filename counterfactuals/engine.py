"""The contract of every engine: it takes a `Problem` and returns `Counterfactuals`.

To write an engine, subclass `Engine`, set its class attributes, and implement `find`. It receives a `Problem`, which
gives access to the classifier and counts the calls, and returns a `Curve` from each factual to the best counterfactual
found. Everything else is done here, once for all engines: checking the input, tightening, rounding to 8 bits,
determining validity, counting the cost, and restoring the classifier's state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..bundles.labelling import IDENTITY_LABELLING, Labelling
from ..bundles.parts import Models
from ..classifiers.introspection.determinism import deterministic
from ..classifiers.introspection.frozen import frozen_eval
from ..errors import BundleError, CfxError, UsageError, first_line
from ..memory import is_out_of_memory
from .curve import About, Curve
from .fidelity import UNSTATED, Fidelity
from .goal import Certain, Requirement, TargetClass
from .preset import Preset, preset_of
from .problem import BrokenEngine, Classifier, Problem
from .request import SearchRequest
from .settings import check_settings, parse_settings, setting, text_of
from .tightening import PATH_FRAMES, frames, tighten

TAKES_NO_TARGET = "it makes the classifier sure of whichever class it finds, and cannot be asked for a target"
COUNTS = ("steps", "forward_calls", "backward_calls")
CONTRACT = 1  # version of what `Engine` asks of its subclasses


@dataclass(frozen=True)
class Counterfactuals:
    """The result of a search, one row per image.

    Attributes:
        images: (N, C, H, W) in [0, 1], multiples of 1/255, as an 8-bit file stores them.
        targets: (N,) int64, the classes asked for.
        valid: (N,) bool, whether each meets its goal (`Goal.met`) and, if more is asked for, the request's `typical`.
        confidence: (N,) softmax probability of the target.
        predicted: (N,) int64, the class that the classifier predicts, from the same evaluation as `valid`.
        predicted_confidence: (N,) its softmax probability.
        steps: (N,) int64, steps of the engine's search; 0 for engines that do not iterate.
        forward_calls: (N,) int64, how many candidates for this image the classifier evaluated.
        backward_calls: (N,) int64, how many of these evaluations could be differentiated.
        path: (N, P, C, H, W), frames from the factual to the counterfactual; None if not requested.
        about: what the engine says about each; None if it says nothing.
    """

    images: Tensor
    targets: Tensor
    valid: Tensor
    confidence: Tensor
    predicted: Tensor
    predicted_confidence: Tensor
    steps: Tensor
    forward_calls: Tensor
    backward_calls: Tensor
    path: Tensor | None = None
    about: tuple[About, ...] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def only(self, rows: Sequence[int]) -> Counterfactuals:
        """These rows, in this order."""
        tensors = {name: value[list(rows)] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors, about=None if self.about is None else tuple(self.about[row] for row in rows))

    def with_costs_of(self, others: Counterfactuals, rows: Tensor) -> Counterfactuals:
        """The same with the costs of the `others` (M,) added up for the row (M,) that each belongs to."""
        none = torch.zeros(len(self), dtype=torch.int64)
        return replace(self, **{name: none.index_add(0, rows, getattr(others, name)) for name in COUNTS})

    def replaced(self, others: Counterfactuals, rows: Sequence[int], better: Mapping[int, int]) -> Counterfactuals:
        """The same with some rows replaced by those of a further search, whose costs are added.

        Args:
            others: of the further search.
            rows: of each of the others, the row that it belongs to.
            better: the rows to replace, and by which of the others.
        """
        both = Counterfactuals.joined([self, others])
        kept = both.only([len(self) + better[row] if row in better else row for row in range(len(self))])
        return kept.with_costs_of(both, torch.tensor([*range(len(self)), *rows]))

    def noting(self, rows: Sequence[int], note: str) -> Counterfactuals:
        """The same with a note about these rows."""
        about = list(self.about or (About(),) * len(self))
        for row in rows:
            about[row] = replace(about[row], notes=(*about[row].notes, note))
        return replace(self, about=tuple(about)) if rows else self

    @classmethod
    def joined(cls, parts: Sequence[Counterfactuals]) -> Counterfactuals:
        """The rows of all parts; those of a part about which the engine says nothing get nothing said."""
        (first, *rest) = parts
        if not rest:
            return first
        tensors = {
            name: torch.cat([getattr(part, name) for part in parts])
            for name, value in vars(first).items()
            if isinstance(value, Tensor)
        }
        about = tuple(each for part in parts for each in part.about or (About(),) * len(part))
        return cls(**tensors, about=about)


@dataclass(frozen=True, kw_only=True)
class Engine(ABC):
    """A strategy that searches for counterfactuals for a batch. Its fields are hyper-parameters and models.

    Attributes:
        confidence: lowest softmax probability of the target at which a counterfactual is valid, in (0, 1).
        working: (H, W) at which its models work; None: the images' own size. `from_models` sets it.
        labelling: how the classifier's classes correspond to the labels of its models. `from_models` sets it.
        preset: name of one of the engine's `presets`, whose settings `from_models` fills in.
        tightened: whether the answer is the nearest valid point of the curve, rather than its end.

    Examples:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Fade(Engine):  # docs/write-an-engine.md has one that searches
        ...     name, summary, needs, gradients = "fade", "fades into a real image", ("donors",), False
        ...     donors: "DonorSource"
        ...     def find(self, problem):
        ...         ends = torch.cat([self.donors.of_label(label).images[:1] for label in problem.targets.tolist()])
        ...         return Curve(lambda t, rows: problem.images[rows].lerp(ends[rows], t[:, None, None, None]))

        >>> from pathlib import Path
        >>> import cfx
        >>> bundle = cfx.load_bundle("mnist")
        >>> four = bundle.read(Path("examples/four.png")).pixels[None]
        >>> found = Fade.from_bundle(bundle).search(bundle.classifier, four, targets=torch.tensor([9]))
        >>> found.images.shape, found.valid, found.predicted  # the first point of the curve that is valid
        (torch.Size([1, 1, 28, 28]), tensor([True]), tensor([9]))
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """What the engine does, in one line."""
    paper: ClassVar[str]
    """The source of the method, or "ours"."""
    fidelity: ClassVar[Fidelity] = UNSTATED
    """How near the engine is to that source, and how it departs from it."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of the parts that the engine uses; each is passed to the field of the same name. No part may be a judge."""
    gradients: ClassVar[bool] = True
    """Whether the engine needs gradients of the classifier. Engines that do not can also explain a black box."""
    uses: ClassVar[tuple[str, ...]] = ()
    """Names of parts that the engine uses where there are any; the field of a missing one is None. None is a judge."""
    any_class: ClassVar[bool] = False
    """Whether it makes the classifier certain, of whichever class it finds: it answers `--goal certain` only."""
    presets: ClassVar[Mapping[str, Preset]] = {}
    """By name, settings as in the engine's source."""
    caution: ClassVar[str | None] = None
    """What its answers are not, in one sentence, where no judge can tell."""
    candidate: ClassVar[bool] = True
    """Whether `cfx train` tries it, and may make it the engine of the bundle."""
    rank: ClassVar[int] = 100
    """Position of the engine where several are listed together, lowest first."""
    contract: ClassVar[int] = CONTRACT
    """Version of this contract. A package with an engine states the number that it was written for."""

    confidence: float = 0.9
    working: tuple[int, int] | None = None
    labelling: Labelling = IDENTITY_LABELLING
    preset: str | None = setting(
        None, "the preset whose settings hold where no others are set, as `cfx info --engine` lists them; none: none"
    )
    tightened: bool = setting(
        True, "whether to go back from the end of the search to the nearest point that is still valid"
    )

    def __init_subclass__(cls, **arguments: object) -> None:
        """An engine states its own fidelity and presets: those of the engine that it extends say nothing about it."""
        super().__init_subclass__(**arguments)
        if "fidelity" not in vars(cls):
            cls.fidelity = UNSTATED
        if "presets" not in vars(cls):
            cls.presets = {}

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise UsageError(f"confidence {self.confidence:g}: choose a probability between 0 and 1, such as 0.9")
        if self.preset is not None:
            preset_of(type(self), self.preset)
        check_settings(self)

    @classmethod
    def from_bundle(cls, bundle: Bundle, **settings: object) -> Self:
        """Builds the engine from a bundle's models, as `from_models` does."""
        return cls.from_models(bundle.models, **settings)

    @classmethod
    def from_models(cls, models: Models, **settings: object) -> Self:
        """Builds the engine from the models that engines may use, which excludes judges.

        Args:
            models: the bundle's models.
            settings: values of the engine's other fields; they overrule those of the preset that they name, and these
                overrule those that the bundle has for this engine.

        Raises:
            BundleError: a part that the engine or the preset needs is missing or is a judge, or the engine needs
                gradients and the classifier has none, or the bundle's settings are not this engine's.
            UsageError: there is no such preset, or a value is out of its range.
        """
        if cls.gradients and not models.differentiable:
            raise BundleError(
                f"bundle {models.name}: engine {cls.name} needs gradients of the classifier, which is a black box; "
                "use an engine that needs none, such as swap or projection"
            )
        if models.is_lowres:
            settings.setdefault("working", models.working)
        settings.setdefault("labelling", models.labelling)
        parts = {name: models.part(name) for name in cls.needs}
        parts |= {name: models.part(name) if models.has(name) else None for name in cls.uses}
        own = cls._settings_in(models)
        preset = cls._preset_settings(models, settings.get("preset", own.get("preset")))
        return cls(**parts, **{**own, **preset, **settings})  # pyright: ignore[reportArgumentType]

    @classmethod
    def _preset_settings(cls, models: Models, name: object) -> Mapping[str, object]:
        """The settings of the preset of this name, if any.

        Raises:
            UsageError: there is no such preset.
            BundleError: it needs parts that the models lack.
        """
        if name is None:
            return {}
        preset = preset_of(cls, str(name))
        missing = [part for part in preset.needs if not models.has(part)]
        if missing:
            raise BundleError(
                f"bundle {models.name}: preset {name} of engine {cls.name} needs {', '.join(missing)}, which the "
                "bundle lacks; leave out the preset, or make the part with cfx train"
            )
        return preset.settings

    @classmethod
    def _settings_in(cls, models: Models) -> dict[str, object]:
        """The settings that a bundle has for this engine."""
        texts = {name: text_of(value) for name, value in models.settings.get(cls.name, {}).items()}
        try:
            return parse_settings(cls, texts, f"bundle {models.name}: bundle.toml: settings: ")
        except UsageError as error:
            raise BundleError(str(error)) from error

    @abstractmethod
    def find(self, problem: Problem) -> Curve:
        """Searches for counterfactuals, and returns a curve from each factual to the best point found.

        The curve of an image ends at a valid point if the search found one, else at the best invalid one. Gradients are
        disabled unless `find` enables them. Iterative engines add their steps to `problem.steps`.
        """

    def found(self, problem: Problem) -> Curve:
        """The curve of `find`, on which only the end is looked at if answers are not `tightened`.

        Raises:
            BrokenEngine: the engine returns something else.
        """
        curve = self.find(problem)
        if not isinstance(curve, Curve):
            raise BrokenEngine(f"find returns a {type(curve).__name__}, not a Curve")
        return curve if self.tightened else replace(curve, grid=(), bisections=0)

    def search(
        self,
        classifier: Classifier,
        images: Tensor,
        targets: Tensor,
        *,
        region: Tensor | None = None,
        earlier: Tensor | None = None,
        typical: Requirement | None = None,
        path: bool = False,
        seed: int = 0,
        watch: Callable[[int], None] | None = None,
    ) -> Counterfactuals:
        """Finds a counterfactual for each image, as `answer` does; `SearchRequest` describes the arguments."""
        return self.answer(
            classifier,
            SearchRequest(
                images=images,
                targets=targets,
                region=region,
                earlier=earlier,
                typical=typical,
                path=path,
                seed=seed,
                watch=watch,
            ),
        )

    def answer(self, classifier: Classifier, request: SearchRequest) -> Counterfactuals:
        """Finds a counterfactual for each image of a request.

        Args:
            classifier: image batch -> logits (N, K); never modified.
            request: the N images, their targets, and what else is asked.

        Returns:
            One row per image. A failed search is not an error: its row holds the best candidate, with `valid` false.

        Raises:
            UsageError: images, targets or the region have the wrong shape or type, or images the wrong range.
            ModelError: a model returned NaN.
            NothingToOffer: the engine can make no attempt at an image.
            BrokenEngine: the engine of another package fails, or an engine does not make what the contract asks for.
        """
        request.check()
        images, targets = request.images, request.targets
        if not len(images):
            return _nothing(request)
        goal = Certain(targets, self.confidence) if self.any_class else TargetClass(targets, self.confidence)
        problem = Problem(classifier, request, goal, working=self.working, labelling=self.labelling)
        with torch.no_grad(), frozen_eval(classifier), deterministic(images.device), blaming_plugin(type(self)):
            curve = self.found(problem)
            t, found = tighten(problem, curve)
            return Counterfactuals(
                **vars(found),
                targets=found.predicted if self.any_class else targets,
                steps=problem.steps,
                forward_calls=problem.forward_calls,
                backward_calls=problem.backward_calls,
                path=frames(problem, curve, t, found.images) if request.path else None,
                about=None if curve.about is None else tuple(map(curve.about, t.tolist(), range(len(images)))),
            )

    def settings(self) -> dict[str, object]:
        """The hyper-parameters without the models, for a run's record."""
        left_out = (*self.needs, *self.uses, "labelling")  # the bundle's, like the models
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.name not in left_out}


def _nothing(request: SearchRequest) -> Counterfactuals:
    """The counterfactuals of no images."""
    images, targets = request.images, request.targets
    none, nothing = images.sum((1, 2, 3)), torch.zeros(0, dtype=torch.int64)
    frame = images.new_zeros(0, PATH_FRAMES, *images.shape[1:]) if request.path else None
    return Counterfactuals(images, targets, targets.bool(), none, targets, none, nothing, nothing, nothing, frame)


@contextmanager
def blaming_plugin(engine: type[Engine]) -> Iterator[None]:
    """Turn any error in an engine of another package into a `BrokenEngine`, which costs only its own image."""
    package = engine.__module__.partition(".")[0]
    try:
        yield
    except CfxError:
        raise
    except Exception as error:
        if package == Engine.__module__.partition(".")[0] or is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__
        raise BrokenEngine(f"it fails ({reason}); tell the author of {package}") from error
