"""The problem that an engine works on: a batch of questions, and counted access to the classifier."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from ..bundles.labelling import IDENTITY_LABELLING, Labelling
from ..classifiers.introspection.dropout import DropoutNetworks
from ..classifiers.introspection.features import PenultimateFeatures, SpatialFeatures
from ..images.resizing import resize_batch
from .candidates import Candidates, Classifier, as_written, clamped
from .failures import BrokenEngine, ModelError, NothingToOffer, without_features
from .goal import Goal
from .request import SearchRequest

# What an engine needs of the contract is imported from here, also by engines of other packages.
__all__ = [
    "LARGEST_BATCH",
    "BrokenEngine",
    "Candidates",
    "Classifier",
    "ModelError",
    "NothingToOffer",
    "Problem",
    "as_written",
    "clamped",
]

LARGEST_BATCH = 512  # images; with larger batches a CPU spends more time on allocating memory than on the model


class Problem:
    """A batch of images with their goal, and a classifier whose calls are counted.

    Generative models may work at a smaller size than the classifier. Engines then read and generate small images, and
    the classifier evaluates the full-size factual plus the enlarged change. The results are full-size images, too.

    Attributes:
        images: (N, C, h, w) in [0, 1], the factuals at the size at which the models work.
        factuals: (N, C, H, W) in [0, 1], the factuals at their own size.
        goal: the condition that counterfactuals must meet.
        targets: (N,) int64, the classes asked for, as the labels of the models; the goal has the classifier's own.
        seed: seed for engines that sample random numbers; the same for every batch.
        forward_calls: (N,) int64, how many candidates of each image the classifier has evaluated.
        backward_calls: (N,) int64, how many of these evaluations could be differentiated.
        steps: (N,) int64, steps of the search; iterative engines update it.
        region: (N, 1, H, W) bool, the pixels of the factuals that may change; None: all.
        earlier: (N, A, C, h, w), answers already found; the search avoids them. None in the first search.
        typical: extra condition: also typical of the target class. None: no condition.
    """

    def __init__(
        self,
        classifier: Classifier,
        request: SearchRequest,
        goal: Goal,
        *,
        working: tuple[int, int] | None = None,
        labelling: Labelling = IDENTITY_LABELLING,
    ) -> None:
        self._classifier = classifier
        self._request = request
        self.factuals = images = request.images
        # A copy: an engine that changes its images in place must not change the factuals.
        self.images = images.clone() if working is None else resize_batch(images, working)
        self._baseline = None if working is None else self.images
        self.goal = goal
        self.targets = labelling.labels_of(goal.targets)
        self._labelling = labelling
        self.region = request.region
        self.earlier = earlier = request.earlier
        if earlier is not None and working is not None:
            self.earlier = resize_batch(earlier.flatten(0, 1), working).view(*earlier.shape[:3], *working)
        self.typical = request.typical
        self.seed = request.seed
        count = len(images)
        self.forward_calls = torch.zeros(count, dtype=torch.int64)
        self.backward_calls = torch.zeros(count, dtype=torch.int64)
        self.steps = torch.zeros(count, dtype=torch.int64)
        self._penultimate: PenultimateFeatures | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def attempt(self) -> int:
        """0 in the first search for answers to these questions; later ones begin elsewhere, to find other answers."""
        return 0 if self.earlier is None else self.earlier.shape[1]

    def random(self) -> torch.Generator:
        """A new generator of random numbers, the same for every batch and another one in each attempt."""
        return torch.Generator().manual_seed(self.seed + 1_000_003 * self.attempt)

    def restarted(self, latents: Tensor, spread: float) -> Tensor:
        """Where a search begins: at these latents (N, ...), or in further attempts at random near them.

        Random restarts around the image's own latent are those of CLUE (Antorán et al. 2021, arXiv 2006.06848).

        Args:
            latents: of the factuals.
            spread: standard deviation of the change, in the unit of the latents.
        """
        if not self.attempt:
            return latents
        change = torch.randn(latents.shape[1:], generator=self.random(), device="cpu")
        return latents + spread * change.to(latents)

    def every_row(self) -> Tensor:
        """The indices of all images, (N,)."""
        return torch.arange(len(self), device=self.images.device)

    @property
    def explained(self) -> object:
        """The classifier, to tell it from others: engines that keep what they have computed about it compare this."""
        return self._classifier

    @property
    def is_lowres(self) -> bool:
        """Whether engines generate smaller images than the factuals, to which the upsampled change is added."""
        return self.images.shape != self.factuals.shape

    def subproblem(self, rows: Tensor, working: tuple[int, int] | None, earlier: Tensor | None = None) -> Problem:
        """Some of the questions as a problem of their own, for another engine's search, with its own counts.

        Args:
            rows: (M,) of the questions.
            working: as the engine's.
            earlier: (M, A, C, H, W), what earlier searches of this engine have found for them. None in the first.
        """
        request = replace(self._request.only(rows), earlier=earlier).counting_from(int(self.forward_calls.sum()))
        other = Problem(self._classifier, request, self.goal.only(rows), working=working, labelling=self._labelling)
        other._penultimate = self._penultimate
        return other

    def count_also(self, other: Problem, rows: Tensor) -> None:
        """Add the counts of a problem made of the questions `rows` (M,)."""
        for name in ("steps", "forward_calls", "backward_calls"):
            getattr(self, name).index_add_(0, rows.cpu(), getattr(other, name))

    def at_full_resolution(self) -> Problem:
        """The same questions, for a search that generates images at the factuals' own size. Calls are counted here."""
        other = copy(self)
        other.images, other._baseline = self.factuals, None
        return other

    def wants_residual(self, asked_for: bool | None) -> bool:
        """Whether to add the residual that a model cannot reconstruct: as asked for, or if None, as `is_lowres`."""
        return self.is_lowres if asked_for is None else asked_for

    def use_residual_of(self, generated: Tensor) -> None:
        """Adds the residual of reconstructions to all images from now on: only differences from these are changes.

        x_cf = x + decode(z) - decode(z_0). In the terms of Duff et al. 2021 (arXiv 2107.11191) this allows a small
        deviation from the generator's range.

        Args:
            generated: (N, C, h, w), the model's reconstructions of the factuals.
        """
        self._baseline = generated

    def to_full_resolution(self, generated: Tensor, rows: Tensor) -> Tensor:
        """Generated images (M, C, h, w) of the questions `rows` (M,) as the classifier evaluates them, (M, C, H, W).

        Outside the region that may change, they are the factuals.

        Raises:
            BrokenEngine: they are no tensor of the right shape and type.
        """
        expected = (len(rows), *self.images.shape[1:])
        if not isinstance(generated, Tensor) or generated.shape != expected or not generated.is_floating_point():
            raise BrokenEngine(f"it makes {_described(generated)}; images must be {expected}, floating-point")
        if self._baseline is None and self.region is None:
            return generated
        factuals, full = self.factuals[rows], generated
        if self._baseline is not None:
            change = clamped(generated) - self._baseline[rows]
            full = factuals + resize_batch(change, (factuals.shape[2], factuals.shape[3]))
        return full if self.region is None else torch.where(self.region[rows], full, factuals)

    def log_probabilities(self, generated: Tensor, rows: Tensor) -> Tensor:
        """Evaluates the classifier on generated images.

        Args:
            generated: (M, C, h, w); clamped to [0, 1] here.
            rows: (M,) index of the question that each image belongs to; a question may have several.

        Returns:
            (M, K) log-probabilities, differentiable if the images and the classifier are.

        Raises:
            ModelError: the classifier's output is not finite.
        """
        return self._evaluate(self.to_full_resolution(generated, rows), rows)

    def _evaluate(self, images: Tensor, rows: Tensor, classify: Classifier | None = None) -> Tensor:
        result = (classify or self._classifier)(clamped(images)).log_softmax(dim=1)
        if not torch.isfinite(result.detach()).all():
            raise ModelError("the classifier or generative model returned NaN or infinity: check its weights")
        self.count(rows, backward=result.requires_grad)
        return result

    def met(self, log_probabilities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Whether candidates meet the goal, and the classifier's confidence, as in `Goal.met`."""
        return self.goal.met(log_probabilities, rows)

    def condition(self, log_probabilities: Tensor) -> Tensor:
        """The classifier's output (M, K) as probabilities of the labels (M, L) that conditional models take."""
        return self._labelling.condition(log_probabilities.exp())

    def cost(self, log_probabilities: Tensor, rows: Tensor) -> Tensor:
        """The cost that a gradient search minimises, as in `Goal.cost`."""
        return self.goal.cost(log_probabilities, rows)

    def spatial_features(self) -> SpatialFeatures:
        """The classifier's features at its last layer with a height and a width. Their calls are not counted here."""
        return SpatialFeatures(self._classifier, self.factuals[:1])

    def features(self, generated: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluates the classifier on generated images, and reads what its last linear layer gets.

        Args:
            generated: (M, C, h, w); clamped to [0, 1] here.
            rows: (M,) index of the question that each image belongs to.

        Returns:
            (M, F) features and (M, K) log-probabilities, differentiable if the images and the classifier are. The
            calls are counted, as those of `log_probabilities`.

        Raises:
            NothingToOffer: the classifier has no linear layer to look at.
            ModelError: its output is not finite.
        """
        return self._with_features(self.to_full_resolution(generated, rows), rows)

    def _with_features(self, images: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Features and log-probabilities of images as the classifier evaluates them, (M, C, H, W)."""
        found = self._penultimate_features()
        kept: list[Tensor] = []

        def classify(images: Tensor) -> Tensor:
            features, logits = found(images)
            kept.append(features)
            return logits

        result = self._evaluate(images, rows, classify)
        return kept[0], result

    def _penultimate_features(self) -> PenultimateFeatures:
        if self._penultimate is None:
            self._penultimate = PenultimateFeatures(self._classifier, self.factuals[:1])
        if self._penultimate.layer is None:
            raise NothingToOffer(without_features(self._classifier))
        return self._penultimate

    @torch.no_grad()
    def features_of(self, images: Tensor) -> Tensor:
        """The features (M, F) of images (M, C, H, W) that are no candidates, without counting the calls.

        Raises:
            NothingToOffer: as `features`.
        """
        return self._penultimate_features()(images)[0]

    def logits(self, images: Tensor) -> Tensor:
        """The classifier's logits (M, K) of images (M, C, H, W) that are no candidates, without counting the calls.

        They are differentiable where gradients are enabled.
        """
        return self._classifier(images)

    def dropout_networks(self, count: int) -> DropoutNetworks | None:
        """So many networks that dropout makes of the classifier; None if it shows no layer of dropout.

        Who calls them counts the calls.
        """
        if not count:
            return None
        networks = DropoutNetworks(self._classifier, count, self.factuals[:1], self.seed)
        return networks if networks.layers else None

    def count(self, rows: Tensor, *, backward: bool = False) -> None:
        """Count a call of the classifier for each of the questions `rows` (M,), which may repeat."""
        ones = torch.ones(len(rows), dtype=torch.int64)
        self.forward_calls.index_add_(0, rows.cpu(), ones)
        if backward:
            self.backward_calls.index_add_(0, rows.cpu(), ones)
        if self._request.watch is not None:
            self._request.watch(int(self.forward_calls.sum()))

    @torch.no_grad()
    def candidates(self, generated: Tensor, rows: Tensor) -> Candidates:
        """Evaluates generated images (M, C, h, w) of the questions `rows` (M,), rounded to 8 bits.

        They are valid if they meet the goal and, where they must be typical of their target, are that, too.
        """
        if self.typical is not None:
            return self.candidates_with_features(generated, rows)[0]
        written = as_written(self.to_full_resolution(generated, rows))
        return Candidates.of(written, self._evaluate(written, rows), self.goal, rows)

    @torch.no_grad()
    def candidates_with_features(self, generated: Tensor, rows: Tensor) -> tuple[Candidates, Tensor]:
        """As `candidates`, and the features (M, F) of the images.

        Raises:
            NothingToOffer: as `features`.
        """
        written = as_written(self.to_full_resolution(generated, rows))
        features, log_probabilities = self._with_features(written, rows)
        found = Candidates.of(written, log_probabilities, self.goal, rows)
        if self.typical is not None:
            found.valid[found.valid.clone()] = self.typical.holds(
                features[found.valid], self.targets[rows[found.valid]], self.features_of
            )
        return found, features


def _described(value: object) -> str:
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
