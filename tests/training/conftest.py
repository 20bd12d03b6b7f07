"""A bundle of a few real digits, trained for a step or two."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch

from cfx.bundles.bundle import Bundle
from cfx.errors import CfxError, UsageError
from cfx.files import locked, write_text
from cfx.images.sets.labelled import Labelled
from cfx.images.sets.split import Split, split_in_two
from cfx.runs.identity import code_digest
from cfx.training.parts import PARTS
from cfx.training.recipe import RECIPES, Recipe
from cfx.training.session import TrainingSession, is_finished

HERE = Path(__file__).parent


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


@pytest.fixture(scope="session", autouse=True)
def few_are_drawn() -> Iterator[None]:
    """A velocity field is measured on fewer images than usual: to draw them takes longer than to train it here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cfx.training.parts.matching.DRAWN", 50)
        yield


@pytest.fixture(scope="session")
def made(
    tiny: Recipe,
    split: Split[Labelled],
    few_are_drawn: None,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The bundle of the recipe `tiny`, trained once for this code: the cache directory of pytest keeps it."""
    mine = tmp_path_factory.mktemp("made") / "bundle"
    if pytestconfig.cache is None:
        TrainingSession(tiny, split, mine, command="cfx train").make()
        return mine
    # With another number of threads, sums of floats come out differently.
    kept = pytestconfig.cache.mkdir(f"cfx-made-{torch.get_num_threads()}")
    now, trained = digest_of_what_makes_it(), kept / "digest.txt"
    with waited_for(kept / ".lock"):
        if not (trained.is_file() and trained.read_text() == now and is_whole(kept / "bundle")):
            trained.unlink(missing_ok=True)
            shutil.rmtree(kept / "bundle", ignore_errors=True)
            TrainingSession(tiny, split, kept / "bundle", command="cfx train").make()
            write_text(trained, now)
        shutil.copytree(kept / "bundle", mine)
    return mine


def digest_of_what_makes_it() -> str:
    """Changes with the code of cfx, the digits and recipe of these tests, and the version of torch."""
    files = (HERE / "conftest.py", HERE.parent / "conftest.py", HERE.parent / "data" / "digits.npz")
    content = b"".join(path.read_bytes() for path in files)
    return hashlib.sha256(f"{code_digest()} {torch.__version__} ".encode() + content).hexdigest()


def is_whole(directory: Path) -> bool:
    """Whether all parts of a bundle are there, as they were written."""
    try:
        Bundle(directory).verify()
    except CfxError:
        return False
    return is_finished(directory)


@contextmanager
def waited_for(lock: Path) -> Iterator[None]:
    """Hold a lock, after whoever holds it now."""
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(locked(lock))
                break
            except UsageError:
                time.sleep(0.2)
        yield
