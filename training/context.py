"""The context in which the parts of a bundle are made: recipe, images, and the unfinished bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..bundles.bundle import Bundle
from ..bundles.entries import Trained
from ..bundles.finding import NAME
from ..images.sets.labelled import Labelled, in_batches
from ..images.sets.split import SUBSETS, Split, SubsetName
from ..progress import SILENT, Progress
from .budget import Budget, Timed
from .fit import Fit, FitError, seconds_before
from .recipe import Recipe

CHECKPOINTS = "checkpoints"
LEAST_SECONDS = 1e-3  # of a fit for which no time is left: it makes one step

Model = TypeVar("Model", bound=nn.Module)

BATCH_SIZE = 250  # images in a batch of `photos`

Photos = Callable[[SubsetName, int], Iterator[Tensor]]
"""Loads the first `count` images of a split's subset at the classifier's resolution, in batches (N, C, H, W)."""

Names = Callable[[SubsetName, int], str | None]
"""The name of the file of an image of a split's subset; None if it has none of its own."""


class TrainingContext:
    """Recipe, images and unfinished bundle, as passed to every part.

    Args:
        recipe: what to make.
        split: the images at the working resolution; judges never share images with the models that they score.
        directory: of the bundle.
        progress: receives every fit as a task.
        photos: required if the classifier takes another resolution than that of `split`.
        names: gives the names of images; without it, they are named by subset and number.
        device: of the images and the models.

    Attributes:
        sizes: `channels` and `size` (H, W) of the images, as the networks' arguments.
        pixels: `mean` and `std` of the training images' pixels, as the networks' arguments.
        count: number of labels L.
        present: the labels that have images in every subset of the split.
        checkpoints: the directory of checkpoints.
        budget: divides the available time; None runs each fit for as long as the recipe says.
        seconds_per_weight: how long a fit takes on this machine, for each unit of its share; None without a budget.
        trained: how the fits went, by their labels.
        earlier: by a part's name, the model whose training is to go on.
    """

    def __init__(
        self,
        recipe: Recipe,
        split: Split[Labelled],
        directory: Path,
        *,
        progress: Progress = SILENT,
        photos: Photos | None = None,
        names: Names | None = None,
        device: str = "cpu",
    ) -> None:
        self.recipe = recipe
        self.device = torch.device(device)
        self.split = split = split.map(lambda _, images: images.to(self.device))
        self.directory = directory
        self.progress = progress
        self._photos = photos
        self._names = names
        channels, *size = split.train.images.shape[1:]
        self.sizes: dict[str, Any] = {"channels": channels, "size": size}
        sample = split.train.floats(slice(0, 5000))
        self.pixels: dict[str, Any] = {
            "mean": round(float(sample.mean()), 4),
            "std": round(max(0.01, float(sample.std())), 4),
        }
        self.count = len(recipe.classes)
        # Unreadable files are left out, so a class may have lost its only image in a subset.
        counts = [split.subset(name).labels.bincount(minlength=self.count) for name in SUBSETS]
        self.present: list[int] = torch.stack(counts).amin(dim=0).nonzero().flatten().tolist()
        self.checkpoints = directory / CHECKPOINTS
        self.budget: Budget | None = None
        self.seconds_per_weight: float | None = None
        self.trained: dict[str, Trained] = {}
        self.earlier: dict[str, nn.Module] = {}
        self._bundle: Bundle | None = None

    @property
    def is_resized(self) -> bool:
        """Whether the classifier takes another resolution than that of `split`."""
        return self._photos is not None

    def photos(self, name: SubsetName, count: int) -> Iterator[Tensor]:
        """The first `count` images of a subset at the classifier's resolution, in batches (N, C, H, W)."""
        if self._photos is None:
            yield from (batch.floats() for batch in self.split.subset(name)[:count].batches(BATCH_SIZE))
            return
        batches = self._photos(name, count)
        while True:
            with torch.device("cpu"):  # a decoder's tensors are there
                batch = next(batches, None)
            if batch is None:
                return
            yield batch.to(self.device)

    def name(self, subset: SubsetName, place: int) -> str:
        """The name of an image of a subset: its file, if it has one."""
        found = None if self._names is None else self._names(subset, place)
        return found or f"{subset} {place}"

    @property
    def has_bundle(self) -> bool:
        """Whether the directory has a bundle.toml."""
        return (self.directory / NAME).exists()

    @property
    def bundle(self) -> Bundle:
        """The bundle with the parts made so far; loaded models are kept.

        Raises:
            BundleError: it is damaged or does not exist yet.
        """
        if self._bundle is None:
            self._bundle = Bundle(self.directory, str(self.device))
        return self._bundle

    @property
    def is_foreign(self) -> bool:
        """Whether the classifier was supplied by the user."""
        return self.has_bundle and self.bundle.is_foreign

    def length(self, epochs: float, steps: int) -> float:
        """The passes over the data in a fit, as in `Recipe.length`."""
        return self.recipe.length(epochs, steps, len(self.split.train))

    def fit(
        self, label: str, fit: Fit, *, judges: bool = False, of_class: int | None = None, checked: bool = True
    ) -> None:
        """Run one fit with the bundle's checkpoints, progress and budget.

        Args:
            label: a part's name, or one that starts with it; names the checkpoint.
            fit: the fit to run.
            judges: use the judges' held-out images.
            of_class: use held-out images of this class only.
            checked: whether held-out images tell when to stop.

        Raises:
            FitError: a loss is NaN or infinite.
        """
        held_out = self.split.judge_held_out if judges else self.split.held_out
        fit.held_out = held_out if of_class is None else held_out.of_class(of_class)
        if not checked or not len(fit.held_out):
            fit.held_out = None
        if self.recipe.few and fit.augmentation is None:
            fit.augmentation = self.recipe.augmentation
        checkpoint = self.checkpoints / f"{label}.ckpt"
        if self.budget is not None:
            fit.seconds = max(LEAST_SECONDS, self.budget.allot(label, seconds_before(checkpoint)))
            fit.clock = self.budget.clock
            for module in fit.modules.values():  # 1.2 to 1.5 times faster on a CPU; recipes stay as they were
                module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        try:
            fit.run(checkpoint, self.progress if self.budget is None else Timed(self.progress, self.budget))
        except FitError as error:
            raise FitError(f"{label}: {error}") from error
        if fit.trained is not None:
            self.trained[label] = fit.trained
        if self.budget is not None:
            self.budget.done(label)

    def share_of_time(self, label: str, weight: float) -> float:
        """How much of the time that a whole fit takes here the budget has for it; 1 or more without a budget."""
        if self.budget is None or self.seconds_per_weight is None:
            return 1.0
        return self.budget.allot(label) / (weight * self.seconds_per_weight)

    def begun(self, name: str, model: Model) -> Model:
        """A new model of a part, with the weights of the one whose training is to go on, if there is one."""
        model.to(self.device)
        earlier = self.earlier.get(name)
        if earlier is not None:
            weights, own = earlier.state_dict(), model.state_dict()
            # Another version of cfx may make the part in another size.
            if {key: value.shape for key, value in weights.items()} == {key: each.shape for key, each in own.items()}:
                model.load_state_dict(weights)
        return model

    @torch.no_grad()
    def probabilities(self, name: SubsetName, most: int | None = None) -> Tensor:
        """The classifier's probabilities of the labels, (N, L), of a subset's images, or of its first `most`."""
        classifier, count = self.bundle.classifier, len(self.split.subset(name)[:most])
        return torch.cat([self._condition(classifier(images)) for images in self.photos(name, count)])

    @torch.no_grad()
    def probabilities_of(self, images: Tensor) -> Tensor:
        """The classifier's probabilities of the labels, (N, L), of images (N, C, H, W) at the working resolution."""
        bundle = self.bundle
        classifier = bundle.classifier
        return in_batches(lambda batch: self._condition(classifier(bundle.enlarge(batch))), images)

    def _condition(self, logits: Tensor) -> Tensor:
        return self.bundle.labelling.condition(logits.softmax(dim=1))
