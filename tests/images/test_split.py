"""Judges share no images with the models that they score; a missing data set is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfx.errors import DataError, UsageError
from cfx.images.sets.labelled import Labelled
from cfx.images.sets.opening import open_images
from cfx.images.sets.split import SUBSETS, Split, split_by_group, split_in_two


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


def test_a_group_is_never_divided_and_the_shares_are_nearly_met():
    """As the photographs of 170 persons, each with ten classes."""
    draw = torch.Generator().manual_seed(0)
    groups = torch.arange(170).repeat_interleave(10)
    labels = torch.arange(10).repeat(170)
    order = torch.randperm(1700, generator=draw)
    labels, groups = labels[order], groups[order]
    split = split_by_group(labels, [""] * 1700, [f"person {group}" for group in groups.tolist()])
    subsets = [split.subset(name) for name in SUBSETS]
    assert sorted(torch.cat(subsets).tolist()) == list(range(1700)) and split.too_few == ()
    persons = [set(groups[subset].tolist()) for subset in subsets]
    assert sum(map(len, persons)) == 170, "otherwise a person is in two subsets"
    assert all(len(labels[subset].unique()) == 10 for subset in subsets)
    sizes = dict(zip(SUBSETS, map(len, subsets), strict=True))
    assert abs(sizes["test"] / 1700 - 0.15) < 0.02
    assert abs(sizes["train"] - sizes["judge_train"]) <= 20 and abs(sizes["held_out"] / 1700 - 0.0425) < 0.015


def test_a_group_with_a_test_image_is_a_test_group():
    labels, groups = torch.arange(200) % 4, [f"g{number // 4}" for number in range(200)]
    splits = ["test" if number % 40 == 0 else "train" for number in range(200)]
    split = split_by_group(labels, splits, groups)
    given = {groups[index] for index in range(200) if splits[index] == "test"}
    assert {groups[index] for index in split.test.tolist()} == given


def test_too_few_groups_are_refused_and_a_class_of_few_groups_is_left_out():
    with pytest.raises(DataError, match="no class has images of enough groups: 3 groups"):
        split_by_group(torch.arange(30) % 2, [""] * 30, [str(number % 3) for number in range(30)])
    labels = torch.tensor([0, 1] * 50 + [2] * 20)
    groups = [f"g{number // 2}" for number in range(100)] + ["one"] * 20
    assert split_by_group(labels, [""] * 120, groups).too_few == (2,)


def test_the_split_of_groups_is_the_same_again_and_depends_on_the_seed():
    labels, groups = torch.arange(300) % 3, [f"g{number // 3}" for number in range(300)]
    one, two, other = (split_by_group(labels, [""] * 300, groups, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(one.subset(name), two.subset(name)) for name in SUBSETS)
    assert not torch.equal(one.test, other.test)


def test_groups_come_from_a_column_or_from_the_names(tmp_path: Path):
    lines = ["path,label,Patient"]
    for number in range(40):
        path = tmp_path / str(number % 2) / f"p{number // 4:02d}-{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        lines.append(f"{path.relative_to(tmp_path)},{number % 2},p{number // 4:02d}")
    (tmp_path / "l.csv").write_text("\n".join(lines))
    table = open_images(str(tmp_path / "l.csv"))
    folders = open_images(str(tmp_path)).grouped_by(r"(p\d+)-")
    assert table.groups is not None and folders.groups is not None
    assert len(set(table.groups)) == 10 and sorted(table.groups) == sorted(folders.groups)
    with pytest.raises(DataError, match=r"matches nothing in .*00-0\.png; every image needs a group"):
        folders.grouped_by(r"x(\d)")
    with pytest.raises(UsageError, match="not a regular expression"):
        folders.grouped_by("(")


def test_the_example_finds_persons_by_their_numbers(tmp_path: Path):
    """A new person begins where the digit falls, or where the camera skipped many numbers."""
    taken = [(0, 10), (1, 11), (9, 12), (0, 13), (1, 14), (2, 60), (0, 61)]
    for digit, number in taken:
        path = tmp_path / str(digit) / f"IMG_{number}.JPG"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "0" / "notes.txt").touch()
    script = Path(__file__).parents[2] / "examples" / "signs_csv.py"
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=True)
    (tmp_path / "l.csv").write_text(done.stdout)
    images = open_images(str(tmp_path / "l.csv"))
    assert images.groups == ("0", "0", "0", "1", "1", "2", "3")
    assert [images.classes[label] for label in images.labels.tolist()] == [str(digit) for digit, _ in taken]
