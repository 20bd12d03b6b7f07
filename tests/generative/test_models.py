"""The generative models of the shipped bundle, on real digits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cfx.bundles.bundle import Bundle
from cfx.classifiers.convolutional import ConvNet
from cfx.generative.anchors import LatentAnchors
from cfx.generative.conditional_vae import ConditionalVAE
from cfx.generative.flow import ImageFlow
from cfx.generative.layers import Halvings
from cfx.generative.vae import VAE
from cfx.judges.autoencoders import ClassAutoencoders
from cfx.judges.residual import ResidualNet
from cfx.judges.transformer import PatchTransformer
from cfx.training.adversary import Discriminator
from cfx.training.averaging import moving_average
from cfx.training.elbo import kl_to_standard_normal


def test_the_flow_is_a_bijection_on_real_digits(bundle: Bundle, digits):
    flow = bundle.part("flow")
    images = digits[0][::4]
    latents = flow.encode(images)
    assert latents.shape == (len(images), flow.latents + 784)
    assert (flow.decode(latents) - images).abs().max() < 1e-4


def test_the_flow_finds_digits_likelier_than_their_shuffled_pixels(bundle: Bundle, digits):
    flow = bundle.part("flow")
    images = digits[0][::10]
    order = torch.randperm(784, generator=torch.Generator().manual_seed(0))
    shuffled = images.flatten(1)[:, order].view_as(images)
    assert (flow.log_prob(images) > flow.log_prob(shuffled)).all()


def test_the_flow_and_its_noise_are_a_bijection_both_ways(bundle: Bundle):
    flow = bundle.part("flow")
    base = torch.randn(16, flow.latents + 784, generator=torch.Generator().manual_seed(0))
    pixels, noise = flow.from_base(base)
    again, _ = flow.to_base(pixels, noise)
    assert (again - base).abs().max() < 1e-3


def test_the_flows_log_determinant_is_that_of_its_jacobian():
    torch.manual_seed(0)
    flow = ImageFlow(channels=1, size=4, classes=2, latents=3, couplings=2, hidden=8).double().eval()
    flow.residual.s.data.uniform_(-1, 1)
    state = torch.rand(1, 16 + 3, dtype=torch.float64)

    def forward(state: torch.Tensor) -> torch.Tensor:
        return flow.to_base(state[None, :16], state[None, 16:])[0][0]

    jacobian = torch.autograd.functional.jacobian(forward, state[0])
    _, log_determinant = flow.to_base(state[:, :16], state[:, 16:])
    assert log_determinant.item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-6)


def test_the_flows_base_density_is_that_of_normflows(bundle: Bundle, digits):
    flow = bundle.part("flow")
    images, labels = digits[0][::50], digits[1][::50]
    base = flow.encode(images)
    ours = flow.base_log_prob(base).gather(1, labels[:, None]).squeeze(1)
    detail = torch.distributions.Normal(0, 1).log_prob(base[:, flow.latents :]).sum(dim=1)
    theirs = flow.base.log_prob(base[:, : flow.latents], labels) + detail
    assert torch.allclose(ours, theirs, rtol=1e-4)


def test_the_vae_keeps_what_it_encodes(bundle: Bundle, digits):
    images, labels = digits
    drawn = bundle.part("vae").decode(bundle.part("vae").encode(images))
    assert (drawn - images).square().mean() < 0.02
    assert (bundle.part("judge")(drawn).argmax(dim=1) == labels).float().mean() > 0.95


def test_the_conditional_vae_draws_the_class_it_is_told(bundle: Bundle, digits):
    images, labels = digits
    model = bundle.part("conditional_vae")
    told = (labels + 1) % 10
    drawn = model.decode(model.encode(images), F.one_hot(told, 10).float())
    assert (bundle.part("judge")(drawn).argmax(dim=1) == told).float().mean() > 0.95


def test_class_free_latents_do_not_tell_the_class(bundle: Bundle, digits):
    """A nearest-mean classifier on the latents does far worse than on the VAE's."""
    images, labels = digits
    right = {}
    for name in ("vae", "conditional_vae"):
        latents = bundle.part(name).encode(images)
        means = torch.stack([latents[::2][labels[::2] == label].mean(dim=0) for label in range(10)])
        guessed = torch.cdist(latents[1::2], means).argmin(dim=1)
        right[name] = float((guessed == labels[1::2]).float().mean())
    assert right["conditional_vae"] < 0.6 * right["vae"]


def test_the_anchors_are_real_images_that_the_classifier_recognises(bundle: Bundle):
    anchors, vae = bundle.part("anchors"), bundle.part("vae")
    for label in (0, 4, 9):
        drawn = vae.decode(anchors.latents[label])
        assert (bundle.classifier(drawn).argmax(dim=1) == label).float().mean() > 0.98


