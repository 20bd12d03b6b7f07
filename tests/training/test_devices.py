"""Every fit computes on the device of its images; checked with tensors that have a device but no values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from cfx.bundles.bundle import Bundle
from cfx.bundles.known_parts import BY_NAME
from cfx.classifiers.convolutional import ConvNet
from cfx.generative.conditional_vae import ConditionalVAE
from cfx.generative.vae import VAE
from cfx.generative.velocity import VelocityField
from cfx.images.sets.labelled import Labelled
from cfx.images.sets.split import Split
from cfx.judges.autoencoders import Autoencoder
from cfx.training import averaging
from cfx.training.augment import Augmentation
from cfx.training.classifier_fit import ClassifierFit
from cfx.training.fit import Fit
from cfx.training.parts.autoencoders import AutoencoderFit
from cfx.training.parts.conditional_vae import ConditionalVAEFit
from cfx.training.parts.matching import MatchingFit
from cfx.training.parts.vae import VAEFit
from cfx.training.recipe import Recipe
from cfx.training.session import TrainingSession


def probabilities(images: Tensor) -> Tensor:
    return torch.rand(len(images), 10).softmax(dim=1)


# Not the flow's: building normflows' layers depends on values.
FITS: dict[str, Callable[[Labelled], Fit]] = {
    "classifier": lambda data: ClassifierFit(
        ConvNet(width=4), data, noise=0.1, augmentation=Augmentation(degrees=3, flip=True)
    ),
    "autoencoder": lambda data: AutoencoderFit(Autoencoder(), data),
    "vae": lambda data: VAEFit(VAE(latents=8), data),
    "conditional_vae": lambda data: ConditionalVAEFit(
        ConditionalVAE(latents=8), probabilities(data.images), [ConvNet(width=4)], data
    ),
    "matching": lambda data: MatchingFit(
        VelocityField(1, 28, 10, width=16), probabilities(data.images), probabilities, data, epochs=1
    ),
}


class NotAveraged(nn.Module):
    def __init__(self, model: nn.Module, avg_fn: object) -> None:
        super().__init__()
        self.module = model

    def update_parameters(self, model: nn.Module) -> None:
        pass


@pytest.mark.parametrize("name", FITS)
def test_a_step_and_a_check_stay_on_the_device_of_the_images(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "to", lambda self, **_: self)  # memory formats, which such tensors do not have
    monkeypatch.setattr(Tensor, "backward", lambda _: None)  # needs a real device
    monkeypatch.setattr(averaging, "AveragedModel", NotAveraged)  # which copies and reads values
    with FakeTensorMode(), torch.device("cuda"):
        data = Labelled(torch.zeros(64, 1, 28, 28, dtype=torch.uint8), torch.arange(64) % 10)
        fit = FITS[name](data)
        losses = fit.step(fit.total_steps - 1)  # after the prelude
        assert {loss.device.type for loss in losses.values()} == {"cuda"}
        assert fit.check(data[:32]).device.type == "cuda"


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_killed_and_resumed_on_an_accelerator_every_part_is_made(
    tiny: Recipe, split: Split[Labelled], tmp_path: Path, told: Any
):
    def kill(part: str, *_: object) -> None:
        if part == "conditional_vae":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TrainingSession(tiny, split, tmp_path, command="cfx train", progress=told(kill), device="cuda").make()
    TrainingSession(tiny, split, tmp_path, command="cfx train", device="cuda").make()
    made = Bundle(tmp_path)
    made.verify()
    assert set(made.parts) == set(BY_NAME)
