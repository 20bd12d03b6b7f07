"""A bundle of a few real digits, trained for a step or two."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cfx.images.sets.labelled import Labelled
from cfx.images.sets.split import Split, split_in_two
from cfx.training.parts import PARTS
from cfx.training.recipe import RECIPES, Recipe
from cfx.training.session import TrainingSession


@pytest.fixture(scope="session")
def split(digits: tuple[torch.Tensor, torch.Tensor]) -> Split[Labelled]:
    images, labels = digits
    data = Labelled((images * 255).round().to(torch.uint8), labels)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    indices = split_in_two(["train"] * 300 + ["test"] * 100, held_out=20)
    return indices.map(lambda _, chosen: data[order[chosen]])


@pytest.fixture(scope="session")
def tiny(shorten: Callable[[Recipe, float], Recipe]) -> Recipe:
    """One epoch for everything, with every part that is made on request, and few latents."""
    also = tuple(name for kind in PARTS if kind.optional and not kind.by_default for name in kind.makes)
    return dataclasses.replace(shorten(RECIPES["mnist"], 1.0), latents=4, also=also)


@pytest.fixture(scope="session")
def made(tiny: Recipe, split: Split[Labelled], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made")
    TrainingSession(tiny, split, directory, command="cfx train").make()
    return directory
