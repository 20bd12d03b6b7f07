"""The contract of every engine: a problem goes in, `Counterfactuals` come out.

To write an engine, subclass `Engine`, fill in its class attributes, and implement `find`: it gets a `Problem` (the only
door to the classifier, which counts what passes through it) and returns a `Curve` that leads from the factual to the
best counterfactual it knows. Everything else is done here, once for all engines: checking the input, tightening,
rounding to what an 8-bit file can hold, telling the truth about validity, counting the cost, leaving the classifier
as it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import ClassVar, Self

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..bundles.parts import Models
from ..errors import BundleError, UsageError
from .goal import TargetClass
from .problem import Classifier, Problem
from .tightening import PATH_FRAMES, Curve, frames, tighten


@dataclass(frozen=True)
class Counterfactuals:
    """What a search found, one row per image.

    Attributes:
        images: (N, C, H, W) in [0, 1], multiples of 1/255: what an 8-bit file holds.
        targets: (N,) int64, the classes asked for.
        valid: (N,) bool, the classifier gives the target the highest probability and at least the confidence.
        confidence: (N,) softmax probability of the target.
        steps: (N,) int64, steps of the engine's search; 0 where it does not iterate.
        forward_calls: (N,) int64, how often the classifier looked at a candidate for this image.
        backward_calls: (N,) int64, how often it was differentiated for this image.
        path: (N, P, C, H, W) from the factual to the counterfactual, or None where it was not asked for.
    """

    images: Tensor
    targets: Tensor
    valid: Tensor
    confidence: Tensor
    steps: Tensor
    forward_calls: Tensor
    backward_calls: Tensor
    path: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True)
class Engine(ABC):
    """A strategy that searches counterfactuals for a batch. Fields are its hyper-parameters.

    Attributes:
        confidence: least softmax probability of the target for a counterfactual to be valid, in (0, 1).
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """What it does, in one line."""
    paper: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of the bundle's parts that it takes, none of them a judge's; their fields bear the same names."""
    gradients: ClassVar[bool] = True
    """Whether it asks for the classifier's gradients; without, it can explain a black box, too."""
    rank: ClassVar[int] = 100
    """Where it stands among engines that are asked together, the lowest first."""

    confidence: float = 0.9
    working: tuple[int, int] | None = None  # size (H, W) that its models work in; None: the images' own

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise UsageError(f"confidence {self.confidence:g}: choose a probability between 0 and 1, such as 0.9")

    @classmethod
    def from_bundle(cls, bundle: Bundle, **settings: object) -> Self:
        """Build the engine with a bundle's models; as `from_models`."""
        return cls.from_models(bundle.models, **settings)

    @classmethod
    def from_models(cls, models: Models, **settings: object) -> Self:
        """Build the engine with the models that an engine may see, which no judge is; `settings` are its other fields.

        Raises:
            BundleError: a part that the engine needs is not there, or is a judge; or gradients are not to be had.
        """
        if cls.gradients and not models.differentiable:
            raise BundleError(
                f"bundle {models.name}: engine {cls.name} needs gradients of the classifier, which is a black box; "
                "use projection or vcnet"
            )
        if models.is_carried:
            settings.setdefault("working", models.working)
        parts = {name: models.part(name) for name in cls.needs}
        return cls(**parts, **settings)  # pyright: ignore[reportArgumentType]

    @abstractmethod
    def find(self, problem: Problem) -> Curve:
        """Search; returns a curve that ends, for each image, at the first valid or else the best point found.

        Runs without gradients unless it enables them. Iterating engines count into `problem.steps`.
        """

    def search(
        self, classifier: Classifier, images: Tensor, targets: Tensor, *, path: bool = False, seed: int = 0
    ) -> Counterfactuals:
        """Find a counterfactual for each image.

        Args:
            classifier: image batch -> logits (N, K); never modified.
            images: (N, C, H, W) in [0, 1].
            targets: (N,) int64.
            path: also return the way there, in nine frames.
            seed: of whatever the engine draws at random.

        Returns:
            One row per image, valid or not; a failed search is an answer, not an error.

        Raises:
            UsageError: images or targets have the wrong shape or range.
            ModelError: a model returned NaN.
        """
        check(images, targets)
        if not len(images):
            nothing = torch.zeros(0, dtype=torch.int64)
            frame = images.new_zeros(0, PATH_FRAMES, *images.shape[1:]) if path else None
            return Counterfactuals(
                images, targets, targets.bool(), images.sum((1, 2, 3)), nothing, nothing, nothing, frame
            )
        problem = Problem(classifier, images, TargetClass(targets, self.confidence), seed, self.working)
        with torch.no_grad(), undisturbed(classifier):
            curve = self.find(problem)
            shares, found = tighten(problem, curve)
            return Counterfactuals(
                images=found.images,
                targets=targets,
                valid=found.valid,
                confidence=found.confidence,
                steps=problem.steps,
                forward_calls=problem.forward_calls,
                backward_calls=problem.backward_calls,
                path=frames(problem, curve, shares, found.images) if path else None,
            )

    def settings(self) -> dict[str, object]:
        """The hyper-parameters, without the models: what a record should say."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.needs}


def check(images: Tensor, targets: Tensor) -> None:
    """Raises UsageError unless images are (N, C, H, W) float32 in [0, 1] and targets (N,) int64."""
    if images.dim() != 4 or images.dtype != torch.float32:
        raise UsageError(f"images must be (N, C, H, W) float32, got {tuple(images.shape)} {images.dtype}")
    if len(images) and not (float(images.min()) >= 0 and float(images.max()) <= 1):
        raise UsageError(f"images must lie in [0, 1], got [{float(images.min()):g}, {float(images.max()):g}]")
    if targets.shape != (len(images),) or targets.dtype != torch.int64:
        raise UsageError(f"targets must be ({len(images)},) int64, got {tuple(targets.shape)} {targets.dtype}")


@contextmanager
def undisturbed(classifier: Classifier) -> Iterator[None]:
    """Eval mode, and no gradients into the parameters, for as long as the context lasts."""
    if not isinstance(classifier, torch.nn.Module):
        yield
        return
    modes = {module: module.training for module in classifier.modules()}
    asked = {parameter: parameter.requires_grad for parameter in classifier.parameters()}
    classifier.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, requires_grad in asked.items():
            parameter.requires_grad_(requires_grad)
