"""Judges share no images with the models that they score; a missing data set is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfx.errors import DataError
from cfx.images.sets.labelled import Labelled
from cfx.images.sets.opening import open_images
from cfx.images.sets.split import Split, split_in_two


@pytest.fixture
def numbered(digits: tuple[Tensor, Tensor]) -> Labelled:
    """Real digits whose label is their place in the set, so that each can be recognised."""
    images, _ = digits
    return Labelled((images * 255).round().to(torch.uint8), torch.arange(len(images)))


def split_up(data: Labelled, test: int, *, seed: int = 0) -> Split[Labelled]:
    """All of the data as a training split, and its first images once more as a test split."""
    split = split_in_two(["train"] * len(data) + ["test"] * test, held_out=30, seed=seed)
    return split.map(lambda _, indices: data[indices % len(data)])


def labels_of_subsets(split: Split[Labelled]) -> dict[str, set[int]]:
    named = {
        "train": split.train,
        "held_out": split.held_out,
        "judge_train": split.judge_train,
        "judge_held_out": split.judge_held_out,
    }
    return {name: set(subset.labels.tolist()) for name, subset in named.items()}


def test_subsets_are_disjoint_and_lose_nothing(numbered: Labelled) -> None:
    found = labels_of_subsets(split_up(numbered, 10))
    assert {name: len(labels) for name, labels in found.items()} == {
        "train": 170,
        "held_out": 30,
        "judge_train": 170,
        "judge_held_out": 30,
    }
    assert set.union(*found.values()) == set(range(400))


def test_images_stay_with_their_labels(numbered: Labelled) -> None:
    split = split_up(numbered, 10)
    assert torch.equal(split.judge_train.images, numbered.images[split.judge_train.labels])
    assert torch.equal(split.test.images, numbered.images[:10])


def test_split_is_the_same_each_time_and_follows_the_seed(numbered: Labelled) -> None:
    torch.manual_seed(1)
    one = split_up(numbered, 400)
    torch.manual_seed(2)
    two = split_up(numbered, 400)
    other = split_up(numbered, 400, seed=1)
    assert torch.equal(one.train.labels, two.train.labels)
    assert labels_of_subsets(one) != labels_of_subsets(other)


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
        open_images(name, root=tmp_path / "nowhere")
    message = str(caught.value)
    assert str(tmp_path / "nowhere") in message
    assert f"no {folder} there" in message
    assert str(tmp_path / "nowhere" / folder / "raw") in message
    assert "\n" not in message


def test_reads_mnist(read_set: Callable[[str, str], Labelled]) -> None:
    test = read_set("mnist", "test")
    assert test.images.shape == (10000, 1, 28, 28)
    assert test.images.dtype == torch.uint8
    assert test.labels.dtype == torch.int64


def test_the_digits_of_the_tests_are_what_their_indices_say(read_set: Callable[[str, str], Labelled]) -> None:
    import numpy as np

    test = read_set("mnist", "test")
    with np.load(Path(__file__).parents[1] / "data" / "digits.npz") as file:
        indices = torch.from_numpy(file["indices"])
        assert torch.equal(test.images[indices].squeeze(1), torch.from_numpy(file["images"]))
        assert torch.equal(test.labels[indices], torch.from_numpy(file["labels"]))
