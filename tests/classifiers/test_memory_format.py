"""The memory format of a foreign classifier: another one only where the answers stay, and the time does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cfx.classifiers.foreign.memory_format import prefers_channels_last, seconds_of
from cfx.classifiers.foreign.opening import describe, open_classifier, reopen

IMAGES = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3, stride=4))
        self.end = end
        self.head = nn.Linear(8 * 7 * 7, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.end(self.layers(images)))


def flat(features: Tensor) -> Tensor:
    return features.flatten(1)


def viewed(features: Tensor) -> Tensor:
    return features.view(len(features), -1)


def as_stored(features: Tensor) -> Tensor:
    return features.as_strided((len(features), 8 * 7 * 7), (8 * 7 * 7, 1))


def is_channels_last(model: nn.Module) -> bool:
    (weight, *_) = (each for each in model.parameters() if each.dim() == 4)
    return weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def clock(gain: float) -> Callable[[nn.Module, Tensor], float]:
    """A run that is so many times as fast in the channels-last format."""
    return lambda model, _: 1 / gain if is_channels_last(model) else 1.0


@pytest.mark.parametrize(("gain", "taken"), [(2.0, True), (1.1, False), (0.5, False)])
def test_it_is_taken_where_it_is_clearly_faster(gain: float, taken: bool):
    net = Net(flat).eval()
    before = net(IMAGES)
    assert prefers_channels_last(net, IMAGES, seconds=clock(gain)) == taken == is_channels_last(net)
    assert torch.allclose(net(IMAGES), before, atol=1e-5)


@pytest.mark.parametrize("end", [viewed, as_stored])
def test_a_classifier_that_fails_or_answers_otherwise_stays_as_it_is(end: Callable[[Tensor], Tensor]):
    net = Net(end).eval()
    before = net(IMAGES)
    assert not prefers_channels_last(net, IMAGES, seconds=clock(9.0)) and not is_channels_last(net)
    assert torch.equal(net(IMAGES), before)


def test_a_classifier_whose_gradient_fails_stays_as_it_is():
    def in_place(features: Tensor) -> Tensor:
        return features.sigmoid_().mul_(2).flatten(1)  # the sigmoid's own output, which its gradient needs, is changed

    net = Net(in_place).eval()
    assert not prefers_channels_last(net, IMAGES) and not is_channels_last(net)


def test_without_convolutions_nothing_is_tried():
    def never(_model: nn.Module, _images: Tensor) -> float:
        raise AssertionError

    assert not prefers_channels_last(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), IMAGES, seconds=never)


@pytest.mark.parametrize("form", ["pt2", "torchscript"])
def test_programs_take_it_and_are_reopened_in_it(form: str, tmp_path: Path):
    net, path = Net(flat).eval(), tmp_path / "model.pt"
    if form == "pt2":
        path = path.with_suffix(".pt2")
        batch = {0: torch.export.Dim("batch", min=1, max=64)}
        torch.export.save(torch.export.export(net, (IMAGES,), dynamic_shapes={"images": batch}), path)
    else:
        torch.jit.save(torch.jit.trace(net, IMAGES), str(path))
    foreign = open_classifier(str(path))
    assert prefers_channels_last(foreign.model, IMAGES, seconds=clock(2.0))
    entry = describe(foreign)
    assert "channels_last" not in entry.as_json(), "init says it"
    path.rename(tmp_path / str(entry.file))
    found = reopen(replace(entry, channels_last=True), tmp_path)
    assert is_channels_last(found.model) and not is_channels_last(reopen(entry, tmp_path).model)
    assert torch.allclose(found.model(IMAGES), net(IMAGES), atol=1e-5)


def test_a_run_takes_time_with_and_without_gradients():
    net = Net(flat).eval()
    assert seconds_of(net, IMAGES) > 0
    assert all(weight.grad is None for weight in net.parameters())
    with torch.no_grad():
        assert seconds_of(net.requires_grad_(False), IMAGES) > 0
