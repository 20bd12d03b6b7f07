"""What a question asks for, independent of how an engine searches for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

from torch import Tensor

Truth = TypeVar("Truth", bool, Tensor)
Number = TypeVar("Number", float, Tensor)


class Requirement(Protocol):
    """What counterfactuals must be besides meeting the goal, by the explained classifier's own features."""

    def holds(self, features: Tensor, labels: Tensor, of_images: Callable[[Tensor], Tensor]) -> Tensor:
        """Whether images are what is required, (M,) bool.

        Args:
            features: (M, F) of the images.
            labels: (M,) int64, the labels of their targets.
            of_images: images (N, C, H, W) -> features (N, F).
        """
        ...


class Goal(ABC):
    """The condition that the counterfactuals of a problem must meet.

    Attributes:
        targets: (N,) int64, the class that is asked for, or the likeliest one where any will do.
    """

    targets: Tensor

    @abstractmethod
    def only(self, rows: Tensor) -> Self:
        """The goal of some images, `rows` (M,)."""

    @abstractmethod
    def met(self, log_probabilities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Whether candidates meet the goal.

        Args:
            log_probabilities: (M, K), the classifier's output.
            rows: (M,) index of the image that each candidate belongs to.

        Returns:
            (M,) bool, whether the goal is met, and (M,) the classifier's confidence in it, in [0, 1].
        """

    @abstractmethod
    def cost(self, log_probabilities: Tensor, rows: Tensor) -> Tensor:
        """The differentiable cost (M,), in nats, that a gradient search minimises; arguments as in `met`."""


@dataclass(frozen=True)
class TargetClass(Goal):
    """The classifier should predict a target class with at least a given confidence.

    Attributes:
        targets: (N,) int64, the classes asked for.
        confidence: lowest softmax probability of the target that counts as valid.
    """

    targets: Tensor
    confidence: float

    def only(self, rows: Tensor) -> Self:
        return replace(self, targets=self.targets[rows])

    def met(self, log_probabilities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        targets = self.targets[rows]
        probability = log_probabilities.detach().exp().gather(1, targets[:, None]).squeeze(1)
        return is_valid(log_probabilities.detach().argmax(dim=1) == targets, probability, self.confidence), probability

    def cost(self, log_probabilities: Tensor, rows: Tensor) -> Tensor:
        return -log_probabilities.gather(1, self.targets[rows][:, None]).squeeze(1)


@dataclass(frozen=True)
class Certain(Goal):
    """The classifier should predict any class with at least a given confidence.

    Attributes:
        targets: (N,) int64, the likeliest classes.
        confidence: lowest softmax probability of the predicted class that counts as valid.
    """

    targets: Tensor
    confidence: float

    def only(self, rows: Tensor) -> Self:
        return replace(self, targets=self.targets[rows])

    def met(self, log_probabilities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        probability = log_probabilities.detach().exp().amax(dim=1)
        return probability >= self.confidence, probability

    def cost(self, log_probabilities: Tensor, rows: Tensor) -> Tensor:
        """The entropy (M,) of the classifier's probabilities, in nats."""
        return -(log_probabilities.exp() * log_probabilities).sum(dim=1)


def is_valid(is_target: Truth, probability: Number, confidence: float) -> Truth:
    """Whether a candidate is valid: its most probable class is the target, with at least the required confidence.

    The definition for a target class. It takes single values or tensors. (`Certain` takes any class for the target; a
    `Requirement` adds a condition.)
    """
    return is_target & (probability >= confidence)  # pyright: ignore[reportReturnType]
