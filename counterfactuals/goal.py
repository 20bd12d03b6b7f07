"""What a question asks for, apart from how it is searched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

Truth = TypeVar("Truth", bool, Tensor)
Number = TypeVar("Number", float, Tensor)


class Goal(ABC):
    """What the images of a problem should become."""

    @abstractmethod
    def met(self, log_probabilities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Whether candidates meet it.

        Args:
            log_probabilities: (M, K) of the classifier.
            rows: (M,) which image of the problem each candidate is for.

        Returns:
            (M,) bool, and (M,) how sure the classifier is of it, in [0, 1].
        """

    @abstractmethod
    def cost(self, log_probabilities: Tensor, rows: Tensor) -> Tensor:
        """What an ascent should descend, (M,), in nats, differentiable; arguments as in `met`."""


@dataclass(frozen=True)
class TargetClass(Goal):
    """The classifier should see a class, and be sure enough of it.

    Attributes:
        targets: (N,) int64, the classes asked for.
        confidence: least softmax probability of the target.
    """

    targets: Tensor
    confidence: float

    def met(self, log_probabilities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        targets = self.targets[rows]
        probability = log_probabilities.detach().exp().gather(1, targets[:, None]).squeeze(1)
        return is_valid(log_probabilities.detach().argmax(dim=1) == targets, probability, self.confidence), probability

    def cost(self, log_probabilities: Tensor, rows: Tensor) -> Tensor:
        return -log_probabilities.gather(1, self.targets[rows][:, None]).squeeze(1)


def is_valid(is_target: Truth, probability: Number, confidence: float) -> Truth:
    """Valid: the most probable class is the target, and its probability is at least the confidence asked for.

    This is the one definition; single values and tensors alike.
    """
    return is_target & (probability >= confidence)  # pyright: ignore[reportReturnType]
