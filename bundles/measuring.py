"""What is measured of each part on images that it was not fitted to, and whether that is good enough to trust."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ..classifiers.fit import accuracy
from ..classifiers.retrained import Retrained
from ..data.datasets import in_parts
from ..generative.autoencoders import ClassAutoencoders
from ..generative.conditional_vae import ConditionalVAE
from ..generative.flow import ImageFlow, bits_per_dim
from ..generative.vae import VAE

if TYPE_CHECKING:
    from .workshop import Workshop

LOOKED_AT = 2000  # test images

Measured = dict[str, float]


def measure_classifier(shop: Workshop, model: nn.Module) -> Measured:
    commonest = float(shop.split.test.labels.bincount().max()) / len(shop.split.test)
    return {"test_accuracy": round(accuracy(model, shop.split.test), 5), "commonest_class": round(commonest, 5)}


def measure_retrained(shop: Workshop, model: nn.Module) -> Measured:
    members = cast(Retrained, model).members
    return {"test_accuracy": round(sum(accuracy(m, shop.split.test) for m in members) / len(members), 5)}


@torch.inference_mode()
def measure_vae(shop: Workshop, model: nn.Module) -> Measured:
    model = cast(VAE, model)
    images, labels = shop.split.test.floats(slice(0, LOOKED_AT)), shop.split.test.labels[:LOOKED_AT]
    drawn = in_parts(lambda part: model.decode(model.encode(part)), images)
    judge = shop.bundle.part("judge")
    kept = in_parts(judge, drawn).argmax(dim=1) == labels
    real = in_parts(judge, images).argmax(dim=1) == labels
    return {
        **reconstruction(shop, images, drawn),
        "judge_recognises": share(kept),
        "judge_recognises_real": share(real),
    }


@torch.inference_mode()
def measure_conditional_vae(shop: Workshop, model: nn.Module) -> Measured:
    """Reconstruction, and how often a judge sees the class that a swapped condition asks for."""
    model = cast(ConditionalVAE, model)
    images, labels = shop.split.test.floats(slice(0, LOOKED_AT)), shop.split.test.labels[:LOOKED_AT]
    latents = in_parts(model.encode, images)
    drawn = in_parts(model.decode, latents, shop.probabilities("test", LOOKED_AT))
    asked = next_class(labels, shop.present)
    swapped = in_parts(model.decode, latents, nn.functional.one_hot(asked, shop.count).float())
    seen = in_parts(shop.bundle.part("judge"), swapped).argmax(dim=1) == asked
    return {**reconstruction(shop, images, drawn), "judge_sees_swap": share(seen)}


@torch.inference_mode()
def measure_flow(shop: Workshop, model: nn.Module) -> Measured:
    """Bits per dimension of dequantised test images (an upper bound), and the largest error of a round trip.

    Beside it stand those of a Gaussian a pixel, which knows nothing of how pixels hang together.
    """
    model = cast(ImageFlow, model)
    images = shop.split.test.floats(slice(0, LOOKED_AT))
    bits = bits_per_dim(in_parts(model.log_prob, images).mean(), images[0].numel())
    sample = shop.split.fit.floats(slice(0, LOOKED_AT))
    each = torch.distributions.Normal(sample.mean(dim=0), sample.std(dim=0).clamp(min=1 / 255))
    alone = bits_per_dim(each.log_prob(images).sum(dim=(1, 2, 3)).mean(), images[0].numel())
    worst = float((in_parts(lambda part: model.decode(model.encode(part)), images) - images).abs().max())
    return {
        "bits_per_dim": round(float(bits), 4),
        "bits_per_dim_of_single_pixels": round(float(alone), 4),
        "round_trip_error": float(f"{worst:.2g}"),
    }


@torch.inference_mode()
def measure_autoencoders(shop: Workshop, model: nn.Module) -> Measured:
    model = cast(ClassAutoencoders, model)
    images, labels = shop.split.test.floats(slice(0, LOOKED_AT)), shop.split.test.labels[:LOOKED_AT]
    own = (images - model.reconstruct(images, labels)).square().mean()
    other = (images - model.reconstruct(images, next_class(labels, shop.present))).square().mean()
    return {"own_class_error": round(float(own), 5), "other_class_error": round(float(other), 5)}


def reconstruction(shop: Workshop, images: Tensor, drawn: Tensor) -> Measured:
    """Mean squared error a pixel, and the share of the variance about the mean image that is drawn."""
    error = (drawn - images).square().mean()
    spread = (images - shop.split.fit.floats(slice(0, LOOKED_AT)).mean(dim=0)).square().mean()
    return {
        "reconstruction_error": round(float(error), 5),
        "variance_explained": round(1 - float(error / spread.clamp(min=1e-9)), 5),
    }


def next_class(labels: Tensor, present: list[int]) -> Tensor:
    """For each label (N,) the class that follows it among those that have images."""
    following = {label: present[(place + 1) % len(present)] for place, label in enumerate(present)}
    return torch.tensor([following.get(label, present[0]) for label in labels.tolist()])


def share(yes: Tensor) -> float:
    return round(float(yes.float().mean()), 5)


MEASURES: dict[str, Callable[[Workshop, nn.Module], Measured]] = {
    "classifier": measure_classifier,
    "judge": measure_classifier,
    "second_judge": measure_classifier,
    "retrained": measure_retrained,
    "vae": measure_vae,
    "conditional_vae": measure_conditional_vae,
    "flow": measure_flow,
    "autoencoders": measure_autoencoders,
}


def judge_of_classifier(shop: Workshop, measured: Mapping[str, float]) -> tuple[bool, str]:
    right, commonest = measured["test_accuracy"], measured["commonest_class"]
    says = f"right on {right:.1%} of test images; always naming the commonest class would be on {commonest:.1%}"
    good = right >= commonest + 0.5 * (1 - commonest)
    return good, says if good else f"{says}: what it sees is hardly worth explaining"


def judge_of_judge(shop: Workshop, measured: Mapping[str, float]) -> tuple[bool, str]:
    right = measured["test_accuracy"]
    explained = shop.bundle.parts.get("classifier", {}).get("measured", {}).get("test_accuracy", right)
    says = f"right on {right:.1%} of test images, the explained classifier on {explained:.1%}"
    good = right >= explained - 0.05
    return good, says if good else f"{says}: where it disagrees with a counterfactual, it may be the one in error"


def judge_of_vae(shop: Workshop, measured: Mapping[str, float]) -> tuple[bool, str]:
    explained, kept, real = (
        measured[name] for name in ("variance_explained", "judge_recognises", "judge_recognises_real")
    )
    drawn = f"draws {max(0.0, explained):.0%} of the images' variance"
    says = f"{drawn}; the judge recognises {kept:.1%} of what it draws and {real:.1%} of the images themselves"
    good = explained >= 0.75 and kept >= 0.85 * real
    return good, says if good else f"{says}: counterfactuals will be blurry"


def judge_of_conditional_vae(shop: Workshop, measured: Mapping[str, float]) -> tuple[bool, str]:
    explained, seen = measured["variance_explained"], measured["judge_sees_swap"]
    drawn = f"draws {max(0.0, explained):.0%} of the images' variance"
    says = f"{drawn}; told to draw another class, the judge sees that class in {seen:.1%}"
    good = explained >= 0.6 and seen >= 0.7
    why = "vcnet and projection will often miss" if seen < 0.7 else "counterfactuals will be blurry"
    return good, says if good else f"{says}: {why}"


def judge_of_flow(shop: Workshop, measured: Mapping[str, float]) -> tuple[bool, str]:
    bits, alone = measured["bits_per_dim"], measured["bits_per_dim_of_single_pixels"]
    inverts = f"inverts to {measured['round_trip_error']:g}"
    says = f"{bits:.2f} bits per dimension, {alone:.2f} for pixels by themselves; {inverts}"
    good = bits < alone and measured["round_trip_error"] < 1e-2
    return good, says if good else f"{says}: diffeo's prior means little"


def judge_of_autoencoders(shop: Workshop, measured: Mapping[str, float]) -> tuple[bool, str]:
    own, other = measured["own_class_error"], measured["other_class_error"]
    says = f"error {own:.4f} on their own class, {other:.4f} on another"
    good = own < 0.9 * other
    return good, says if good else f"{says}: IM1 hardly tells classes apart"


VERDICTS: dict[str, Callable[[Workshop, Mapping[str, float]], tuple[bool, str]]] = {
    "classifier": judge_of_classifier,
    "judge": judge_of_judge,
    "second_judge": judge_of_judge,
    "vae": judge_of_vae,
    "conditional_vae": judge_of_conditional_vae,
    "flow": judge_of_flow,
    "autoencoders": judge_of_autoencoders,
}
"""part -> verdict(workshop, what was measured) -> whether it is good enough to trust, and why, in one sentence."""
