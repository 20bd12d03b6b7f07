"""jsma, and the search over pixels that it shares with deduce."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.engine import Counterfactuals
from cfx.counterfactuals.engines.jsma import SaliencyMap
from cfx.counterfactuals.goal import TargetClass
from cfx.counterfactuals.problem import Problem
from cfx.counterfactuals.request import SearchRequest
from cfx.counterfactuals.search.pixel_edits import Edits, PixelSearch

WEIGHTS = torch.tensor([3.0, -2.0, 1.0, 0.5])  # of the pixels of an image of 2x2, for class 1


class Weighted(nn.Module):
    """Two classes by a weighted sum of four pixels, with the same weights in each channel."""

    def __init__(self, threshold: float = 100.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, images: Tensor) -> Tensor:
        score = (images.flatten(2).sum(dim=1) * WEIGHTS).sum(dim=1) - self.threshold
        return torch.stack([-score, score], dim=1)


def image(*pixels: float, channels: int = 1) -> Tensor:
    """One image (1, C, 2, 2) of these pixels."""
    return torch.tensor(pixels).view(1, 1, 2, 2).repeat(1, channels, 1, 1)


def edits_of(images: Tensor, *, threshold: float = 100.0, **settings: float) -> Edits:
    """The edits of a search for class 1, whose loss is the negative weighted sum of the pixels."""
    goal = TargetClass(torch.ones(len(images), dtype=torch.int64), 0.9)
    problem = Problem(Weighted(threshold), SearchRequest(images=images, targets=goal.targets), goal)

    def loss(images: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        log_probabilities = problem.log_probabilities(images, rows)
        return problem.cost(log_probabilities, rows), log_probabilities

    how = {"step": 0.25, "max_changes": 5, "max_steps": 40, **settings}
    return PixelSearch(loss=loss, **how).run(problem)  # pyright: ignore[reportArgumentType]


def made(edits: Edits, t: float) -> Tensor:
    return edits.draw(torch.tensor([t]), torch.tensor([0]))[0, 0].flatten()


# The search over pixels.


def test_pixels_are_edited_in_the_order_of_their_gradients_until_they_are_black_or_white():
    edits = edits_of(image(0.5, 0.5, 0.5, 0.5))
    assert edits.pixels[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3], "the largest first, and none once it is saturated"
    assert torch.allclose(edits.changes[0, :, 0], 0.25 * torch.tensor([1.0, 1, -1, -1, 1, 1, 1, 1]))
    assert int(edits.counts) == 8 and not bool(edits.valid), "nothing is left to edit"
    assert torch.equal(made(edits, 1), torch.tensor([1.0, 0, 1, 1]))


def test_saturated_pixels_are_never_chosen():
    edits = edits_of(image(1.0, 0.0, 0.5, 1.0))
    assert edits.pixels[0].tolist() == [2, 2]


def test_a_pixel_is_edited_at_most_so_often():
    edits = edits_of(image(0.0, 1.0, 0.0, 0.0), max_changes=3)
    assert edits.pixels[0].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_all_channels_of_a_pixel_change_together_and_full_ones_stay():
    images = image(0.5, 0.5, 0.5, 0.5, channels=3)
    images[0, 1, 0, 0] = 1.0
    edits = edits_of(images, step=0.5, max_steps=2)
    assert edits.pixels[0].tolist() == [0, 1], "two channels of weight 3 count as much as three of weight 2"
    assert torch.allclose(edits.changes[0], torch.tensor([[0.5, 0.0, 0.5], [-0.5, -0.5, -0.5]]))


def test_the_search_ends_at_the_first_valid_image():
    edits = edits_of(image(0.0, 0.0, 0.0, 0.0), threshold=1.0, undo_rounds=0)
    assert bool(edits.valid) and edits.pixels[0].tolist() == [0, 0, 0], "3 * 0.75 is enough for 90 %"


def test_draw_makes_the_first_edits():
    edits = edits_of(image(0.5, 0.5, 0.5, 0.5))
    assert torch.equal(made(edits, 0), torch.full((4,), 0.5))
    assert torch.equal(made(edits, 1 / 8), torch.tensor([0.75, 0.5, 0.5, 0.5]))
    assert torch.equal(made(edits, 3 / 8), torch.tensor([1.0, 0.25, 0.5, 0.5]))
    assert torch.equal(made(edits, 3.5 / 8), made(edits, 4 / 8))


def test_edits_that_are_not_needed_are_undone_and_the_others_keep_their_order():
    images = image(0.0, 1.0, 0.0, 0.0)
    problem = Problem(
        Weighted(threshold=1.0),
        SearchRequest(images=images, targets=torch.tensor([1])),
        TargetClass(torch.tensor([1]), 0.9),
    )
    pixels = torch.tensor([[3, 0, 2, 0, 1, 0, 0]])
    changes = torch.tensor([0.5, 0.5, 0.25, 0.25, -1.0, 0.25, 9.0]).view(1, 7, 1)
    edits = Edits(images, pixels, changes, torch.tensor([6]), torch.tensor([True]))  # the seventh is none
    edits.undo(problem, 0, rounds=4)
    count = int(edits.counts)
    assert edits.pixels[0, :count].tolist() == [0, 1, 0], "without two of the pixels, and without one edit of another"
    found = problem.candidates(edits.draw(torch.ones(1), torch.tensor([0])), torch.tensor([0]))
    assert bool(found.valid)


# On digits.


@pytest.fixture(scope="module")
def asked(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Forty digits, and the runner-up class of each."""
    images = digits[0][::10]
    return images, bundle.classifier(images).topk(2, dim=1).indices[:, 1]


