"""The study of strangers' classifiers: a row for each, and a verdict that is right about what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cfx.benchmarks.studies.strangers import HEADS, MISTAKEN, REFUSED, RIGHT, TIED, alike, read
from cfx.benchmarks.studies.strangers_found import Stranger, packaged
from cfx.benchmarks.studies.strangers_own import FORMATS, SIX, expected, own_digits
from cfx.classifiers.foreign.live import open_live
from cfx.classifiers.foreign.preprocessing import Preprocessing
from cfx.images.sets.image_set import ImageSet
from cfx.images.sets.pictures import ArrayPictures


@pytest.fixture
def images(digits: tuple[Tensor, Tensor]) -> ImageSet:
    pictures = ArrayPictures((digits[0] * 255).round().to(torch.uint8))
    return ImageSet("digits", tuple("0123456789"), digits[1], ("",) * 400, pictures)


def test_our_own_network_is_read_right_in_every_format(images: ImageSet, tmp_path: Path):
    for package in ("onnx", "onnxruntime"):  # one of the formats
        pytest.importorskip(package)
    strangers = list(own_digits(images, tmp_path))
    assert len(strangers) == len(SIX) * len(FORMATS)
    for stranger in strangers[4:8]:  # -1..1
        row = read(stranger)
        assert len(row) == len(HEADS) and row[1] == stranger.saved_as
        assert row[-1] == RIGHT and row[2] == row[3], row


def test_a_classifier_that_fails_is_refused(images: ImageSet):
    class Fails(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            raise RuntimeError("no")

    maker = expected("none")
    stranger = Stranger(name="x", saved_as="code", maker=maker, images=images, open=lambda: open_live(Fails().eval()))
    assert read(stranger)[-1].startswith(f"{REFUSED}: classifier Fails")


def test_a_wrong_maker_is_a_silent_mistake_unless_it_was_named(images: ImageSet, tmp_path: Path):
    """The verdict compares with the maker's input, and is not always right."""
    stranger = next(each for each in own_digits(images, tmp_path) if each.saved_as == "code")  # none
    assert read(replace(stranger, maker=expected("0..255")))[-1] == MISTAKEN
    assert read(replace(stranger, maker=expected("mnist")))[-1] in (TIED, MISTAKEN)


def test_inputs_that_are_alike_are_the_same(digits: tuple[Tensor, Tensor]):
    few = digits[0][:8]
    lite = Preprocessing(3, scale=255.0, mean=(127.0,), std=(128.0,))
    assert alike(expected("-1..1"), lite, few) and not alike(expected("none"), lite, few)
    assert not alike(replace(lite, size=(24, 24)), lite, few)


def test_packages_that_are_missing_are_left_out_with_a_line(images: ImageSet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cfx.benchmarks.studies.strangers_found.find_spec", lambda name: None)
    lines = list(packaged(images))
    assert len(lines) == 3 and all(isinstance(line, str) and line.startswith("left out: ") for line in lines)
