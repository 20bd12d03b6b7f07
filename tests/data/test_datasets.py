"""The split keeps what is judged apart from what judges; a missing data set is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfx.data.datasets import Labelled, Split, load_torchvision, split_in_two
from cfx.data.errors import DataError


@pytest.fixture
def numbered(digits: tuple[Tensor, Tensor]) -> Labelled:
    """Real digits whose label is their place in the set, so that each can be recognised."""
    images, _ = digits
    return Labelled((images * 255).round().to(torch.uint8), torch.arange(len(images)))


def parts(split: Split) -> dict[str, set[int]]:
    named = {
        "fit": split.fit,
        "held_out": split.held_out,
        "judge_fit": split.judge_fit,
        "judge_held_out": split.judge_held_out,
    }
    return {name: set(part.labels.tolist()) for name, part in named.items()}


def test_parts_are_disjoint_and_lose_nothing(numbered: Labelled) -> None:
    found = parts(split_in_two(numbered, numbered[:10], held_out=30))
    assert {name: len(part) for name, part in found.items()} == {
        "fit": 170,
        "held_out": 30,
        "judge_fit": 170,
        "judge_held_out": 30,
    }
    assert set.union(*found.values()) == set(range(400))


def test_images_stay_with_their_labels(numbered: Labelled) -> None:
    split = split_in_two(numbered, numbered[:10], held_out=30)
    assert torch.equal(split.judge_fit.images, numbered.images[split.judge_fit.labels])
    assert torch.equal(split.test.images, numbered.images[:10])


def test_split_is_the_same_each_time_and_follows_the_seed(numbered: Labelled) -> None:
    torch.manual_seed(1)
    one = split_in_two(numbered, numbered, held_out=30)
    torch.manual_seed(2)
    two = split_in_two(numbered, numbered, held_out=30)
    other = split_in_two(numbered, numbered, held_out=30, seed=1)
    assert torch.equal(one.fit.labels, two.fit.labels)
    assert parts(one) != parts(other)


def test_labelled_selects_and_scales(digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits
    data = Labelled((images * 255).round().to(torch.uint8), labels)
    sevens = data.of_class(7)
    assert len(sevens) == 40
    assert set(sevens.labels.tolist()) == {7}
    assert torch.equal(data.floats(), images)
    assert data.floats(torch.tensor([3, 5])).dtype == torch.float32


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_missing_set(tmp_path: Path, name: str, folder: str) -> None:
    with pytest.raises(DataError) as caught:
        load_torchvision(name, tmp_path / "nowhere", train=True)
    message = str(caught.value)
    assert str(tmp_path / "nowhere") in message
    assert f"no {folder} there" in message
    assert str(tmp_path / "nowhere" / folder / "raw") in message
    assert "\n" not in message


def test_reads_mnist(data_root: Path) -> None:
    test = load_torchvision("mnist", data_root, train=False)
    assert test.images.shape == (10000, 1, 28, 28)
    assert test.images.dtype == torch.uint8
    assert test.labels.dtype == torch.int64


def test_the_digits_of_the_tests_are_what_their_indices_say(data_root: Path) -> None:
    import numpy as np

    test = load_torchvision("mnist", data_root, train=False)
    with np.load(Path(__file__).parent / "digits.npz") as file:
        indices = torch.from_numpy(file["indices"])
        assert torch.equal(test.images[indices].squeeze(1), torch.from_numpy(file["images"]))
        assert torch.equal(test.labels[indices], torch.from_numpy(file["labels"]))
