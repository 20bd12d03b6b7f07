"""Controls: answers whose quality is known in advance, to check that the metrics are meaningful.

The unchanged factual is near and real, but never valid. A real image of the target class is valid and real, but far
away. The nearest real image is nearer. Of those that the classifier accepts, the nearest is the cheapest answer that
there is (`nearest.py`), which an engine must beat. A real image that is blurred or redrawn by a VAE is valid, but no
longer quite real. A metric that does not show these differences measures nothing.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from ..bundles.bundle import Bundle
from ..counterfactuals.curve import Curve
from ..counterfactuals.engine import Engine
from ..counterfactuals.fidelity import Fidelity
from ..counterfactuals.problem import Problem
from ..counterfactuals.registry import CONTROL
from ..errors import UsageError
from ..generative.contract import GenerativeModel
from ..images.detail import fine_power
from ..images.resizing import resize_batch
from ..runs.inputs import Inputs
from .nearest import OF_A_CONTROL, NearestAccepted
from .pool import RealPool, pool_size, read_pool
from .settings import CONTROLS

BISECTIONS = 12  # of the width of a blur, which is then known to a thousandth


def is_control(name: str) -> bool:
    """Whether a name in a run is that of a control, which is not compared."""
    return name == CONTROL or name in CONTROLS


@dataclass(frozen=True, kw_only=True)
class Factual(Engine):
    """Answers with the unchanged factual."""

    name: ClassVar[str] = "factual"
    summary: ClassVar[str] = "the factual itself: no change at all"
    paper: ClassVar[str] = "control"
    fidelity: ClassVar[Fidelity] = OF_A_CONTROL

    def find(self, problem: Problem) -> Curve:
        return Curve(lambda t, rows: problem.images[rows], bisections=0)


@dataclass(frozen=True, kw_only=True)
class RealImage(Engine):
    """Answers with a real image of the target class from a pool."""

    paper: ClassVar[str] = "control"
    fidelity: ClassVar[Fidelity] = OF_A_CONTROL
    gradients: ClassVar[bool] = False

    pool: Callable[[], RealPool]  # the pool, which is read when it is first needed
    size: int  # number of images in the pool
    judged_at: tuple[int, int] | None = None  # size (H, W) at which the VAE and the judges work; None: the images' own

    def find(self, problem: Problem) -> Curve:
        pool = self.pool()
        chosen = [
            self.choose(problem, image, pool.others(image, target))
            for image, target in zip(problem.images, problem.targets.tolist(), strict=True)
        ]
        found = self.change(pool.floats(torch.stack(chosen)))
        return Curve(lambda t, rows: found[rows], bisections=0)

    @abstractmethod
    def choose(self, problem: Problem, image: Tensor, others: Tensor) -> Tensor:
        """Choose one of `others` (M,), which are indices into the pool, for a factual (C, H, W)."""

    def change(self, images: Tensor) -> Tensor:
        """The answers made from the chosen images (N, C, H, W); unchanged by default."""
        return images

    def settings(self) -> dict[str, object]:
        """The settings that an answer depends on, as JSON values."""
        return {"confidence": self.confidence, "pool": self.size}


@dataclass(frozen=True, kw_only=True)
class RandomReal(RealImage):
    """Answers with a random real image of the target class."""

    name: ClassVar[str] = "random-real"
    summary: ClassVar[str] = "a random real image of the target class"

    def choose(self, problem: Problem, image: Tensor, others: Tensor) -> Tensor:
        # The seed depends on the image, so that an answer does not depend on the rest of the batch.
        seed = problem.seed * 1_000_003 + int((image * 255).sum())
        return others[int(torch.randint(len(others), (1,), generator=torch.Generator().manual_seed(seed)))]


@dataclass(frozen=True, kw_only=True)
class BlurredReal(RandomReal):
    """Answers with a random real image of the target class, blurred until its finest octave has half its power."""

    name: ClassVar[str] = "blurred-real"
    summary: ClassVar[str] = "a random real image of the target class, slightly blurred"

    def change(self, images: Tensor) -> Tensor:
        return torch.cat([blur_by_half(image, self.judged_at) for image in images.split(1)])


@dataclass(frozen=True, kw_only=True)
class RedrawnReal(RandomReal):
    """Answers with a random real image of the target class as the VAE draws it."""

    name: ClassVar[str] = "redrawn-real"
    summary: ClassVar[str] = "a random real image of the target class, drawn by the VAE"
    needs: ClassVar[tuple[str, ...]] = ("vae",)

    vae: GenerativeModel

    def change(self, images: Tensor) -> Tensor:
        size = (images.shape[2], images.shape[3])
        drawn = self.vae.decode(self.vae.encode(resize_batch(images, self.judged_at or size)))
        return resize_batch(drawn, size).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class NearestReal(RealImage):
    """Answers with the real image of the target class that is nearest in L1."""

    name: ClassVar[str] = "nearest-real"
    summary: ClassVar[str] = "the nearest real image of the target class (L1)"

    def choose(self, problem: Problem, image: Tensor, others: Tensor) -> Tensor:
        return others[self.pool().distances(image[None], others)[0].argmin()]


FROM_A_POOL = (RealImage, NearestAccepted)
"""The kinds of controls that choose from a pool of real images."""


def blur_by_half(image: Tensor, judged_at: tuple[int, int] | None = None) -> Tensor:
    """Blur an image (1, C, H, W) with the Gaussian that leaves half the power of the finest octave.

    The octave is that of the image at the size `judged_at`, (H, W); None for its own size.
    """

    def power(of: Tensor) -> float:
        return float(fine_power(of if judged_at is None else resize_batch(of, judged_at)))

    def blurred(sigma: float) -> Tensor:
        window = min(2 * math.ceil(4 * sigma) + 1, 2 * min(image.shape[2:]) - 1)
        return gaussian_blur(image, [window, window], [sigma, sigma])

    half = power(image) / 2
    low, high = 0.0, 0.5
    while power(blurred(high)) > half and high < max(image.shape):
        low, high = high, 2 * high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if power(blurred(middle)) > half else (low, middle)
    return blurred(high).clamp(0, 1)


def controls(bundle: Bundle, inputs: Inputs, confidence: float, seed: int) -> dict[str, Engine]:
    """Make all controls, with real images from the run's inputs; without a VAE there is no `redrawn-real`.

    Raises:
        UsageError: a class has fewer than two images among the inputs.
    """
    nearest = nearest_accepted(bundle, inputs, confidence, seed)
    pool, size = nearest.pool, nearest.size
    few = [bundle.classes[target] for target in bundle.present if len(pool().seen_as(target)) < 2]
    if few:
        raise UsageError(
            f"--controls: fewer than two of the images are of class {', '.join(few)}; "
            "the controls need real images of every class; give more images with --images, or omit --controls"
        )
    judged_at = bundle.working if bundle.is_lowres else None
    made: list[Engine] = [
        Factual(confidence=confidence),
        RandomReal(confidence=confidence, pool=pool, size=size),
        NearestReal(confidence=confidence, pool=pool, size=size),
        nearest,
        BlurredReal(confidence=confidence, pool=pool, size=size, judged_at=judged_at),
    ]
    if bundle.models.has("vae"):
        vae: Any = bundle.models.part("vae")
        made.append(RedrawnReal(confidence=confidence, pool=pool, size=size, judged_at=judged_at, vae=vae))
    return {engine.name: engine for engine in made}


def nearest_accepted(bundle: Bundle, inputs: Inputs, confidence: float, seed: int) -> NearestAccepted:
    """Make the control that every run has; its pool is read when it is first asked."""
    pool = cache(lambda: read_pool(bundle, inputs, seed))
    return NearestAccepted(confidence=confidence, pool=pool, size=pool_size(bundle, inputs))
