"""The input of a classifier is found by likelihood, and what labelled images do not tell is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle
from cfx.classifiers.foreign.contract import Foreign
from cfx.classifiers.foreign.live import open_live
from cfx.classifiers.foreign.preprocessing import NORMALISATIONS, Preprocessing
from cfx.images.sets.labelled import Labelled
from cfx.intake.adapting import Adaptation, adapt
from cfx.intake.checking import check
from cfx.intake.class_matching import Matched
from cfx.intake.input_sizes import other_sizes
from cfx.intake.probe import Probe

DIGITS = tuple(str(place) for place in range(10))
RED = (0.9, 0.5, 0.1)  # how much of a digit is in each channel of coloured digits


class Wants(nn.Module):
    """A classifier of digits whose input has been normalised, which it undoes; perhaps made surer than it is."""

    def __init__(self, inner: nn.Module, name: str, *, channels: int = 1, bgr: bool = False, sure: float = 1) -> None:
        super().__init__()
        self.inner, self.sure, self.channels, self.bgr = inner, sure, channels, bgr
        self.scale, mean, std = NORMALISATIONS[name]
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (mean, std))

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.shape[1] != self.channels:
            raise RuntimeError("another number of channels")
        images = (inputs * self.std + self.mean) / self.scale
        if self.bgr:
            images = images.flip(1)
        if self.channels == 3:
            images = images[:, :1] / RED[0]  # only the red channel
        return self.inner(images) * self.sure


@pytest.fixture
def inner(bundle: Bundle) -> nn.Module:
    return bundle.part("classifier")


@pytest.fixture
def sample(digits: tuple[Tensor, Tensor]) -> Labelled:
    return Labelled((digits[0] * 255).round().to(torch.uint8), digits[1])


def coloured(sample: Labelled) -> Labelled:
    return replace(sample, images=torch.cat([(sample.images * share).to(torch.uint8) for share in RED], dim=1))


def found(
    model: nn.Module | Foreign,
    sample: Labelled,
    *,
    brief: bool = False,
    **given: Any,
) -> Adaptation:
    foreign = model if isinstance(model, Foreign) else open_live(model.eval())
    return adapt(Probe(foreign, sample, given), Matched(DIGITS, DIGITS), brief=brief)


@pytest.mark.parametrize("sure", [0.3, 1, 4])
@pytest.mark.parametrize("name", ["none", "-1..1", "mnist", "fashion-mnist", "0..255"])
def test_each_normalisation_of_grey_images_is_found(inner: nn.Module, sample: Labelled, name: str, sure: float):
    """Also if the classifier is too sure, so that it would seem to expect less contrast, or not sure enough."""
    adaptation = found(Wants(inner, name, sure=sure), sample)
    preprocessing = adaptation.classifier.preprocessing
    assert (preprocessing.scale, preprocessing.mean, preprocessing.std) == NORMALISATIONS[name]
    assert preprocessing in adaptation.tied and not adaptation.warnings
    assert all("NLL" in note and "labelled images" in note for note in adaptation.notes) and adaptation.notes


@pytest.mark.parametrize("name", ["none", "-1..1", "imagenet", "mnist", "cifar10", "0..255"])
def test_each_normalisation_in_colour_is_found_or_named(inner: nn.Module, sample: Labelled, name: str):
    adaptation = found(Wants(inner, name, channels=3), coloured(sample))
    wanted = NORMALISATIONS[name]
    assert wanted in [(each.scale, each.mean, each.std) for each in adaptation.tied]
    chosen = adaptation.classifier.preprocessing
    told = " ".join(adaptation.notes)
    assert repr(name) in told and chosen.order == "rgb"
    if (chosen.scale, chosen.mean, chosen.std) != wanted:
        assert f"labelled images do not decide between it and {name!r} (NLL" in told or f", {name!r} (NLL" in told
        assert "--mean, --std, --scale set another" in told


def test_the_order_of_the_channels_is_found_where_it_matters(inner: nn.Module, sample: Labelled):
    adaptation = found(Wants(inner, "none", channels=3, bgr=True), coloured(sample))
    assert adaptation.classifier.preprocessing.order == "bgr"
    assert any("channel order bgr: used" in note and "--order set another" in note for note in adaptation.notes)
    grey = found(Wants(inner, "none", channels=3), replace(sample, images=sample.images))
    assert not any("bgr" in note for note in grey.notes), "grey images are the same in both orders"


def test_what_accuracy_does_not_tell_likelihood_does(inner: nn.Module, sample: Labelled):
    """The classifier is as often right without normalisation, but its labels are less likely."""

    class Tolerant(Wants):
        def forward(self, inputs: Tensor) -> Tensor:
            images = super().forward(inputs)
            return images - (inputs.amin(dim=(1, 2, 3)) > -0.1).float()[:, None] * images * 0.8  # 0: not normalised

    adaptation = found(Tolerant(inner, "mnist"), sample)
    assert adaptation.classifier.preprocessing.mean == (0.1307,)


def test_images_that_do_not_decide_leave_the_input_as_it_is_and_name_the_other(inner: nn.Module, sample: Labelled):
    class Indifferent(nn.Module):
        """Takes any contrast, but for a trace."""

        def forward(self, inputs: Tensor) -> Tensor:
            low, high = inputs.amin(dim=(1, 2, 3), keepdim=True), inputs.amax(dim=(1, 2, 3), keepdim=True)
            noise = inputs.std(dim=(1, 2, 3))[:, None] * torch.arange(10.0) * 1e-4
            return inner((inputs - low) / (high - low)) + noise

    adaptation = found(Indifferent(), sample)
    assert adaptation.classifier.preprocessing == Preprocessing(1)
    (note,) = adaptation.notes
    assert "normalisation 'none' (NLL" in note and "400 labelled images do not decide between it and" in note
    assert "'mnist' (NLL" in note and note.endswith("--mean, --std, --scale set another")
    assert len(adaptation.tied) > 1


def test_nothing_is_claimed_where_the_classifier_only_guesses(sample: Labelled):
    torch.manual_seed(0)
    adaptation = found(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), sample[:60])
    assert adaptation.classifier.preprocessing == Preprocessing(1)
    (note,) = adaptation.notes
    assert "not checked, because with none of" in note and "better than by guessing" in note


def test_what_is_declared_stays_with_a_warning_if_something_else_is_surely_likelier(inner: nn.Module, sample: Labelled):
    declared = replace(
        open_live(Wants(inner, "mnist").eval()),
        preprocessing=Preprocessing(1, mean=(0.5,), std=(0.5,)),
        declared=("mean", "std"),
    )
    adaptation = found(declared, sample)
    assert adaptation.classifier.preprocessing.mean == (0.5,)
    (warning,) = adaptation.warnings
    assert warning.startswith("normalisation 'mnist': fits the labels better than normalisation '-1..1': NLL ")
    assert warning.endswith("is the declaration right?") and not adaptation.notes
    assert found(declared, sample, brief=True).warnings == (), "nothing is compared where nothing has to be decided"


@pytest.mark.parametrize("name", ["none", "mnist"])
def test_a_right_declaration_is_not_doubted(inner: nn.Module, sample: Labelled, name: str):
    scale, mean, std = NORMALISATIONS[name]
    adaptation = found(Wants(inner, name), sample, scale=scale, mean=mean, std=std)
    assert adaptation.warnings == () and adaptation.notes == ()


def test_a_wrong_order_of_the_classes_does_not_hide_the_normalisation(inner: nn.Module, sample: Labelled):
    shifted = replace(sample, labels=(sample.labels + 5) % 10)
    for name in ("none", "mnist", "0..255"):
        preprocessing = found(Wants(inner, name), shifted).classifier.preprocessing
        assert (preprocessing.scale, preprocessing.mean, preprocessing.std) == NORMALISATIONS[name]


class Flattening(nn.Module):
    """A network whose linear layer takes 3 x 3 features, of images of 24 to 31 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.MaxPool2d(8), nn.Flatten(), nn.Linear(9, 10))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)


