"""The problem that an engine works on: a batch of questions, and the only door to the classifier, which is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import CfxError
from ..images.resizing import resize_batch
from .goal import TargetClass

Classifier = Callable[[Tensor], Tensor]
"""image batch (N, C, H, W) in [0, 1] -> logits (N, K)"""
LARGEST_BATCH = 512  # images; beyond it a CPU spends its time on fresh memory, not on the model


class ModelError(CfxError):
    """A model answered something that is no answer: NaN, or the wrong shape."""


def as_written(images: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to 8 bits: exactly what a PNG will hold. No gradient passes."""
    return (images.detach().clamp(0, 1) * 255).round() / 255


def clamped(images: Tensor) -> Tensor:
    """Clamp to [0, 1] with the gradient of the identity (a straight-through estimate).

    The gradient of a pixel at its limit still says where it should go (as in Dombrowski et al.'s code, which
    clips in place).
    """
    limited = images.clamp(0, 1)
    return images + (limited - images).detach() if images.requires_grad else limited


class Problem:
    """The images, the targets, and a classifier that counts how often it is asked.

    Where models work in a smaller size than the classifier, engines see and draw small images; what the classifier is
    asked about, and what is found, is the factual itself plus the change, enlarged.

    Attributes:
        images: (N, C, h, w) in [0, 1], the factuals in the size that models work in.
        factuals: (N, C, H, W), the factuals in their own.
        goal: what is asked for.
        targets: (N,) int64, the classes asked for.
        seed: for engines that draw random numbers; the same for every batch.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: Tensor,
        goal: TargetClass,
        seed: int = 0,
        working: tuple[int, int] | None = None,
    ) -> None:
        self._classifier = classifier
        self.factuals = images
        self.images = images if working is None else resize_batch(images, working)
        self._ground = None if working is None else self.images
        self.goal = goal
        self.targets = goal.targets
        self.seed = seed
        count = len(images)
        self.forward_calls = torch.zeros(count, dtype=torch.int64)
        self.backward_calls = torch.zeros(count, dtype=torch.int64)
        self.steps = torch.zeros(count, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.images)

    def every_row(self) -> Tensor:
        """The indices of all images, (N,)."""
        return torch.arange(len(self), device=self.images.device)

    @property
    def is_carried(self) -> bool:
        """Whether what is drawn is smaller than the factuals, and only changes are carried back to them."""
        return self.images.shape != self.factuals.shape

    def keeps_the_rest(self, asked_for: bool | None) -> bool:
        """Whether what a model cannot draw is to be kept: as asked for, else where changes are carried anyway."""
        return self.is_carried if asked_for is None else asked_for

    def keep_the_rest(self, drawn: Tensor) -> None:
        """Keep what a model cannot draw: from now on, only what differs from `drawn` is taken for a change.

        x_cf = x + decode(z) - decode(z_0), in Generative Regularisers' words a small deviation from the generator's
        range (Duff et al. 2021, arXiv 2107.11191).

        Args:
            drawn: (N, C, h, w), the factuals as the model draws them.
        """
        self._ground = drawn

    def in_full(self, drawn: Tensor, rows: Tensor) -> Tensor:
        """What is drawn (M, C, h, w) for the images `rows` (M,) as the classifier is asked about it, (M, C, H, W)."""
        if self._ground is None:
            return drawn
        factuals = self.factuals[rows]
        return factuals + resize_batch(clamped(drawn) - self._ground[rows], (factuals.shape[2], factuals.shape[3]))

    def log_probabilities(self, drawn: Tensor, rows: Tensor) -> Tensor:
        """Ask the classifier about what is drawn.

        Args:
            drawn: (M, C, h, w); clamped to [0, 1] here.
            rows: (M,) which image each candidate is for; an image may have several.

        Returns:
            (M, K) log-probabilities, differentiable where the candidates and the classifier are.

        Raises:
            ModelError: the classifier's answer is not finite.
        """
        return self._ask(self.in_full(drawn, rows), rows)

    def _ask(self, images: Tensor, rows: Tensor) -> Tensor:
        result = self._classifier(clamped(images)).log_softmax(dim=1)
        if not torch.isfinite(result.detach()).all():
            raise ModelError("the classifier or generative model returned NaN or infinity: check its weights")
        self.forward_calls.index_add_(0, rows.cpu(), torch.ones(len(rows), dtype=torch.int64))
        if result.requires_grad:
            self.backward_calls.index_add_(0, rows.cpu(), torch.ones(len(rows), dtype=torch.int64))
        return result

    def met(self, log_probabilities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Whether candidates meet the goal, and how sure the classifier is: as `Goal.met`."""
        return self.goal.met(log_probabilities, rows)

    def cost(self, log_probabilities: Tensor, rows: Tensor) -> Tensor:
        """What an ascent should descend: as `Goal.cost`."""
        return self.goal.cost(log_probabilities, rows)

    @torch.no_grad()
    def candidates(self, drawn: Tensor, rows: Tensor) -> Candidates:
        """Ask about what is drawn (M, C, h, w) for the images `rows` (M,), as an 8-bit file will hold it."""
        written = as_written(self.in_full(drawn, rows))
        return Candidates(written, *self.met(self._ask(written, rows), rows))


@dataclass(frozen=True)
class Candidates:
    """Images that the classifier has been asked about, one for each row.

    Attributes:
        images: (N, C, H, W), as written.
        valid: (N,) bool.
        confidence: (N,) of the target.
    """

    images: Tensor
    valid: Tensor
    confidence: Tensor

    def replace(self, rows: Tensor, images: Tensor, valid: Tensor, confidence: Tensor) -> None:
        """Put other candidates in the places `rows`."""
        self.images[rows], self.valid[rows], self.confidence[rows] = images, valid, confidence