@pytest.fixture(scope="module")
def found(bundle: Bundle, asked: tuple[Tensor, Tensor]) -> Counterfactuals:
    return SaliencyMap.from_bundle(bundle).search(bundle.classifier, *asked, path=True)


def changed(found: Counterfactuals, images: Tensor) -> Tensor:
    """How many pixels of each image changed, (N,)."""
    return ((found.images - images).abs() > 1.5 / 255).flatten(1).sum(dim=1)


def test_few_pixels_are_enough(found: Counterfactuals, asked: tuple[Tensor, Tensor]):
    assert found.valid.float().mean() >= 0.9
    assert changed(found, asked[0]).float().mean() < 40


def test_every_frame_of_the_path_has_more_of_the_same_edits(found: Counterfactuals):
    assert found.path is not None
    gaps = (found.path[:, 1:] - found.path[:, :1]).abs().flatten(2)
    assert (gaps.gt(0.01).sum(dim=2).diff(dim=1) >= 0).float().mean() > 0.95


def test_no_changed_pixel_is_needless(bundle: Bundle, found: Counterfactuals, asked: tuple[Tensor, Tensor]):
    """Of most images no pixel can be put back; rounds of undoing are few, so of some one can."""
    needed = []
    for before, after, target in zip(asked[0], found.images, asked[1], strict=True):
        places = ((after - before).abs() > 0.01).flatten().nonzero().flatten()
        without = after.flatten().repeat(len(places), 1)
        without[torch.arange(len(places)), places] = before.flatten()[places]
        confidence = bundle.classifier(without.view(-1, 1, 28, 28)).softmax(dim=1)[:, target]
        needed.append(bool((confidence < 0.9).all()))
    assert sum(needed) >= 0.8 * len(needed)


def test_smaller_steps_change_more_pixels_by_less(bundle: Bundle, found: Counterfactuals, asked: tuple[Tensor, Tensor]):
    images, targets = (values[:8] for values in asked)
    small = SaliencyMap.from_bundle(bundle, step=0.2).search(bundle.classifier, images, targets)
    large = found.only(range(8))
    assert changed(small, images).sum() > changed(large, images).sum()
    assert (small.images - images).abs().sum() < (large.images - images).abs().sum()
