"""How each part of a bundle is made: one function a part, in the order in which they build on one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ..classifiers.convolutional import ConvNet, ResidualNet
from ..classifiers.fit import ClassifierFit
from ..classifiers.real_images import RealImages
from ..classifiers.retrained import Retrained
from ..classifiers.transformer import PatchTransformer
from ..data.datasets import Labelled, in_parts
from ..generative.anchors import LatentAnchors
from ..generative.autoencoders import AutoencoderFit, ClassAutoencoders
from ..generative.conditional_vae import ConditionalVAE, ConditionalVAEFit
from ..generative.flow import FlowFit, ImageFlow
from ..generative.vae import VAE, VAEFit
from .budget import WEIGHTS

if TYPE_CHECKING:
    from .workshop import Workshop

RETRAINED = 2  # classifiers
REFERENCES = 500  # real images a class whose features are kept, at most
GUIDES = (12, 20)  # widths of the two classifiers that supervise the conditional VAE
LEAST_AUTOENCODER_STEPS = 10  # an epoch, for a class of few images

SECOND_JUDGES = {"PatchTransformer": PatchTransformer, "ConvNet": ConvNet}

Made = tuple[nn.Module, str, dict[str, Any]]
"""model, the name of its architecture, the arguments that rebuild it"""


def make_classifier(shop: Workshop) -> Made:
    torch.manual_seed(0)
    arguments = {**shop.sizes, "classes": shop.count, **shop.pixels, **shop.recipe.network("classifier")}
    model = ConvNet(**arguments)
    if shop.joint:
        fit_conditional_vae(shop, model)
    else:
        fit_classifier(shop, model, "classifier", seed=0)
    return model, "ConvNet", arguments


def fit_classifier(
    shop: Workshop,
    model: nn.Module,
    label: str,
    seed: int,
    *,
    like: str | None = None,
    judges: bool = False,
    **more: Any,
) -> None:
    """Fit a classifier to the judges' images, or to those of the explained world, with mixup.

    Mixup leaves the explained classifier unsure where people are; see the README.

    Args:
        label: of the fit.
        like: the part whose epochs it gets, if that is not the label.
        more: what differs from the recipe's.
    """
    recipe = shop.recipe
    settings = {"noise": recipe.noise, "mixup": 0.0 if judges else recipe.mixup, **more}
    fit = ClassifierFit(
        model,
        shop.split.judge_fit if judges else shop.split.fit,
        epochs=recipe.epochs[like or label],
        batch_size=recipe.batch_size,
        augmentation=recipe.augmentation,
        seed=seed,
        **settings,
    )
    shop.fit(label, fit, judges=judges)


def make_judge(shop: Workshop) -> Made:
    torch.manual_seed(1)
    network = shop.recipe.network("judge")
    arguments = {"channels": shop.sizes["channels"], "classes": shop.count, "width": 24, **network}
    model = ResidualNet(**arguments)
    fit_classifier(shop, model, "judge", seed=1, judges=True)
    return model, "ResidualNet", arguments


def make_second_judge(shop: Workshop) -> Made:
    torch.manual_seed(6)
    arguments = {**shop.sizes, "classes": shop.count, **shop.recipe.network("second_judge")}
    if shop.recipe.second_judge == "ConvNet":
        arguments |= shop.pixels
    model = SECOND_JUDGES[shop.recipe.second_judge](**arguments)
    fit_classifier(shop, model, "second_judge", seed=6, judges=True)
    return model, shop.recipe.second_judge, arguments


def make_retrained(shop: Workshop) -> Made:
    """The explained classifier's recipe on the same images with other seeds, narrower to keep the bundle small."""
    torch.manual_seed(20)
    network = shop.recipe.network("retrained")
    arguments = {"count": RETRAINED, **shop.sizes, "classes": shop.count, **shop.pixels, **network}
    model = Retrained(**arguments)
    for place, member in enumerate(model.members):
        fit_classifier(shop, member, f"retrained-{place}", seed=20 + place, like="retrained")
    return model, "Retrained", arguments


