"""Every parameter of `cfx.explain` takes what NumPy, Pillow and torch give, or refuses it by its name."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import cfx

SIDE = 8


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4)).eval()


def photo(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def explained(images: Any, **given: Any) -> list[cfx.Answer]:
    known = {
        "classifier": network(),
        "preprocessing": {"channels": 3, "size": (SIDE, SIDE)},
        "engine": "pixel",
        "settings": {"max_steps": 1},
        "target": 1,
        "metrics": [],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(cfx.explain(images, **{**known, **given}))


class Colour(str, Enum):  # noqa: UP042  # as many programs have them
    RED = "1"


class Bare:
    """Nothing that cfx knows."""


def numbers() -> Iterator[int]:
    yield 1


KINDS: dict[str, Callable[[], object]] = {
    "None": lambda: None,
    "True": lambda: True,
    "1": lambda: 1,
    "-1": lambda: -1,
    "10**30": lambda: 10**30,
    "1.0": lambda: 1.0,
    "1.5": lambda: 1.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "1j": lambda: 1j,
    "empty text": lambda: "",
    "text": lambda: "nothing of this name",
    "NUL": lambda: "a\0b",
    "bytes": lambda: b"1",
    "np.int64": lambda: np.int64(1),
    "np.uint8": lambda: np.uint8(1),
    "np.float32": lambda: np.float32(0.5),
    "np.bool": lambda: np.bool_(True),
    "np.str": lambda: np.str_("1"),
    "np.datetime64": lambda: np.datetime64("2020-01-01"),
    "0-d array": lambda: np.array(1),
    "0-d tensor": lambda: torch.tensor(1),
    "0-d float tensor": lambda: torch.tensor(0.5, requires_grad=True),
    "tensor of one": lambda: torch.tensor([1]),
    "meta tensor": lambda: torch.empty(3, device="meta"),
    "meta scalar": lambda: torch.empty((), device="meta"),
    "sparse tensor": lambda: torch.eye(3).to_sparse(),
    "vector": lambda: np.arange(4),
    "empty array": lambda: np.zeros((0, 4)),
    "objects": lambda: np.array([None, "a"], dtype=object),
    "texts": lambda: np.array(["a", "b"]),
    "complex": lambda: np.ones((2, 2), dtype=complex),
    "volume": lambda: np.zeros((2, 2, 2, 2, 2)),
    "empty list": list,
    "list": lambda: [1, 2],
    "list of lists": lambda: [[1, 2], [3]],
    "list of None": lambda: [None],
    "texts in a list": lambda: ["a", "b"],
    "empty dict": dict,
    "dict": lambda: {"a": 1},
    "dict of numbers": lambda: {0: 1},
    "set": lambda: {1},
    "range": lambda: range(4),
    "generator": numbers,
    "path": lambda: Path("nowhere") / "at" / "all",
    "path of bytes": lambda: os.fsencode("nowhere"),
    "enum": lambda: Colour.RED,
    "class": lambda: np.ndarray,
    "function": lambda: len,
    "object": Bare,
    "device": lambda: torch.device("cpu"),
    "picture": lambda: Image.fromarray(photo()),
    "deep picture": lambda: Image.new("F", (SIDE, SIDE)),
    "DataLoader": lambda: DataLoader(TensorDataset(torch.rand(2, 3, SIDE, SIDE), torch.tensor([0, 1]))),
}
PARAMETERS = [name for name in inspect.signature(cfx.explain).parameters if name != "images"]
CONTRADICTED = {"certain": {"target": "auto"}, "other_than": {"target": "auto"}, "bundle": {"classifier": None}}
ALSO = {"mask": "segments", "black": "white", "white": "black"}  # words that name it, too


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_every_parameter_takes_a_value_or_names_itself(parameter: str):
    found: dict[str, str] = {}
    for kind, make in KINDS.items():
        given = {**CONTRADICTED.get(parameter, {}), parameter: make()}
        if parameter == "bundle":
            given |= {"preprocessing": None, "settings": None}
        if parameter == "black":
            given |= {"white": 255}
        try:
            explained(photo(), **given)
        except cfx.CfxError as error:
            if not {parameter, ALSO.get(parameter, parameter)} & {*str(error).replace(":", " ").split()}:
                found[kind] = str(error)
            elif "\n" in str(error):
                found[kind] = f"several lines: {error}"
        except Exception as error:
            found[kind] = f"raw {error!r}"
    assert not found


def test_images_are_taken_or_refused_in_one_sentence():
    found: dict[str, str] = {}
    for kind, make in KINDS.items():
        try:
            explained(make())
        except cfx.CfxError as error:
            file = "no such file" in str(error) or str(make()) in str(error)  # is named instead
            if "\n" in str(error) or not ("image" in str(error) or file):
                found[kind] = str(error)
        except Exception as error:
            found[kind] = f"raw {error!r}"
    assert not found


def test_no_item_that_is_no_image_stops_the_others():
    given = [photo(), None, 3, "nowhere.png", np.zeros((2, 2), complex), photo()]
    assert len(explained(given, on_unreadable="skip")) == 2


class Pairs(Dataset[tuple[Tensor, int]]):
    """As many data sets are: with a length and items, that never end by themselves."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return chw(), place


