"""Every fit computes on the device of its images; checked with tensors that have a device but no values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from cfx.classifiers.convolutional import ConvNet
from cfx.generative.conditional_vae import ConditionalVAE
from cfx.generative.vae import VAE
from cfx.generative.velocity import VelocityField
from cfx.images.sets.labelled import Labelled
from cfx.judges.autoencoders import Autoencoder
from cfx.training import averaging
from cfx.training.augment import Augmentation
from cfx.training.classifier_fit import ClassifierFit
from cfx.training.fit import Fit
from cfx.training.parts.autoencoders import AutoencoderFit
from cfx.training.parts.conditional_vae import ConditionalVAEFit
from cfx.training.parts.matching import MatchingFit
from cfx.training.parts.vae import VAEFit


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