def make_vae(shop: Workshop) -> Made:
    torch.manual_seed(2)
    arguments = {**shop.sizes, "latents": shop.recipe.latents, **shop.recipe.network("vae")}
    fit = VAEFit(VAE(**arguments), shop.split.fit, **vae_settings(shop, "vae"), seed=2)
    shop.fit("vae", fit)
    return fit.finished(), "VAE", arguments


def vae_settings(shop: Workshop, part: str) -> dict[str, Any]:
    """What the recipe says of how the VAE or the conditional VAE is fitted."""
    recipe = shop.recipe
    return {
        "epochs": recipe.epochs[part],
        "batch_size": recipe.batch_size,
        "likelihood": recipe.likelihood,
        "prelude": recipe.prelude,
    }


@torch.no_grad()
def make_anchors(shop: Workshop, count: int = 200, sure: float = 0.95) -> Made:
    """Latents of the first images of each class whose reconstruction the classifier is sure of.

    Where a class has too few of those, the next surest follow.
    """
    vae = cast(VAE, shop.bundle.part("vae"))
    per_class = [shop.split.fit.of_class(label)[: 10 * count] for label in range(shop.count)]
    count = min(count, max(len(data) for data in per_class))
    arguments = {"classes": shop.count, "count": count, "latents": shop.recipe.latents}
    model = LatentAnchors(**arguments)
    for label, data in enumerate(per_class):
        if not len(data):
            continue
        latents = in_parts(vae.encode, data.floats())
        drawn = in_parts(vae.decode, latents)
        confidence = shop.probabilities_of(drawn)[:, label]
        # A stable sort keeps the data's own order among all those that are sure.
        order = confidence.clamp(max=sure).sort(descending=True, stable=True).indices[:count]
        model.latents[label, : len(order)] = latents[order]
    return model, "LatentAnchors", arguments


def fit_conditional_vae(shop: Workshop, predictor: nn.Module | Tensor) -> ConditionalVAE:
    """Two small guides first, then the conditional VAE on `predictor`'s probabilities."""
    guides: list[nn.Module] = []
    for place, width in enumerate(GUIDES):
        torch.manual_seed(10 + place)
        guide = ConvNet(**shop.sizes, classes=shop.count, width=width, **shop.pixels)
        label, noise = f"conditional_vae-guide-{place}", 2 * shop.recipe.noise
        fit_classifier(shop, guide, label, seed=10 + place, like="guide", noise=noise, mixup=0.2 * place)
        guides.append(guide)
    torch.manual_seed(3)
    model = ConditionalVAE(**conditional_vae_arguments(shop))
    fit = ConditionalVAEFit(
        model,
        predictor,
        guides,
        shop.split.fit,
        **vae_settings(shop, "conditional_vae"),
        joint=shop.joint,
        present=torch.tensor(shop.present),
        seed=3,
    )
    shop.fit("conditional_vae", fit)
    return fit.finished()


def conditional_vae_arguments(shop: Workshop) -> dict[str, Any]:
    network = shop.recipe.network("conditional_vae")
    return {**shop.sizes, "classes": shop.count, "latents": shop.recipe.latents, **network}


def make_conditional_vae(shop: Workshop) -> Made:
    arguments = conditional_vae_arguments(shop)
    if shop.joint:  # the classifier's own fit has left a finished checkpoint, which this only reads
        network = {**shop.sizes, "classes": shop.count, **shop.pixels, **shop.recipe.network("classifier")}
        return fit_conditional_vae(shop, ConvNet(**network)), "ConditionalVAE", arguments
    return fit_conditional_vae(shop, shop.probabilities("fit")), "ConditionalVAE", arguments


def make_flow(shop: Workshop) -> Made:
    torch.manual_seed(4)
    sizes = {**shop.sizes, "classes": shop.count, "latents": shop.recipe.latents}
    arguments: dict[str, Any] = {**sizes, **shop.recipe.network("flow")}
    model = ImageFlow(**arguments)
    vae = cast(VAE, shop.bundle.part("vae"))
    epochs, batch_size = shop.recipe.epochs["flow"], 2 * shop.recipe.batch_size
    shop.fit("flow", FlowFit(model, vae, shop.split.fit, epochs=epochs, batch_size=batch_size, seed=4))
    return model, "ImageFlow", arguments


