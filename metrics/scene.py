"""What a metric looks at: a batch of answers, and what several metrics need of it, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..bundles.bundle import Bundle
from ..bundles.parts import Judges
from ..errors import CfxError
from ..images.resizing import resize_batch
from ..judges.autoencoders import ClassAutoencoders
from ..judges.real_images import RealImages
from ..judges.residual import ResidualNet

JUDGES = ("judge", "second_judge")
"""The bundle's classifiers that only score, of differing architecture; the first lends its features."""


class Missing(CfxError):
    """A metric cannot be had; `str(error)` is the reason."""


@dataclass(kw_only=True)
class Scene:
    """A batch of counterfactuals, and all that metrics of single images need.

    Attributes:
        classifier: the explained one, image batch -> logits (N, K).
        factuals: (N, C, H, W) in [0, 1].
        counterfactuals: (N, C, H, W) in [0, 1], as written.
        targets: (N,) int64, the classes asked for.
        judges: what scores; None where there is nothing.
        working: (H, W) that judges work in; None: that of the images.
        present: the classes that judges have seen images of; None: all.
        seen: (N,) int64, the classes that the classifier sees in the factuals; asked for, if None.
    """

    classifier: Callable[[Tensor], Tensor]
    factuals: Tensor
    counterfactuals: Tensor
    targets: Tensor
    judges: Judges | None = None
    working: tuple[int, int] | None = None
    present: Sequence[int] | None = None
    seen: Tensor | None = None

    @classmethod
    def of(
        cls, bundle: Bundle, factuals: Tensor, counterfactuals: Tensor, targets: Tensor, seen: Tensor | None = None
    ) -> Scene:
        """A batch of answers of a bundle."""
        return cls(
            classifier=bundle.classifier,
            factuals=factuals,
            counterfactuals=counterfactuals,
            targets=targets,
            judges=bundle.judges,
            working=bundle.working,
            present=bundle.present,
            seen=seen,
        )

    def judge(self, name: str) -> nn.Module:
        """A part that scores.

        Raises:
            Missing: there are no judges.
            BundleError: the bundle does not have this one.
        """
        if self.judges is None:
            raise Missing("there are no judges")
        return self.judges.part(name)

    @cached_property
    def change(self) -> Tensor:
        """Counterfactuals less factuals, (N, C, H, W)."""
        return self.counterfactuals - self.factuals

    @cached_property
    def judged(self) -> Tensor:
        """The counterfactuals as judges take them, (N, C, h, w)."""
        return self.counterfactuals if self.working is None else resize_batch(self.counterfactuals, self.working)

    @cached_property
    def factual_classes(self) -> Tensor:
        """The classes that the classifier sees in the factuals, (N,)."""
        return self.classifier(self.factuals).argmax(dim=1) if self.seen is None else self.seen

    @cached_property
    def features(self) -> Tensor:
        """The first judge's features of the counterfactuals, (N, F)."""
        return self._first_judge.embed(self.judged)

    @cached_property
    def judges_probabilities(self) -> Tensor:
        """The mean of the judges' probabilities in the counterfactuals, (N, K)."""
        logits = [self._first_judge.head(self.features)]
        assert self.judges is not None
        logits += [self.judge(name)(self.judged) for name in JUDGES[1:] if self.judges.has(name)]
        return torch.stack([each.softmax(dim=1) for each in logits]).mean(dim=0)

    @cached_property
    def to_own(self) -> Tensor:
        """The counterfactuals by the autoencoders of their targets, (N, C, h, w)."""
        return self.autoencoders.reconstruct(self.judged, self.targets)

    @cached_property
    def percentile(self) -> Tensor:
        """Share of real images of the target at least as far from their class, (N,), in [0, 100]."""
        return self.reference.percentile(self.features, self.targets)

    @property
    def autoencoders(self) -> ClassAutoencoders:
        """The autoencoders of single classes and of all."""
        found = self.judge("autoencoders")
        assert isinstance(found, ClassAutoencoders)
        return found

    @property
    def reference(self) -> RealImages:
        """Features of real images."""
        found = self.judge("reference")
        assert isinstance(found, RealImages)
        return found

    @property
    def _first_judge(self) -> ResidualNet:
        found = self.judge(JUDGES[0])
        assert isinstance(found, ResidualNet)
        return found


@dataclass(frozen=True, kw_only=True)
class SetScene:
    """All counterfactuals of an engine, for metrics that only a set has.

    Attributes:
        targets: (N,) int64.
        factual_classes: (N,) int64, what the classifier sees in the factuals.
        image_ids: (N,) int64, equal where questions share a factual.
        features: loads the first judge's features of the counterfactuals and of their factuals, (N, F) each; None
            where there is no judge.
        images: loads the counterfactuals of some rows, (M, C, H, W).
    """

    targets: Tensor
    factual_classes: Tensor
    image_ids: Tensor
    features: Callable[[], tuple[Tensor, Tensor]] | None
    images: Callable[[Sequence[int]], Tensor]
