"""Recipes: what a bundle is made from, and how much work goes into each of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data.augment import Augmentation
from ..data.errors import unknown_name


@dataclass(frozen=True)
class Recipe:
    """What a bundle is made from and how much work goes into each part.

    Attributes:
        name: of the bundle.
        classes: class names in the order of the labels.
        light_on_dark: whether its images are light strokes on a dark ground.
        images: what they are read from, as `load_torchvision` takes it; None where the user says.
        engine: the engine that does best with these models; None for cfx's default.
        share: of the training images that the explained classifier and the generative models see; the judges see
            the others.
        epochs: passes over the data, by part.
        latents: dimension of both VAEs.
        networks: arguments of a part's architecture that differ from its defaults, by part.
        likelihood, prelude: as in `ElboFit`, of both VAEs.
        augmentation: how the classifiers' training images are bent.
        second_judge: its architecture. A transformer errs elsewhere than the first, but takes long to learn.
        batch_size: images a step.
        mixup, noise: as in `ClassifierFit`, of the explained classifier; judges get the noise alone.
    """

    name: str
    classes: tuple[str, ...]
    light_on_dark: bool
    images: str | None = None
    engine: str | None = None
    share: float = 0.5
    epochs: Mapping[str, float] = field(default_factory=dict)
    latents: int = 32
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    likelihood: str = "bernoulli"
    prelude: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    second_judge: str = "PatchTransformer"
    batch_size: int = 128
    mixup: float = 0.3
    noise: float = 0.05

    def network(self, part: str) -> dict[str, Any]:
        """The arguments of a part's architecture that differ from its defaults."""
        return dict(self.networks.get(part, {}))


EPOCHS = {
    "classifier": 20.0,
    "judge": 14.0,
    "second_judge": 24.0,
    "retrained": 20.0,
    "guide": 5.0,
    "vae": 12.0,
    "conditional_vae": 16.0,
    "flow": 8.0,
    "autoencoders": 30.0,
}
"""Of the shipped bundles, whose data sets have tens of thousands of images."""

STEPS = {
    "classifier": 3000,
    "judge": 3000,
    "second_judge": 3000,
    "retrained": 3000,
    "guide": 800,
    "vae": 3000,
    "conditional_vae": 3500,
    "flow": 1800,
    "autoencoders": 450,
}
"""Steps of `batch_size` images that each part gets on a user's images: about what `EPOCHS` come to."""

FEW = 5000  # images
MOST_EPOCHS = 300  # on few images, more would be learning by heart

SURE = "projection"  # falls back on real images where the conditional VAE misses, and needs no gradients

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
        epochs=EPOCHS,
        networks={"classifier": {"width": 16}, "retrained": {"width": 10}},
        mixup=1.0,
        noise=0.1,
    ),
    "fashion-mnist": Recipe(
        "fashion-mnist",
        CLOTHES,
        light_on_dark=True,
        images="fashion-mnist",
        engine=SURE,
        share=2 / 3,
        epochs={**EPOCHS, "second_judge": 16.0, "retrained": 12.0, "conditional_vae": 9.0, "autoencoders": 12.0},
        networks={  # sized so that the bundle keeps below 15 MB
            "classifier": {"width": 32, "hidden": 128, "mean": 0.286, "std": 0.353},
            "retrained": {"width": 12, "hidden": 64},
            "flow": {"couplings": 3},
            "reference": {"count": 250},
        },
        augmentation=Augmentation(degrees=3, scale=0.08, shear=0.03, shift=0.07, flip=True),
    ),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        UsageError: no such recipe; names the nearest.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def recipe_for(
    name: str,
    classes: Sequence[str],
    shape: tuple[int, int, int],
    fitted: int,
    *,
    light_on_dark: bool = False,
    flip: bool = False,
) -> Recipe:
    """A recipe for a user's own images.

    Args:
        name: of the bundle.
        classes: class names in the order of the logits.
        shape: (C, H, W) that the models work in.
        fitted: images that the explained classifier and the generative models get to see.
        light_on_dark: whether they are light strokes on a dark ground.
        flip: whether left and right do not matter to the class.
    """
    channels, height, width = shape
    batch = 128 if fitted > FEW else 64  # small batches are quicker, and few images need no large ones
    ground = "zeros" if light_on_dark else "border"
    return Recipe(
        name,
        tuple(classes),
        light_on_dark,
        epochs={part: min(MOST_EPOCHS, steps * batch / max(1, fitted)) for part, steps in STEPS.items()},
        second_judge="ConvNet",
        batch_size=batch,
        latents=32 if channels * height * width <= 1024 else 64,
        networks={
            "judge": {"stride": 4 if max(height, width) > 64 else 2},
            "autoencoders": {"waist": 12 if channels == 1 else 24},
            "retrained": {"width": 12},
            "vae": {"normed": True},
            "conditional_vae": {"normed": True},
            "flow": {"normed": True},
        },
        likelihood="gaussian",
        prelude=0.5,
        augmentation=Augmentation(degrees=6, scale=0.08, shear=0.05, shift=0.07, flip=flip, ground=ground),
    )