def make_autoencoders(shop: Workshop) -> Made:
    torch.manual_seed(5)
    arguments = {"classes": shop.count, **shop.sizes, **shop.recipe.network("autoencoders")}
    model = ClassAutoencoders(**arguments)
    epochs, batch_size = shop.recipe.epochs["autoencoders"], shop.recipe.batch_size // 2
    everything = shop.split.judge_fit
    for label in shop.present:
        of_class = model.of_class[label]
        data = everything.of_class(label)
        fit = AutoencoderFit(of_class, data, epochs=epochs, batch_size=batch_size, seed=100 + label)  # pyright: ignore[reportArgumentType]
        fit.total_steps = max(fit.total_steps, round(LEAST_AUTOENCODER_STEPS * epochs))
        shop.fit(f"autoencoders-{label}", fit, judges=True, of_class=label)
    fit = AutoencoderFit(model.of_all, everything, epochs=epochs / 3, batch_size=batch_size, seed=99)
    shop.fit("autoencoders-all", fit, judges=True)
    return model, "ClassAutoencoders", arguments


@torch.no_grad()
def make_reference(shop: Workshop, levels: int = 200) -> Made:
    """Judge features of training images, and how far the test images of each class are from them."""
    count = shop.recipe.network("reference").get("count", REFERENCES)
    judge = cast(ResidualNet, shop.bundle.part("judge"))
    per_class = [shop.split.judge_fit.of_class(label) for label in range(shop.count)]
    count = min(count, max(len(data) for data in per_class))
    arguments = {"classes": shop.count, "count": count, "features": judge.head.in_features, "levels": levels}
    model = RealImages(**arguments)
    for label in shop.present:
        data = per_class[label][:count]
        model.features[label, : len(data)] = embed(judge, data).half()
    for label in shop.present:
        features = embed(judge, shop.split.test.of_class(label))
        distances = model.distance(features, torch.full((len(features),), label))
        model.distances[label] = distances.quantile(torch.linspace(0, 1, levels))
    return model, "RealImages", arguments


def embed(judge: ResidualNet, data: Labelled) -> Tensor:
    """The judge's features of a data set, (N, F)."""
    return torch.cat([judge.embed(part.floats()) for part in data.batches(500)])


MAKERS: dict[str, Callable[[Workshop], Made]] = {
    "classifier": make_classifier,
    "judge": make_judge,
    "second_judge": make_second_judge,
    "retrained": make_retrained,
    "vae": make_vae,
    "anchors": make_anchors,
    "conditional_vae": make_conditional_vae,
    "flow": make_flow,
    "autoencoders": make_autoencoders,
    "reference": make_reference,
}


NEEDS = {
    "retrained": ("classifier",),
    "vae": ("judge",),
    "anchors": ("classifier", "vae"),
    "conditional_vae": ("classifier", "judge"),
    "flow": ("vae",),
    "reference": ("judge",),
}
"""The parts that making or measuring a part asks something of."""


HOLD = {"vae": ("anchors", "flow"), "judge": ("reference",)}
"""The parts that hold what a part has drawn or seen, and are worth nothing once it is made anew."""


def fits_of(part: str, present: Sequence[int]) -> list[tuple[str, float]]:
    """The labels of the fits that a part takes, each with its share of a budget."""
    if part == "retrained":
        return [(f"retrained-{place}", WEIGHTS[part] / RETRAINED) for place in range(RETRAINED)]
    if part == "conditional_vae":
        guides = [(f"conditional_vae-guide-{place}", WEIGHTS["guides"] / len(GUIDES)) for place in range(len(GUIDES))]
        return [*guides, (part, WEIGHTS[part])]
    if part == "autoencoders":
        share = WEIGHTS[part] / (len(present) + 2)
        return [*((f"autoencoders-{label}", share) for label in present), ("autoencoders-all", 2 * share)]
    return [(part, WEIGHTS[part])] if part in WEIGHTS else []
