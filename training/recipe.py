"""Recipes: the images that a bundle is made from, and the fields of its parts that differ from their defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..errors import UsageError, unknown_name
from ..images.sets.image_set import ImageSet
from ..images.sets.labelled import Labelled
from ..images.sets.opening import open_images
from ..images.sets.split import Split, split_in_two
from ..images.sets.torchvision_sets import name_in_torchvision
from .augment import Augmentation

FEW = 5000  # images
MOST_EPOCHS = 300  # more would overfit to few images

MOST_RELIABLE_ENGINE = "projection"  # uses real images if the conditional VAE fails, and needs no gradients


@dataclass(frozen=True)
class Recipe:
    """The images that a bundle is made from, and the fields of its parts that differ from their defaults.

    Attributes:
        name: of the bundle.
        classes: class names in the order of the labels.
        light_on_dark: whether the images show light strokes on a dark ground.
        images: the name of a torchvision data set; None for a user's own images.
        engine: the engine that works best with these models; None for cfx's default.
        settings: engine -> setting -> value, instead of the engine's own default, for these models.
        share: of the training images that the explained classifier and the generative models are trained on; the
            judges are trained on the others.
        parts: by a part's name, the fields that differ from its defaults.
        also: optional parts that a bundle of this recipe has.
        by_steps: whether the length of a fit is given in steps, as for a user's images, or in epochs.
        latents: dimension of the latent space of both VAEs.
        likelihood, prelude: as in `ElboFit`, for both VAEs.
        augmentation: random deformation of the classifiers' training images.
        few: whether there are so few images that the generative models and the autoencoders need deformed ones, too.
        batch_size: images per step.
        mixup, noise: as in `ClassifierFit`, for the explained classifier; judges use the noise only.
    """

    name: str
    classes: tuple[str, ...]
    light_on_dark: bool
    images: str | None = None
    engine: str | None = None
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    share: float = 0.5
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    by_steps: bool = False
    latents: int = 32
    likelihood: str = "bernoulli"
    prelude: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    few: bool = False
    batch_size: int = 128
    mixup: float = 0.3
    noise: float = 0.05

    def length(self, epochs: float, steps: int, images: int) -> float:
        """The number of passes over the data in a fit.

        Args:
            epochs: the length for a data set of tens of thousands of images.
            steps: the length for a user's images, in steps of `batch_size` images.
            images: the number of training images.
        """
        return min(MOST_EPOCHS, steps * self.batch_size / max(1, images)) if self.by_steps else epochs

    def open(self, data: Path) -> tuple[ImageSet, Split[Tensor]]:
        """Open the data set of a shipped bundle and split it.

        Raises:
            DataError: the data set is not below `data`.
        """
        assert self.images is not None
        found = open_images(self.images, root=data)
        return found, split_in_two(found.splits, share=self.share)


CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

RECIPES = {
    "mnist": Recipe(
        "mnist",
        tuple("0123456789"),
        light_on_dark=True,
        images="mnist",
        engine="leap",
        parts={
            "classifier": {"network": {"width": 16}},
            "retrained": {"network": {"width": 10}},
            "robust_classifier": {"epsilon": 1.5},
            "ensemble": {"network": {"hidden": 64}},
            "spectral_classifier": {"plain": True},
        },
        also=("robust_classifier", "ensemble", "glam"),
        mixup=1.0,
        noise=0.1,
    ),
    "fashion-mnist": Recipe(
        "fashion-mnist",
        CLOTHES,
        light_on_dark=True,
        images="fashion-mnist",
        engine="leap",
        settings={"leap": {"guidance": (6.0, 9.0, 12.0), "levels": (0.8, 0.9, 1.0)}},  # clothes need more than digits
        share=2 / 3,
        parts={  # sized so that the bundle stays below 21 MB
            "classifier": {"network": {"width": 32, "hidden": 128, "mean": 0.286, "std": 0.353}},
            "second_judge": {"epochs": 16.0},
            "referee": {"epochs": 12.0},
            "retrained": {"epochs": 12.0, "network": {"width": 12, "hidden": 64}},
            "conditional_vae": {"epochs": 9.0},
            "flow": {"network": {"couplings": 3}},
            "autoencoders": {"epochs": 12.0},
            "reference": {"count": 250},
            "matching": {"epochs": 30.0},
        },
        augmentation=Augmentation(degrees=3, scale=0.08, shear=0.03, shift=0.07, flip=True),
    ),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        UsageError: the recipe is unknown; the message names the nearest.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def recipe_for(
    name: str,
    classes: Sequence[str],
    shape: tuple[int, int, int],
    images: int,
    *,
    light_on_dark: bool = False,
    flip: bool = False,
) -> Recipe:
    """A recipe for a user's own images.

    Args:
        name: of the bundle.
        classes: class names in the order of the logits.
        shape: (C, H, W) of the images at the working resolution.
        images: the number of training images of the explained classifier and the generative models.
        light_on_dark: whether they show light strokes on a dark ground.
        flip: whether left and right do not matter to the class.
    """
    channels, height, width = shape
    ground = "zeros" if light_on_dark else "border"
    return Recipe(
        name,
        tuple(classes),
        light_on_dark,
        by_steps=True,
        few=images <= FEW,
        batch_size=128 if images > FEW else 32,  # few images are learnt in more, smaller steps
        latents=32 if channels * height * width <= 1024 else 64,
        parts={
            "judge": {"network": {"stride": 4 if max(height, width) > 64 else 2}},
            "second_judge": {"architecture": "ConvNet"},
            "autoencoders": {"network": {"waist": 12 if channels == 1 else 24}},
            "retrained": {"network": {"width": 12}},
            "vae": {"network": {"normed": True}},
            "conditional_vae": {"network": {"normed": True}},
            "flow": {"network": {"normed": True}},
        },
        likelihood="gaussian",
        prelude=0.5,
        augmentation=Augmentation(degrees=6, scale=0.08, shear=0.05, shift=0.07, flip=flip, ground=ground),
    )


def shipped_test_images(bundle: Bundle, data: Path | None) -> Labelled:
    """The test split of the data set that a shipped bundle was trained on; arguments and errors as `shipped_images`."""
    return shipped_images(bundle, data, "test")


def shipped_images(bundle: Bundle, data: Path | None, own: Literal["train", "test"]) -> Labelled:
    """A split, as its makers made it, of the data set that a shipped bundle was trained on.

    Args:
        bundle: a bundle with the name of a recipe.
        data: directory of torchvision's data sets.
        own: the split; of "train", the classifier was trained on a part, and the judges on another.

    Raises:
        UsageError: there is no recipe of this name, or `data` is None.
        DataError: the data set is missing.
    """
    recipe = RECIPES.get(bundle.name)
    if recipe is None or recipe.images is None:
        raise UsageError(
            f"bundle {bundle.name}: cfx knows no data set of that name; give a directory of images with --images"
        )
    if data is None:
        raise UsageError(
            f"no images to ask about: give a directory of images (--images), or the directory of "
            f"{name_in_torchvision(recipe.images)} in torchvision's layout (--data, or CFX_DATA)"
        )
    images, _ = recipe.open(data)
    return images.load(
        torch.tensor([row for row, split in enumerate(images.splits) if split == own]), bundle.shape
    ).data
