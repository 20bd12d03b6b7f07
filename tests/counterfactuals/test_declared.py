"""What an author forgot is said when the engine is loaded; what fails in a search names the engine's package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.curve import Curve
from cfx.counterfactuals.declared import fault_of
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.fidelity import Fidelity
from cfx.counterfactuals.problem import BrokenEngine, Problem
from cfx.counterfactuals.registry import engine_names, load_engine, plugin_of
from cfx.counterfactuals.settings import setting


@dataclass(frozen=True, kw_only=True)
class Whole(Engine):
    name: ClassVar[str] = "mine"
    summary: ClassVar[str] = "does what its test says"
    paper: ClassVar[str] = "none"
    gradients: ClassVar[bool] = False

    does: Callable[[Problem], Any] = field(default=lambda problem: None, compare=False)

    def find(self, problem: Problem) -> Curve:
        return self.does(problem)


class NoDataclass(Whole):
    pass


@dataclass(frozen=True, kw_only=True)
class NoFieldOfAPart(Whole):
    needs: ClassVar[tuple[str, ...]] = ("vae",)


@dataclass(frozen=True, kw_only=True)
class NeedsText(Whole):
    needs: ClassVar[Any] = "vae"


@dataclass(frozen=True, kw_only=True)
class NoDefault(Whole):
    rate: float


@dataclass(frozen=True, kw_only=True)
class FarDefault(Whole):
    rate: float = setting(20.0, "rate", most=10)


@dataclass(frozen=True, kw_only=True)
class FidelityAsText(Whole):
    fidelity: ClassVar[Any] = "variant"


@dataclass(frozen=True, kw_only=True)
class UnknownFidelity(Whole):
    fidelity: ClassVar[Any] = Fidelity("exact", "in nothing")  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, kw_only=True)
class DepartsSomehow(Whole):
    fidelity: ClassVar[Fidelity] = Fidelity("variant")


@dataclass(frozen=True, kw_only=True)
class AsInThePaper(Whole):
    fidelity: ClassVar[Fidelity] = Fidelity("paper")


@dataclass(frozen=True, kw_only=True)
class NoFind(Engine):
    name: ClassVar[str] = "mine"
    summary: ClassVar[str] = "nothing"
    paper: ClassVar[str] = "none"


@dataclass(frozen=True, kw_only=True)
class NoWords(Engine):
    name: ClassVar[str] = "mine"

    def find(self, problem: Problem) -> Curve:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("engine", "fault"),
    [
        (int, "it is not a subclass of Engine"),
        (NoWords, "it lacks the class attribute summary, paper"),
        (NoFind, "it lacks the method find"),
        (NoDataclass, "it is not a dataclass; decorate it with @dataclass(frozen=True, kw_only=True)"),
        (NoFieldOfAPart, "needs names the part 'vae', for which it has no field"),
        (NeedsText, "needs is 'vae'; write a tuple of names of parts"),
        (NoDefault, "its field 'rate' has no default and is no part that it needs or uses"),
        (FarDefault, "the default of its setting rate, 20, is out of range: choose 10 or less"),
        (
            FidelityAsText,
            'fidelity is \'variant\'; write Fidelity("variant", "how it differs from its source")',
        ),
        (UnknownFidelity, "the kind of its fidelity is 'exact'; choose paper, variant or ours"),
        (DepartsSomehow, "its fidelity, variant, does not say in departs how it differs from its source"),
        (AsInThePaper, None),
        (Whole, None),
    ],
)
def test_what_an_author_forgot_is_named(engine: object, fault: str | None):
    assert fault_of(engine, "mine") == fault


def test_an_engine_has_the_name_of_its_entry_point():
    assert fault_of(Whole, "other") == "it calls itself 'mine'; the entry point must have the same name"


@pytest.mark.parametrize("name", engine_names())
def test_our_engines_lack_nothing(name: str):
    assert fault_of(load_engine(name), name) is None


def test_an_engine_that_does_not_say_how_near_it_is_to_its_source_is_a_variant():
    assert Whole.fidelity == Fidelity("variant", "its author does not say")


@pytest.mark.parametrize("name", [name for name in engine_names() if plugin_of(name) is None])
def test_the_docs_say_how_each_engine_departs_from_its_source(name: str):
    engine = load_engine(name)
    assert "fidelity" in vars(engine), "it must state its own"
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {engine.fidelity.kind} | {engine.fidelity.departs} |" in page


def raises(error: Exception) -> Callable[[Problem], Any]:
    def does(_: Problem) -> Any:
        raise error

    return does


def drawing(change: Callable[[Tensor], Any]) -> Callable[[Problem], Any]:
    return lambda problem: Curve(lambda t, rows: change(problem.images[rows]))


@pytest.mark.parametrize(
    ("does", "message"),
    [
        (
            raises(ValueError("no such shell")),
            r"it fails \(ValueError: no such shell\); tell the author of tests",
        ),
        (raises(AssertionError()), r"it fails \(AssertionError\); tell the author of"),
        (lambda problem: problem.images, "find returns a Tensor, not a Curve"),
        (
            drawing(lambda images: images.flatten(1)),
            r"it makes \(2, 784\) torch.float32; images must be \(2, 1, 28, 28\)",
        ),
        (
            drawing(lambda images: images[:1]),
            r"it makes \(1, 1, 28, 28\) torch.float32; images must be \(2, 1, 28, 28\)",
        ),
        (drawing(lambda images: images.numpy()), r"it makes a ndarray; images must be"),
        (drawing(lambda images: images.byte()), "torch.uint8; images must be .*, floating-point"),
    ],
)
def test_what_fails_in_a_search_is_an_error_of_that_engine(
    bundle: Bundle, digits: tuple[Tensor, Tensor], does: Callable[[Problem], Any], message: str
):
    images, targets = digits[0][:2], torch.tensor([3, 4])
    with pytest.raises(BrokenEngine, match=message):
        Whole(does=does).search(bundle.classifier, images, targets)


def test_an_engine_that_changes_its_images_changes_nobody_s(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][:2].clone()

    def does(problem: Problem) -> Curve:
        problem.images.zero_()
        return Curve(lambda t, rows: problem.images[rows])

    found = Whole(does=does).search(bundle.classifier, images, torch.tensor([3, 4]), path=True)
    assert torch.equal(images, digits[0][:2])
    assert found.path is not None and torch.equal(found.path[:, 0], images)


def test_running_out_of_memory_is_not_the_engine_s_fault(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    with pytest.raises(MemoryError):
        Whole(does=raises(MemoryError())).search(bundle.classifier, digits[0][:1], torch.tensor([3]))
