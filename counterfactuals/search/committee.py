"""Classifiers beside the explained one, whose disagreement shows its epistemic uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...classifiers.introspection.uncertainty import entropy, split
from ...images.resizing import resize_batch
from ..problem import Problem, clamped

NO_COMMITTEE = (
    "there is no ensemble, and the classifier shows no dropout layer (a program or a plain function shows none), so "
    "that nobody knows how much of it comes from having learned too little (cfx train DIR --only ensemble makes one)"
)

Ensemble = Callable[[Tensor], Tensor]
"""images (N, C, H, W) in [0, 1] -> logits (M, N, K) of M classifiers"""


@dataclass(frozen=True)
class Committee:
    """Classifiers that were trained on the same images, whose disagreement shows what these do not determine.

    Attributes:
        classify: takes images as the explained classifier does.
        called: what they are called in a sentence.
        calls: how many of them are the explained classifier with some of its units left out, so that it is evaluated.
    """

    classify: Ensemble
    called: str
    calls: int = 0

    @classmethod
    def of(cls, problem: Problem, ensemble: Ensemble | None, dropouts: int) -> Committee | None:
        """The ensemble if there is one, else so many networks that dropout makes of the classifier; None without both.

        Args:
            problem: with the classifier.
            ensemble: takes images at the size at which the bundle's models work.
            dropouts: number of networks; 0: none.
        """
        if ensemble is not None:
            height, width = problem.images.shape[2:]
            return cls(lambda images: ensemble(resize_batch(images, (height, width))), "the ensemble")
        networks = problem.dropout_networks(dropouts)
        if networks is None:
            return None
        return cls(networks, f"{dropouts} networks that dropout makes of it", calls=dropouts)

    def probabilities(self, problem: Problem, generated: Tensor, rows: Tensor) -> Tensor:
        """The probabilities (M, N, K) of generated images (N, C, h, w) of the questions `rows`, differentiable.

        Calls of the explained classifier are counted.
        """
        found = self.classify(clamped(problem.to_full_resolution(generated, rows))).softmax(dim=-1)
        for _ in range(self.calls):
            problem.count(rows, backward=found.requires_grad)
        return found


def before_and_after(problem: Problem, committee: Committee | None, generated: Tensor, row: int) -> str:
    """A sentence about the uncertainty of a factual and of its counterfactual.

    Args:
        problem: with the factual and the classifier, whose calls are not counted.
        committee: beside the classifier; None if there is none.
        generated: (1, C, h, w), the counterfactual.
        row: its question.
    """
    rows = torch.tensor([row], device=generated.device)
    images = torch.cat([problem.factuals[rows], problem.to_full_resolution(generated, rows).clamp(0, 1)])
    probabilities = problem.logits(images).softmax(dim=1)
    if committee is None:
        before, after = entropy(probabilities).tolist()
        return f"entropy of the classifier: {before:.2f} nats before, {after:.2f} after; {NO_COMMITTEE}"
    others = committee.classify(images).softmax(dim=-1)
    parts = torch.stack(split(torch.cat([probabilities[None], others])), dim=1).tolist()
    before, after = (
        f"{total:.2f} nats (aleatoric {aleatoric:.2f}, epistemic {epistemic:.2f})"
        for total, aleatoric, epistemic in parts
    )
    return f"uncertainty of the classifier and {committee.called}: {before} before, {after} after"