@pytest.mark.parametrize(
    ("side", "sizes"),
    [(25, [(24, 24), (28, 28)]), (31, [(24, 24), (28, 28)]), (24, [(28, 28)]), (28, [(24, 24)])],
)
def test_the_sizes_that_a_linear_layer_accepts_are_compared(side: int, sizes: list[tuple[int, int]], sample: Labelled):
    images = nn.functional.interpolate(sample.images[:8].float(), (side, side)).to(torch.uint8)
    probe = Probe(open_live(Flattening().eval()), Labelled(images, sample.labels[:8]), {})
    assert other_sizes(probe) == sizes


def test_a_network_of_any_size_is_not_tried_at_sizes_near_by(sample: Labelled):
    model = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 10)).eval()
    probe = Probe(open_live(model), sample[:8], {})
    assert other_sizes(probe) == []
    large = nn.functional.interpolate(sample.images[:8].float(), (100, 80)).to(torch.uint8)
    assert other_sizes(Probe(open_live(model), Labelled(large, sample.labels[:8]), {})) == [(224, 224)]


def test_the_size_is_found_and_named(inner: nn.Module, sample: Labelled):
    """Images of 30 pixels, for a network that was made for 28 and takes 24 to 31 as well."""

    class Sized(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            height, width = inputs.shape[2:]
            if not (24 <= height <= 31 and 24 <= width <= 31):
                raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
            if height == 28:
                return inner(inputs)
            return inner(nn.functional.pad(inputs[:, :, 8:, 8:], (0, 36 - width, 0, 36 - height)))  # at another place

    images = nn.functional.interpolate(sample.images.float(), (30, 30), mode="bilinear").round().to(torch.uint8)
    adaptation = found(Sized(), Labelled(images, sample.labels))
    assert adaptation.classifier.preprocessing.size == (28, 28)
    assert any("size 28x28: used" in note and "--input-size set another" in note for note in adaptation.notes)


def test_what_a_confidence_means_is_noted(inner: nn.Module, sample: Labelled):
    def notes(sure: float) -> str:
        probe = Probe(open_live(Wants(inner, "none", sure=sure).eval()), sample, {})
        return " ".join(check(probe, Matched(DIGITS, DIGITS)).notes)

    assert "is surer than it is right" in notes(12) and "confidence 90 % or more means 98." in notes(12)
    assert "is less sure than it is right" in notes(0.2)
    assert "sure" not in notes(1.5)
