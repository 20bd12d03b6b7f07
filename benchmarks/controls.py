"""Controls: answers whose worth is known beforehand, which show that the metrics mean something.

The factual itself is as near and as real as can be, and answers nothing; a real image of the target class answers
and is real, but far; the nearest real one is nearer. A metric that does not see these differences measures nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Engine
from ..counterfactuals.problem import Problem
from ..counterfactuals.registry import CONTROL
from ..counterfactuals.tightening import Curve
from ..errors import ImageError, UsageError
from .questions import Inputs

CONTROLS = ("factual", "random-real", "nearest-real")
"""Names of the controls here; the engine `pixel`, adversarial noise, is the fourth."""

POOL = 5000  # images; enough of every class, and few enough to compare each factual with


def is_control(name: str) -> bool:
    """Whether this name in a run is a control, not an engine to be compared."""
    return name == CONTROL or name in CONTROLS


@dataclass(frozen=True, kw_only=True)
class Factual(Engine):
    """The factual itself."""

    name: ClassVar[str] = "factual"
    summary: ClassVar[str] = "the factual itself: no change at all"
    paper: ClassVar[str] = "control"

    def find(self, problem: Problem) -> Curve:
        return Curve(lambda t, rows: problem.images[rows], bisections=0)


@dataclass(frozen=True)
class RealPool:
    """Real images by the class that the classifier sees. `images`: (N, C, H, W) in [0, 1]; `classes`: (N,)."""

    images: Tensor
    classes: Tensor

    def others(self, image: Tensor, target: Tensor) -> Tensor:
        """Indices of the images of a class, (M,), without `image` itself."""
        of_class = (self.classes == target).nonzero().squeeze(1)
        differs = (self.images[of_class] - image).abs().flatten(1).amax(dim=1) > 0
        return of_class[differs]


@dataclass(frozen=True, kw_only=True)
class RealImage(Engine):
    """Answers with a real image of the target class, out of a pool, as it is."""

    paper: ClassVar[str] = "control"

    pool: RealPool

    def find(self, problem: Problem) -> Curve:
        chosen = [
            self.choose(problem, image, self.pool.others(image, target))
            for image, target in zip(problem.images, problem.targets, strict=True)
        ]
        found = self.pool.images[torch.stack(chosen)]
        return Curve(lambda t, rows: found[rows], bisections=0)

    @abstractmethod
    def choose(self, problem: Problem, image: Tensor, others: Tensor) -> Tensor:
        """Which of the pool's images `others` (M,) it is, for a factual (C, H, W)."""

    def settings(self) -> dict[str, object]:
        """What an answer depends on, as JSON can hold it."""
        return {"confidence": self.confidence, "pool": len(self.pool.images)}


@dataclass(frozen=True, kw_only=True)
class RandomReal(RealImage):
    """A random real image of the target class."""

    name: ClassVar[str] = "random-real"
    summary: ClassVar[str] = "a random real image of the target class"

    def choose(self, problem: Problem, image: Tensor, others: Tensor) -> Tensor:
        # Drawn by the image, so that an answer does not depend on the batch that it was asked in.
        seed = problem.seed * 1_000_003 + int((image * 255).sum())
        return others[int(torch.randint(len(others), (1,), generator=torch.Generator().manual_seed(seed)))]


@dataclass(frozen=True, kw_only=True)
class NearestReal(RealImage):
    """The real image of the target class that is nearest in L1."""

    name: ClassVar[str] = "nearest-real"
    summary: ClassVar[str] = "the nearest real image of the target class (L1)"

    def choose(self, problem: Problem, image: Tensor, others: Tensor) -> Tensor:
        return others[(self.pool.images[others] - image).abs().sum(dim=(1, 2, 3)).argmin()]


def controls(bundle: Bundle, inputs: Inputs, confidence: float, seed: int) -> dict[str, Engine]:
    """The controls, with real images out of the run's own inputs.

    Raises:
        UsageError: a class has fewer than two images among the inputs.
    """
    pool = gather(bundle, inputs, seed)
    counts = torch.bincount(pool.classes, minlength=len(bundle.classes))
    few = [bundle.classes[label] for label in bundle.present if counts[label] < 2]
    if few:
        raise UsageError(
            f"--controls: fewer than two of the images are of class {', '.join(few)}; "
            "the controls need real images of every class: give more with --images, or leave --controls out"
        )
    return {
        "factual": Factual(confidence=confidence),
        "random-real": RandomReal(confidence=confidence, pool=pool),
        "nearest-real": NearestReal(confidence=confidence, pool=pool),
    }


@torch.inference_mode()
def gather(bundle: Bundle, inputs: Inputs, seed: int) -> RealPool:
    """Up to `POOL` of the inputs, with the class that the classifier sees."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed + 1))[:POOL]
    images, classes = [], []
    for part in order.split(256):
        read = []
        for index in part.tolist():
            try:
                read.append(inputs.read(index))
            except ImageError:  # has been reported when the questions were drawn
                continue
        if read:
            batch = torch.stack(read).to(bundle.device)
            images.append(batch)
            classes.append(bundle.classifier(batch).argmax(dim=1))
    if not images:
        raise UsageError("--controls: none of the images can be read")
    return RealPool(torch.cat(images), torch.cat(classes))
