"""Laws that every engine keeps, on real images and the classifier of a bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from ..bundles.bundle import Bundle, load_bundle
from ..bundles.known_parts import JUDGES
from ..counterfactuals.engine import Counterfactuals, Engine
from ..counterfactuals.fidelity import KINDS, UNSTATED
from ..counterfactuals.problem import NothingToOffer
from ..counterfactuals.registry import engine_names, load_engine
from ..counterfactuals.settings import parse_settings, settings_of, text_of
from ..counterfactuals.tightening import PATH_FRAMES
from ..errors import BundleError, UsageError
from .subjects import Counting, Never, Undecided, questions_of

LEVEL = 1 / 255  # of an 8-bit image
ON_AN_ACCELERATOR = 0.5  # share of the images that must come out the same alone and in a batch there


class EngineSuite:
    """The tests of one engine. Subclass it in a test file, and name the engine.

    Attributes:
        engine: name of the engine, under which it is installed.
        bundle_name: name or directory of the bundle whose models and images are used; it needs the part `donors`.
        settings: values of the engine's fields, such as fewer steps, which make the tests fast.
        count: number of questions.
        most_calls: the engine's budget: how often it may ask the classifier about one image.
        uncounted: calls of the classifier in each search that are no candidates, such as looking for a layer.
        device: of the models and images, "cpu", "cuda" or "mps"; by default what CFX_DEVICE says, else the CPU.
        alike: share of the images that must come out the same alone and in a batch. The last digit of a convolution
            depends on the size of the batch, so the path of an iterating engine may fork; that of others may not.
    """

    engine: ClassVar[str]
    bundle_name: ClassVar[str] = "mnist"
    settings: ClassVar[Mapping[str, Any]] = {}
    count: ClassVar[int] = 6
    most_calls: ClassVar[int] = 5000
    uncounted: ClassVar[int] = 0
    device: ClassVar[str] = os.environ.get("CFX_DEVICE", "cpu")
    alike: ClassVar[float] = 1.0

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls) -> Bundle:
        """The bundle whose models and images are used."""
        return load_bundle(cls.bundle_name, cls.device)

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls, bundle: Bundle) -> Engine:
        """The engine with the bundle's models."""
        return load_engine(cls.engine).from_bundle(bundle, **cls.settings)

    @pytest.fixture(scope="class")
    @classmethod
    def questions(cls, bundle: Bundle) -> tuple[Tensor, Tensor]:
        """Real images (N, C, H, W) that the classifier gets right, and another class as target of each (N,)."""
        return questions_of(bundle, cls.count)

    @pytest.fixture(scope="class")
    @classmethod
    def found(cls, bundle: Bundle, built: Engine, questions: tuple[Tensor, Tensor]) -> Counterfactuals:
        """The answers to all questions, with their paths."""
        return built.search(bundle.classifier, *questions, path=True, seed=3)

    @pytest.fixture(scope="class")
    @classmethod
    def again(
        cls, bundle: Bundle, built: Engine, found: Counterfactuals, questions: tuple[Tensor, Tensor]
    ) -> tuple[Counterfactuals, int]:
        """The answers to all questions, searched once more, and the number of images that the classifier was shown.

        What an engine looks up once, such as the donors of a class, it has looked up for `found`: it is not counted.
        """
        counting = Counting(bundle.classifier)
        return built.search(counting, *questions, seed=3), counting.seen

    def test_it_is_found_by_its_name(self) -> None:
        assert self.engine in engine_names(), "installed packages provide no engine of this name in cfx.engines"
        kind = load_engine(self.engine)
        assert kind.name == self.engine
        assert kind.summary and kind.paper
        ours = kind.__module__.startswith("cfx.")
        assert ours or "contract" in vars(kind), "state the version of the contract that it was written for"

    def test_it_says_how_near_it_is_to_its_source(self) -> None:
        kind = load_engine(self.engine)
        assert kind.fidelity.kind in KINDS
        assert kind.fidelity.kind == "paper" or kind.fidelity.departs.strip(), "say how it departs from its source"
        ours = kind.__module__.startswith("cfx.")
        assert not ours or kind.fidelity is not UNSTATED, "an engine of cfx states its own fidelity"

    def test_it_sees_no_judge(self) -> None:
        kind = load_engine(self.engine)
        assert JUDGES.isdisjoint((*kind.needs, *kind.uses))

    def test_answers_are_eight_bit_images(self, found: Counterfactuals, questions: tuple[Tensor, Tensor]) -> None:
        images, targets = questions
        assert found.images.shape == images.shape and found.images.dtype == torch.float32
        assert found.images.device == images.device
        assert torch.isfinite(found.images).all()
        assert found.images.min() >= 0 and found.images.max() <= 1
        assert ((found.images * 255) - (found.images * 255).round()).abs().max() < 1e-3
        if load_engine(self.engine).any_class:
            assert torch.equal(found.targets, found.predicted), "it answers with the class that it finds"
        else:
            assert torch.equal(found.targets, targets)
        assert not found.images.requires_grad, "a gradient leaks out of the search"

    def test_valid_means_valid(self, bundle: Bundle, built: Engine, found: Counterfactuals) -> None:
        probabilities = bundle.classifier(found.images).softmax(dim=1)
        confidence = probabilities.gather(1, found.targets[:, None]).squeeze(1)
        again = (probabilities.argmax(dim=1) == found.targets) & (confidence >= built.confidence)
        assert torch.equal(again, found.valid)
        assert torch.allclose(confidence, found.confidence, atol=1e-4)

    def test_an_answer_never_contradicts_itself(
        self, bundle: Bundle, built: Engine, questions: tuple[Tensor, Tensor]
    ) -> None:
        """Validity, class and confidence are from one evaluation, whatever the classifier says at the next."""
        images, targets = (values[:2] for values in questions)
        found = with_steps(built, 5).search(Undecided(bundle.classifier), images, targets)
        meets = (found.predicted == found.targets) & (found.confidence >= built.confidence)
        assert torch.equal(found.valid, meets)
        assert (found.predicted_confidence >= found.confidence).all()

    def test_the_same_seed_gives_the_same_bytes(
        self, found: Counterfactuals, again: tuple[Counterfactuals, int]
    ) -> None:
        assert torch.equal(again[0].images, found.images)
        assert again[0].path is None

    def test_a_batch_equals_its_images_one_by_one(
        self, bundle: Bundle, built: Engine, found: Counterfactuals, questions: tuple[Tensor, Tensor]
    ) -> None:
        images, targets = questions
        alone = [
            built.search(bundle.classifier, images[row : row + 1], targets[row : row + 1], seed=3)
            for row in range(len(images))
        ]
        same = torch.cat([one.valid for one in alone]) == found.valid
        # Rounding to 8 bits may fall either way where float sums differ in their last digit.
        different = (torch.cat([one.images for one in alone]) - found.images).abs().amax(dim=(1, 2, 3))
        near = different <= 2 * LEVEL
        if self.device == "cpu":
            assert same.all() and near.float().mean() >= self.alike
        else:  # an accelerator chooses another algorithm for another size of the batch
            assert (same & near).float().mean() >= min(self.alike, ON_AN_ACCELERATOR)

    def test_outside_the_region_not_one_pixel_changes(
        self, bundle: Bundle, built: Engine, questions: tuple[Tensor, Tensor]
    ) -> None:
        images, targets = (values[: (self.count + 1) // 2] for values in questions)
        region = torch.zeros_like(images[:, :1], dtype=torch.bool)
        region[:, :, : images.shape[2] // 2] = True
        inside = built.search(bundle.classifier, images, targets, region=region, path=True, seed=3)
        outside = ~region.expand_as(images)
        assert torch.equal(inside.images[outside], images[outside])
        assert inside.path is not None
        for frame in inside.path.unbind(dim=1):
            assert torch.equal(frame[outside], images[outside])

    def test_the_path_leads_from_the_factual_to_the_counterfactual(
        self, found: Counterfactuals, questions: tuple[Tensor, Tensor]
    ) -> None:
        assert found.path is not None
        assert found.path.shape == (len(found), PATH_FRAMES, *found.images.shape[1:])
        assert torch.equal(found.path[:, 0], questions[0])
        assert torch.equal(found.path[:, -1], found.images)

    def test_calls_are_counted_and_within_the_budget(self, built: Engine, again: tuple[Counterfactuals, int]) -> None:
        found, seen = again
        assert seen - int(found.forward_calls.sum()) == self.uncounted
        assert (found.forward_calls > 0).all() and (found.forward_calls <= self.most_calls).all()
        assert (found.backward_calls <= found.forward_calls).all()
        if not built.gradients:
            assert (found.backward_calls == 0).all(), "it says that it needs no gradients"

    def test_models_and_random_numbers_are_left_as_they_were(
        self, bundle: Bundle, built: Engine, questions: tuple[Tensor, Tensor]
    ) -> None:
        classifier, random = bundle.classifier, torch.get_rng_state()
        parts = [each for each in map(vars(built).get, (*built.needs, *built.uses)) if isinstance(each, nn.Module)]
        states = [_state(each) for each in parts]
        classifier.train().requires_grad_(True)
        hooks = _hooks(classifier)
        before = {name: value.clone() for name, value in classifier.state_dict().items()}
        try:
            with_steps(built, 5).search(classifier, *(values[:1] for values in questions))
            assert all(module.training for module in classifier.modules())
            assert all(each.requires_grad and each.grad is None for each in classifier.parameters())
            assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
            assert _hooks(classifier) == hooks, "a hook was left behind"
            assert [_state(each) for each in parts] == states, "a part of the bundle was changed"
            assert torch.equal(torch.get_rng_state(), random), "use problem.random(), not torch's global generator"
        finally:
            classifier.eval().requires_grad_(False)

    def test_it_prints_nothing(
        self, bundle: Bundle, built: Engine, questions: tuple[Tensor, Tensor], capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Standard output is for results: `--format json` would be none any more."""
        capfd.readouterr()
        with_steps(built, 5).search(bundle.classifier, *(values[:1] for values in questions))
        assert capfd.readouterr() == ("", "")

    def test_a_black_box_is_refused_or_served(
        self, bundle: Bundle, built: Engine, questions: tuple[Tensor, Tensor]
    ) -> None:
        kind = load_engine(self.engine)
        if kind.gradients:
            models = load_bundle(self.bundle_name, self.device).models
            models.differentiable = False
            with pytest.raises(BundleError, match="black box"):
                kind.from_models(models, **self.settings)
            return

        def black_box(images: Tensor) -> Tensor:
            with torch.inference_mode():
                return bundle.classifier(images).clone()

        images, targets = (values[:2] for values in questions)
        found = built.search(black_box, images, targets)
        seen = bundle.classifier(found.images).softmax(dim=1).gather(1, found.targets[:, None]).squeeze(1)
        assert torch.allclose(seen, found.confidence, atol=1e-4)

    def test_a_failed_search_is_an_answer(
        self, bundle: Bundle, built: Engine, questions: tuple[Tensor, Tensor]
    ) -> None:
        """Nothing is valid for a classifier that never sees the target; only having no attempt at all is an error."""
        images, targets = (values[:2] for values in questions)
        if built.any_class:
            targets = torch.arange(bundle.classifier(images).shape[1], device=images.device)
        try:
            found = with_steps(built, 2).search(Never(bundle.classifier, targets), images, targets[:2])
        except NothingToOffer:
            return
        assert not found.valid.any()
        assert torch.isfinite(found.images).all()

    def test_an_empty_batch_is_answered_with_an_empty_one(
        self, bundle: Bundle, built: Engine, questions: tuple[Tensor, Tensor]
    ) -> None:
        images, targets = (values[:0] for values in questions)
        assert len(built.search(bundle.classifier, images, targets)) == 0

    def test_settings_survive_a_round_trip(self, bundle: Bundle, built: Engine) -> None:
        kind = load_engine(self.engine)
        for each in settings_of(kind):
            assert parse_settings(kind, {each.name: text_of(each.default)}) == {each.name: each.default}
        again = kind.from_bundle(bundle, **built.settings())
        assert again.settings() == built.settings()

    @pytest.mark.parametrize("confidence", [0.0, 1.0, 90.0])
    def test_a_confidence_that_is_no_probability_is_refused(self, bundle: Bundle, confidence: float) -> None:
        with pytest.raises(UsageError, match="choose a probability between 0 and 1"):
            load_engine(self.engine).from_bundle(bundle, confidence=confidence)


def with_steps(engine: Engine, count: int) -> Engine:
    """The engine with at most so many steps, if it iterates."""
    return replace(engine, max_steps=count) if hasattr(engine, "max_steps") else engine


def _state(model: nn.Module) -> tuple[object, ...]:
    """The modes, the hooks and the weights of a model, as something that can be compared."""
    weights = [(name, value.double().sum().item()) for name, value in model.state_dict().items()]
    return weights, [module.training for module in model.modules()], _hooks(model)


def _hooks(classifier: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(each, kind)) for each in classifier.modules() for kind in kinds)
