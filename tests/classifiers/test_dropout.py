"""Networks that dropout makes of a classifier: fixed, of the right spread, and without a trace on the classifier."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle
from cfx.classifiers.foreign.adapted import Adapted
from cfx.classifiers.foreign.preprocessing import Preprocessing
from cfx.classifiers.introspection.dropout import DROPOUTS, DropoutNetworks


def test_an_image_meets_the_same_networks_whoever_is_beside_it(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][::40]
    networks = DropoutNetworks(bundle.classifier, 5, images[:1])
    together = networks(images)
    assert together.shape == (5, 10, 10)
    assert torch.equal(together, networks(images))
    in_twos = Adapted(bundle.classifier, Preprocessing(1), fixed_batch=2)
    assert torch.allclose(DropoutNetworks(in_twos, 5, images[:1])(images), together, atol=1e-4), (
        "in several calls of the model"
    )
    singles = torch.cat([networks(images[place : place + 1]) for place in range(10)], dim=1)
    assert torch.allclose(together, singles, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=0.1), "they differ"
    assert not torch.allclose(together, DropoutNetworks(bundle.classifier, 5, images[:1], seed=1)(images), atol=0.1)


def test_they_spread_as_the_classifier_in_training_does(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    """In `ConvNet` the dropout is followed by a linear layer, so that the mean of the logits is known exactly."""
    images, classifier = digits[0][::40], bundle.classifier
    found = DropoutNetworks(classifier, 400, images[:1])(images)
    (dropout,) = (module for module in classifier.modules() if isinstance(module, nn.Dropout))
    torch.manual_seed(0)
    dropout.train()
    try:
        usual = torch.stack([classifier(images) for _ in range(400)])
    finally:
        dropout.eval()
    scale = float(usual.std(dim=0).mean())
    assert float((found.mean(dim=0) - classifier(images)).abs().mean()) < 0.1 * scale
    assert float(found.std(dim=0).mean()) == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize("kind", DROPOUTS)
def test_units_or_whole_maps_are_left_out(kind: type[nn.Module]):
    sides = {nn.Dropout: 2, nn.Dropout1d: 1, nn.Dropout2d: 2, nn.Dropout3d: 3}[kind]  # pyright: ignore
    network = nn.Sequential(kind(0.5), nn.Flatten()).eval()
    ones = torch.ones(2, 64, *(4,) * sides)
    kept = DropoutNetworks(network, 3, ones[:1])(ones).view(3, 2, 64, -1)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    whole = bool((kept == kept[..., :1]).all())
    assert whole == (kind is not nn.Dropout)


def test_the_classifier_is_left_as_it_is(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][:4].clone().requires_grad_()
    before = bundle.classifier(images.detach())
    DropoutNetworks(bundle.classifier, 3, images[:1].detach())(images).sum().backward()
    assert images.grad is not None and float(images.grad.abs().sum()) > 0
    assert torch.equal(bundle.classifier(images.detach()), before)
    assert not any(module._forward_hooks for module in bundle.classifier.modules())


class WithSpare(nn.Module):
    """A network with a dropout layer that its forward pass leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.spare, self.head = nn.Dropout(0.5), nn.Linear(784, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1))


def test_only_layers_that_an_image_goes_through_count(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    image = digits[0][:1]
    assert not DropoutNetworks(bundle.classifier.__call__, 3, image).layers
    assert not DropoutNetworks(nn.Sequential(nn.Dropout(0.0), nn.Flatten()), 3, image).layers
    assert not DropoutNetworks(WithSpare().eval(), 3, image).layers


class SequenceFirst(nn.Module):
    """A network whose dropout sees rows of pixels first, as PyTorch's encoders do, and then images first.

    It cannot read a batch whose images share their memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        rows = self.dropout(images.view(-1, *images.shape[2:]).permute(1, 0, 2))
        return self.dropout(rows.permute(1, 0, 2).flatten(1))


def test_sequences_may_come_first():
    images = torch.rand(6, 1, 5, 7)
    networks = DropoutNetworks(SequenceFirst().eval(), 4, images[:1])
    together = networks(images)
    assert torch.equal(torch.cat([networks(images[place : place + 1]) for place in range(6)], dim=1), together)
    dropped = together == 0
    assert bool((dropped == dropped[:, :1]).all()) and 0.6 < float(dropped.float().mean()) < 0.9
    assert not torch.equal(dropped[0], dropped[1])


@pytest.mark.parametrize(("count", "again"), [(3, 0), (400, 4)])
def test_for_the_gradient_of_a_large_batch_a_network_is_asked_again_instead_of_kept(
    digits: tuple[Tensor, Tensor], count: int, again: int
):
    """What backward needs is computed network by network, so that only one's activations are in memory."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Dropout(0.5)).eval()
    calls: list[int] = []
    network.register_forward_pre_hook(lambda *_: calls.append(1))
    images = digits[0][:count].clone().requires_grad_()
    networks = DropoutNetworks(network, 4, images[:1].detach())
    calls.clear()
    found = networks(images)
    assert len(calls) == 4
    found.sum().backward()
    assert len(calls) == 4 + again and images.grad is not None
