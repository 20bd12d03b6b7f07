"""What all tests share: real digits, the shipped bundle, and the folder of data sets where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle, load_bundle

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """400 digits of the MNIST test set, 40 a class: images (400, 1, 28, 28) in [0, 1], labels (400,) int64."""
    with np.load(Path(__file__).parent / "data" / "digits.npz") as file:
        images, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])
    return images.unsqueeze(1).float() / 255, labels


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The bundle that comes with cfx."""
    return load_bundle("mnist")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder in which torchvision's data sets lie."""
    root = os.environ.get("CFX_DATA")
    if not root:
        pytest.skip("CFX_DATA is not set to a folder with MNIST in torchvision's layout")
    return Path(root)
