"""What is wrong with files of MNIST as people fetch them is said by the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cfx.errors import DataError
from cfx.images.sets.idx import idx_names
from cfx.images.sets.opening import open_images

COUNT = 20


def idx(*shape: int) -> bytes:
    header = b"\0\0\x08" + bytes([len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape)
    size = 1
    for side in shape:
        size *= side
    return header + bytes(place % 10 for place in range(size))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """MNIST's folder with its four files, as torchvision keeps them, but only a few images."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in idx_names():
        (raw / name).write_bytes(idx(COUNT, 28, 28) if "images" in name else idx(COUNT))
    return raw


def test_whole_files_are_read(folder: Path):
    images = open_images("mnist", root=folder.parents[1])
    assert len(images) == 2 * COUNT and images.classes[:2] == ("0", "1")


def packed(path: Path) -> None:
    path.rename(f"{path}.gz")


def named_as_on_kaggle(path: Path) -> None:
    path.rename(path.with_name(path.name.replace("-idx", ".idx")))


def in_a_folder_of_its_name(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / path.name).write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def lengthened(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"xy")


def a_page(path: Path) -> None:
    path.write_bytes(b"<!DOCTYPE html><html><title>404</title></html>")


FAULTS = {
    packed: "t10k-labels-idx1-ubyte.gz is not unpacked; run gunzip on it",
    named_as_on_kaggle: "t10k-labels.idx1-ubyte has another name than torchvision expects; move it to",
    in_a_folder_of_its_name: "has another name than torchvision expects; move it to",
    cut: f"t10k-labels-idx1-ubyte is cut off ({COUNT + 8 - 5} of {COUNT + 8} bytes); download it again",
    lengthened: "t10k-labels-idx1-ubyte has 2 bytes too many; download it again",
    a_page: "t10k-labels-idx1-ubyte is an HTML page, not an image: the download has failed",
    Path.unlink: "t10k-labels-idx1-ubyte is missing",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_a_fault_names_the_file(folder: Path, spoil):
    spoil(folder / "t10k-labels-idx1-ubyte")
    with pytest.raises(DataError) as error:
        open_images("mnist", root=folder.parents[1])
    assert str(error.value).startswith(f"{folder.parents[1]}: MNIST cannot be read: ")
    assert FAULTS[spoil] in str(error.value)