def test_nearest_anchors_by_hand():
    anchors = LatentAnchors(classes=2, count=3, latents=1)
    anchors.latents[1] = torch.tensor([[0.0], [5.0], [2.0]])
    nearest = anchors.nearest(torch.tensor([[1.8]]), torch.tensor([1]), count=2)
    assert nearest.squeeze().tolist() == [2.0, 0.0]


def test_distances_to_the_anchors_of_the_target_by_hand():
    anchors = LatentAnchors(classes=2, count=2, latents=2)
    anchors.latents[0] = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    anchors.latents[1] = torch.tensor([[0.0, 2.0], [6.0, 8.0]])
    found = anchors.distances(torch.zeros(3, 2), torch.tensor([1, 0, 1]))
    assert torch.allclose(found, torch.tensor([[2.0, 10.0], [5.0, 1.0], [2.0, 10.0]]))


def test_reach_by_hand():
    anchors = LatentAnchors(classes=1, count=3, latents=1)
    anchors.latents[0] = torch.tensor([[0.0], [1.0], [5.0]])  # nearest others at 1, 1 and 4
    assert anchors.reach(0.5).item() == 1 and anchors.reach(1.0).item() == 4
    assert LatentAnchors(classes=1, count=1, latents=1).reach(0.5).item() == torch.inf


def test_kl_by_hand():
    mean, log_variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    assert kl_to_standard_normal(mean, log_variance).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("channels", "size"), [(1, 28), (3, (40, 32)), (3, (30, 45)), (1, (17, 9)), (3, (128, 96)), (1, (14, 100))]
)
def test_networks_take_images_of_any_size_and_colour(channels: int, size: int | tuple[int, int]):
    sides = (size, size) if isinstance(size, int) else size
    images = torch.rand(2, channels, *sides, generator=torch.Generator().manual_seed(0))
    vae, conditional = (
        VAE(channels, size, latents=8).eval(),
        ConditionalVAE(channels, size, classes=3, latents=8).eval(),
    )
    flow = ImageFlow(channels, size, classes=3, latents=8, couplings=1, hidden=8).eval()
    with torch.no_grad():
        assert vae.decode(vae.encode(images)).shape == images.shape
        assert conditional.decode(conditional.encode(images), torch.eye(3)[:2]).shape == images.shape
        assert torch.allclose(flow.decode(flow.encode(images)), images, atol=1e-4)
        assert ClassAutoencoders(3, channels, size).reconstruct(images, torch.tensor([0, 2])).shape == images.shape
        for classifier in (ConvNet(channels, size, 3, width=4), PatchTransformer(channels, size, 3, width=8, depth=1)):
            assert classifier.eval()(images).shape == (2, 3)
        assert ResidualNet(channels, 3, width=4, stride=4).eval()(images).shape == (2, 3)
        assert Discriminator(channels, size, classes=3).eval()(images, torch.tensor([0, 2])).shape == (2,)


def test_halvings_fill_up_and_cut_off_what_cannot_be_halved():
    halvings = Halvings((30, 45))
    images = torch.rand(1, 3, 30, 45)
    filled = halvings.fill(images)
    assert filled.shape == (1, 3, 32, 48) and halvings.inner == (8, 12)
    assert torch.equal(filled[..., 31, :45], images[..., 29, :]), "the last row is repeated"
    assert torch.equal(halvings.cut(filled), images)
    whole = torch.rand(1, 1, 28, 28)
    assert Halvings(28).fill(whole) is whole


def test_classes_with_fewer_anchors_are_filled_up_with_none_that_is_ever_near():
    anchors = LatentAnchors(classes=3, count=4, latents=2)
    anchors.latents[0] = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    anchors.latents[1, :2] = torch.tensor([[5.0, 0.0], [6.0, 0.0]])
    near = anchors.nearest(torch.tensor([[5.1, 0.0]]), torch.tensor([1]), count=3)
    assert near[0].tolist() == [[5.0, 0.0], [6.0, 0.0], [5.0, 0.0]], (
        "the nearest stands in for those that are not there"
    )
    assert anchors.reach(1.0).tolist() == [1.0, 1.0, torch.inf]


def test_a_short_training_does_not_end_where_it_began():
    model = torch.nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = moving_average(model)
    for step in range(1, 301):
        model.weight.data.fill_(float(step))
        average.update_parameters(model)
    weight = float(average.module.weight.detach())
    assert 200 < weight < 300, "of 300 steps, about the last fifth"