def chw() -> Tensor:
    return torch.from_numpy(photo()).permute(2, 0, 1).float() / 255


def read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    "turn",
    [
        lambda image: image[:, :, ::-1][:, :, ::-1],
        lambda image: np.asfortranarray(image),
        lambda image: image[::-1].copy()[::-1],
        read_only,
        lambda image: image.astype(np.uint16),
        lambda image: image.astype(np.uint32),
        lambda image: image.astype(np.uint64),
        lambda image: image.astype(">i2"),
        lambda image: image.astype(np.int8 if image.max() < 128 else np.int16),
        lambda image: (image / 255).astype(">f8"),
        lambda image: (image / 255).astype(np.longdouble),
        lambda image: torch.from_numpy(image).to(torch.uint16),
        lambda image: torch.from_numpy(image / 255).requires_grad_(),
        lambda image: torch.from_numpy(image).float().div(255).to_sparse(),
        lambda image: np.ma.array(image),
        lambda image: Image.fromarray(image),
        lambda image: (torch.from_numpy(image), 3),
        lambda image: [(image, 3)],
        lambda image: [torch.from_numpy(image).permute(2, 0, 1)[None], torch.tensor([3])],
        lambda image: DataLoader(TensorDataset(torch.from_numpy(image).permute(2, 0, 1)[None], torch.tensor([3]))),
        lambda image: DataLoader([(torch.from_numpy(image).permute(2, 0, 1), "name")]),
        lambda image: [{"image": Image.fromarray(image), "label": 3}],
        lambda image: {"pixel_values": torch.from_numpy(image).permute(2, 0, 1)[None], "labels": torch.tensor([3])},
    ],
)
def test_one_image_in_every_form_is_the_same_image(turn: Callable[[np.ndarray], Any]):
    expected = explained(photo())[0]
    (answer,) = explained(turn(photo()))
    assert torch.equal(answer.pictures.factual, expected.pictures.factual)
    assert answer.target_confidence == expected.target_confidence


def test_a_data_set_of_pairs_gives_its_images():
    assert len(explained(Pairs())) == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (photo().astype(np.uint16) * 257, "range from 0 to 65535|range from .* to 6.*; expected 0 to 255"),
        (torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)), "before Normalize.*preprocessing"),
        (photo().astype(np.float32), r"expected floats in \[0, 1\]"),
        (np.full((SIDE, SIDE, 3), np.nan), "NaN"),
        (np.ma.masked_greater(photo(), 9), "masked"),
        (np.zeros((0, SIDE, 3)), "is empty"),
    ],
)
def test_what_is_no_image_is_named(given: Any, says: str):
    with pytest.raises(cfx.InputError, match=f"^image 0: .*({says})"):
        explained(given)


@pytest.mark.parametrize(
    "target",
    [np.int64(1), np.array(1), torch.tensor(1), torch.tensor([1]), np.str_("1"), [np.uint8(1)], (1,), 1.0, Colour.RED],
)
def test_one_target_in_every_form(target: Any):
    (answer,) = explained(photo(), target=target)
    assert answer.target == "1"


@pytest.mark.parametrize(
    "classes",
    [
        ["a", "b", "c", "d"],
        np.array(["a", "b", "c", "d"]),
        {0: "a", 1: "b", 2: "c", 3: "d"},
        {"3": "d", "0": "a", "1": "b", "2": "c"},
        {"a": 0, "b": 1, "d": 3, "c": np.int64(2)},
    ],
)
def test_names_of_classes_in_every_form(classes: Any):
    (answer,) = explained(photo(), classes=classes, target="b")
    assert answer.target == "b"


def test_numbers_of_other_libraries_are_numbers():
    (answer,) = explained(
        photo(),
        confidence=np.float32(0.5),
        count=torch.tensor(1),
        seed=np.int64(3),
        certain=np.bool_(False),
        region=torch.tensor([0, 0, 8, 4]),
        settings={"max_steps": np.int64(1)},
        preprocessing={"channels": np.int64(3), "size": torch.Size((8, 8)), "mean": torch.tensor([0.5] * 3), "std": 1},
        device=torch.device("cpu"),
    )
    assert answer.envelope.seed == 3 and answer.as_json()
