"""What the parts of a bundle are made with: recipe, images, and the bundle as far as it has been made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..bundles.file import NAME
from ..images.sets.labelled import Labelled, in_batches
from ..images.sets.split import SPLIT_PARTS, Name, Split
from ..progress import SILENT, Progress
from .budget import Budget, Timed
from .fit import Fit, FitError, length_of
from .recipe import Recipe

Photos = Callable[[Name, int], Iterator[Tensor]]
"""Loads the first `count` images of a part of the split at the classifier's resolution, in batches (N, C, H, W)."""


class TrainingContext:
    """What the parts of one bundle are made with.

    Args:
        recipe: what to make.
        split: the images at the size that models work in, split so that judges and judged never share one.
        directory: of the bundle.
        progress: told of every training.
        photos: needed where the classifier takes images of another size than those of `split`.

    Attributes:
        sizes: `channels` and `size` (H, W) of the images, as the networks' arguments.
        pixels: `mean` and `std` of the training images' pixels, as the networks' arguments.
        count: number of classes K.
        present: the classes that have images in every part of the split.
        checkpoints: the directory of unfinished work.
        budget: shares out the time; None gives each training what the recipe says.
    """

    def __init__(
        self,
        recipe: Recipe,
        split: Split[Labelled],
        directory: Path,
        *,
        progress: Progress = SILENT,
        photos: Photos | None = None,
    ) -> None:
        self.recipe = recipe
        self.split = split
        self.directory = directory
        self.progress = progress
        self.photos = photos
        channels, *size = split.train.images.shape[1:]
        self.sizes: dict[str, Any] = {"channels": channels, "size": size}
        sample = split.train.floats(slice(0, 5000))
        self.pixels: dict[str, Any] = {
            "mean": round(float(sample.mean()), 4),
            "std": round(max(0.01, float(sample.std())), 4),
        }
        self.count = len(recipe.classes)
        # A class counts where every part has images of it: one broken file may have been the only one.
        counts = [split.part(name).labels.bincount(minlength=self.count) for name in SPLIT_PARTS]
        self.present: list[int] = torch.stack(counts).amin(dim=0).nonzero().flatten().tolist()
        self.checkpoints = directory / "checkpoints"
        self.budget: Budget | None = None
        self._bundle: Bundle | None = None

    @property
    def has_bundle(self) -> bool:
        """Whether the bundle has been begun."""
        return (self.directory / NAME).exists()

    @property
    def bundle(self) -> Bundle:
        """The bundle as far as it has been made; what it has loaded stays loaded.

        Raises:
            BundleError: it is damaged, or has not been begun.
        """
        if self._bundle is None:
            self._bundle = Bundle(self.directory)
        return self._bundle

    @property
    def is_foreign(self) -> bool:
        """Whether the classifier is one that the user brought."""
        return self.has_bundle and self.bundle.is_foreign

    def length(self, epochs: float, steps: int) -> float:
        """The passes over the data that a training gets, as `Recipe.length`."""
        return self.recipe.length(epochs, steps, len(self.split.train))

    def fit(self, label: str, fit: Fit, *, judges: bool = False, of_class: int | None = None) -> None:
        """Run one training with the bundle's checkpoints, progress and budget.

        Args:
            label: a part, or PART-something; names the checkpoint.
            fit: what to run.
            judges: whether its images are the judges'.
            of_class: the class that it is about, if it is about one.

        Raises:
            FitError: a loss is no longer a finite number.
        """
        held_out = self.split.judge_held_out if judges else self.split.held_out
        fit.held_out = held_out if of_class is None else held_out.of_class(of_class)
        if not len(fit.held_out):
            fit.held_out = None
        checkpoint = self.checkpoints / f"{label}.ckpt"
        begun = length_of(checkpoint)
        if begun is not None:
            fit.total_steps = begun
        elif self.budget is not None:
            fit.total_steps = self.budget.allot(label, fit)

        try:
            fit.run(checkpoint, self.progress if self.budget is None else Timed(self.progress, self.budget))
        except FitError as error:
            raise FitError(f"{label}: {error}") from error
        if self.budget is not None:
            self.budget.done(label)

    @torch.no_grad()
    def probabilities(self, name: Name, most: int | None = None) -> Tensor:
        """What the explained classifier says of the images, or the first `most`, of a part of the split, (N, K)."""
        data = self.split.part(name)[:most]
        if self.photos is not None:
            classifier = self.bundle.classifier
            return torch.cat([classifier(images).softmax(dim=1) for images in self.photos(name, len(data))])
        return torch.cat([self.probabilities_of(part.floats()) for part in data.batches(1000)])

    @torch.no_grad()
    def probabilities_of(self, images: Tensor) -> Tensor:
        """What the explained classifier says of images (N, C, H, W) at the size that models work in, (N, K)."""
        bundle = self.bundle
        classifier = bundle.classifier
        return in_batches(lambda part: classifier(bundle.enlarge(part)).softmax(dim=1), images)
