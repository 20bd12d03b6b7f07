"""swap: composites of real images, their search, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle
from cfx.classifiers.introspection.features import SpatialFeatures
from cfx.counterfactuals.engines.swap import CellSwap
from cfx.counterfactuals.problem import ModelError
from cfx.generative.donors import Donors, OfClass
from cfx.images.composites import FEATHER, Grid, Swap, aligned

SIDE = 40


class Corners(nn.Module):
    """Three classes by the brightness of the top left cell, of the bottom right cell, and of neither."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 8, stride=8, bias=False)  # a mean over each of 5 x 5 cells
        nn.init.constant_(self.layer.weight, 1 / (3 * 64))
        self.layer.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        cells = self.layer(images)
        first, last = cells[:, 0, 0, 0], cells[:, 1, -1, -1]
        return 40 * torch.stack([first - 0.6, last - 0.6, torch.zeros_like(first)], dim=1)


class Given:
    """Donors of a test, by label."""

    def __init__(self, images: dict[int, Tensor]) -> None:
        self.images = images

    def of_label(self, label: int) -> OfClass:
        images = self.images.get(label, torch.zeros(0, 3, SIDE, SIDE))
        return OfClass(images, [f"{label}-{place}.png" for place in range(len(images))], f"no images of class {label}")


def photo(*bright: tuple[int, int], level: float = 0.3) -> Tensor:
    """A grey image (3, 40, 40) whose cells at these rows and columns are bright."""
    image = torch.full((3, SIDE, SIDE), level)
    for row, column in bright:
        image[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0.95
    return image


def engine(donors: dict[int, Tensor], **settings: object) -> CellSwap:
    return CellSwap(donors=Given(donors), cells=5, align=False, **settings)  # pyright: ignore[reportArgumentType]


def ask(found: CellSwap, classifier: Callable[[Tensor], Tensor], images: Sequence[Tensor], targets: Sequence[int]):
    return found.search(classifier, torch.stack([*images]), torch.tensor([*targets]))


# Composites.


@pytest.mark.parametrize("cell", [0, 7, 12, 24])
@pytest.mark.parametrize("source", [0, 12])
def test_a_cell_is_the_donors_and_the_rest_is_kept(cell: int, source: int):
    grid = Grid((SIDE, SIDE), 5, match_colour=False)
    image, donor = torch.rand(3, SIDE, SIDE), torch.rand(3, SIDE, SIDE)
    found = grid.composite(image, donor[None], [Swap(cell, source, 0)])
    box, other = grid.box(cell), grid.box(source)
    inside = found[:, box.top : box.bottom, box.left : box.right]
    assert torch.equal(inside, donor[:, other.top : other.bottom, other.left : other.right])
    far = torch.ones(SIDE, SIDE, dtype=torch.bool)
    soft = round(FEATHER * SIDE / 5)
    far[max(0, box.top - soft) : box.bottom + soft, max(0, box.left - soft) : box.right + soft] = False
    assert torch.equal(found[:, far], image[:, far])
    assert float(found.min()) >= 0 and float(found.max()) <= 1


@pytest.mark.parametrize("match_colour", [False, True])
def test_a_whole_donor_is_the_donor(match_colour: bool):
    grid = Grid((SIDE, SIDE), 5, match_colour=match_colour)
    image, donor = torch.rand(3, SIDE, SIDE), torch.rand(3, SIDE, SIDE)
    found = grid.composite(image, donor[None], [Swap(cell, cell, 0) for cell in range(len(grid))])
    assert torch.allclose(found, donor, atol=1e-6)


def test_cells_side_by_side_in_both_images_are_one_piece():
    grid = Grid((SIDE, SIDE), 5, match_colour=True)
    beside = [Swap(0, 1, 0), Swap(1, 2, 0), Swap(6, 7, 0)]
    others = [Swap(4, 4, 1), Swap(9, 9, 0), Swap(14, 14, 0), Swap(12, 14, 0), Swap(3, 4, 0), Swap(8, 10, 0)]
    pieces = [{swap.cell for swap in piece} for piece in grid.pieces([*beside, *others])]
    assert pieces == [{0, 1, 6}, {4}, {9, 14}, {12}, {3}, {8}]
    image, donor = torch.rand(3, SIDE, SIDE), torch.rand(3, SIDE, SIDE)
    found = grid.composite(image, donor[None], beside)
    first, below = grid.box(0), grid.box(6)
    seen = found[:, first.top : below.bottom - 1, below.left + 1 : below.right - 1]
    real = donor[:, first.top : below.bottom - 1, grid.box(7).left + 1 : grid.box(7).right - 1]
    shift = (seen - real)[:, 2:-2, 2:-2]
    inside = ((seen > 0) & (seen < 1))[:, 2:-2, 2:-2]
    assert float(shift[0][inside[0]].std()) < 1e-6, "one shift of the colour, and no border between the two cells"


def test_the_colour_of_a_cell_is_matched_to_its_surroundings():
    image, donor = photo(level=0.4), photo((2, 2), level=0.6)
    middle = slice(18, 22)
    plain = Grid((SIDE, SIDE), 5, match_colour=False).composite(image, donor[None], [Swap(12, 12, 0)])
    matched = Grid((SIDE, SIDE), 5, match_colour=True).composite(image, donor[None], [Swap(12, 12, 0)])
    assert torch.allclose(plain[:, middle, middle], torch.tensor(0.95))
    assert torch.allclose(matched[:, middle, middle], torch.tensor(0.75), atol=0.01), "0.2 darker, as its surroundings"


def test_an_image_smaller_than_the_grid_has_a_cell_a_pixel():
    grid = Grid((3, 4), 7, match_colour=False)
    assert len(grid) == 12 and grid.box(11).right == 4 and grid.box(11).bottom == 3


def test_donors_are_moved_to_where_the_image_is():
    image = torch.zeros(1, 64, 64)
    image[:, 20:44, 20:44] = 1
    moved = torch.zeros(1, 64, 64)
    moved[:, 16:40, 24:48] = 1
    gap = float((aligned(image, moved[None], flip=False)[0] - image).abs().mean())
    assert gap < 0.3 * float((moved - image).abs().mean())
    assert torch.equal(aligned(image, image[None], flip=True)[0], image), "a donor that fits is left as it is"
    left, right = photo((2, 0)), photo((2, 4))
    assert torch.allclose(aligned(left, right[None], flip=True)[0], left, atol=1e-5)
    assert not torch.allclose(aligned(left, right[None], flip=False)[0], left, atol=0.1)


# The search.


@pytest.mark.parametrize("black_box", [False, True])
def test_the_cells_that_decide_are_found(black_box: bool):
    model = Corners()
    classifier = (lambda images: model(images)) if black_box else model
    donors = {0: torch.stack([photo((0, 0), (2, 2), (3, 1)), photo((0, 0), (4, 0), level=0.5)]), 1: photo((4, 4))[None]}
    found = ask(engine(donors), classifier, [photo(), photo((4, 4))], [0, 0])
    assert found.valid.all() and found.about is not None
    for about, places in zip(found.about, [{(0, 0)}, {(0, 0), (32, 32)}], strict=True):
        assert {(region.x, region.y) for region in about.regions} == places and not about.notes
        assert all((region.width, region.height) == (8, 8) for region in about.regions)
        assert {region.donor for region in about.regions} <= {"0-0.png", "0-1.png"}
    assert (found.forward_calls > 0).all() and (found.steps > 0).all()


def test_the_features_way_finds_cells_at_other_places(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cfx.counterfactuals.engines.swap.MEASURED_UP_TO", 0)
    found = ask(engine({0: torch.stack([photo((0, 0), (3, 3))])}), Corners(), [photo()], [0])
    assert found.valid.all() and found.about is not None and len(found.about[0].regions) == 1
    assert int(found.backward_calls) > 0


def test_a_batch_is_its_images_alone():
    donors = {0: torch.stack([photo((0, 0)), photo((0, 0), (1, 1))]), 1: torch.stack([photo((4, 4), (3, 3))])}
    images, targets = [photo(), photo((4, 4)), photo((2, 2), level=0.35), photo((0, 0))], [0, 0, 1, 1]
    together = ask(engine(donors), Corners(), images, targets)
    for row, (image, target) in enumerate(zip(images, targets, strict=True)):
        alone = ask(engine(donors), Corners(), [image], [target])
        assert torch.equal(alone.images[0], together.images[row])
        assert alone.forward_calls[0] == together.forward_calls[row]


def test_a_collage_is_called_one():
    class Everywhere(Corners):
        def forward(self, images: Tensor) -> Tensor:
            mean = images.mean(dim=(1, 2, 3))
            return 60 * torch.stack([mean - 0.6, torch.zeros_like(mean)], dim=1)

    found = ask(engine({0: photo(level=0.9)[None]}), Everywhere(), [photo()], [0])
    assert found.valid.all() and found.about is not None
    (note,) = found.about[0].notes
    assert "collage: these photographs have little in common" in note and "the nearest donor is 0-0.png" in note


def test_a_search_that_fails_is_an_answer():
    class Unsure(Corners):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) / 20

    found = ask(engine({0: photo((0, 0))[None]}), Unsure(), [photo()], [0])
    assert not found.valid.any() and found.about is not None and found.about[0].regions
    assert 0.3 < float(found.confidence) < 0.9, "the best attempt"


# Donors.


def test_the_photograph_itself_is_no_donor():
    itself = photo((0, 0), level=0.31)
    with pytest.raises(ModelError, match="the only image of the target class is the factual itself"):
        ask(engine({0: itself[None]}), Corners(), [itself], [0])


def test_donors_that_the_classifier_does_not_take_for_the_target_are_none():
    with pytest.raises(ModelError, match=r"takes none of 2 images of the target class .* probability is 0\.0%"):
        ask(engine({0: torch.stack([photo((1, 1)), photo((2, 2))])}), Corners(), [photo()], [0])


def test_no_donors_at_all_are_an_error_and_some_without_are_an_answer():
    with pytest.raises(ModelError, match="no images of class 1"):
        ask(engine({0: photo((0, 0))[None]}), Corners(), [photo()], [1])
    found = ask(engine({0: photo((0, 0))[None]}), Corners(), [photo(), photo()], [0, 1])
    assert found.valid.tolist() == [True, False] and found.about is not None
    assert torch.allclose(found.images[1], (photo() * 255).round() / 255)
    assert found.about[1].notes == ("swap: no images of class 1",)


def test_donors_survive_their_file(bundle: Bundle):
    images, labels = (torch.rand(5, 1, 6, 4) * 255).to(torch.uint8), torch.tensor([0, 1, 1, 0, 2])
    donors = Donors.of(images, labels, ["a.png", "ä.png", "c d.png", "d", "e"])
    again = Donors(5, 1, (6, 4), len(donors.name_bytes))
    again.load_state_dict(donors.state_dict())
    found = again.of_label(1)
    assert list(found.names) == ["ä.png", "c d.png"] and torch.equal(found.images, images[1:3].float() / 255)
    assert len(again.of_label(7).images) == 0


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_donors_of_a_bundle_are_what_its_classifier_takes_for_them(name: str):
    from cfx.bundles.bundle import load_bundle

    shipped = load_bundle(name)
    donors = shipped.part("donors", Donors)
    assert donors.labels.bincount().tolist() == [200] * 10
    with torch.no_grad():
        seen = torch.cat([shipped.classifier(batch.float() / 255).argmax(1) for batch in donors.images.split(500)])
    assert torch.equal(seen, donors.labels)


# Features.


def test_the_last_layer_with_places_is_found_and_left_as_it_was(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    classifier = bundle.classifier
    features = SpatialFeatures(classifier, digits[0][:1])
    found, logits = features(digits[0][:3])
    assert features.layer is not None and found.dim() == 4 and min(found.shape[2:]) >= 3
    assert torch.equal(logits, classifier(digits[0][:3]))
    assert all(not module._forward_hooks for module in classifier.modules())
    with torch.enable_grad():
        found, logits = features(digits[0][:3])
        (gradient,) = torch.autograd.grad(logits[:, 3].sum(), found)
    assert gradient.shape == found.shape and bool(gradient.ne(0).any())


def test_a_function_has_no_layer(digits: tuple[Tensor, Tensor]):
    assert SpatialFeatures(lambda images: images.flatten(1), digits[0][:1]).layer is None


def test_only_a_layer_that_the_logits_depend_on_has_features(monkeypatch: pytest.MonkeyPatch):
    class Beside(Corners):
        """Also runs a layer whose output the logits do not use."""

        def __init__(self) -> None:
            super().__init__()
            self.beside = nn.Conv2d(3, 4, 3)

        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            self.beside(images)
            return logits

    class Closed(Corners):
        """Gives no gradients, as an adapted black box."""

        def forward(self, images: Tensor) -> Tensor:
            with torch.no_grad():
                return super().forward(images)

    beside = Beside().requires_grad_(False)
    assert SpatialFeatures(beside, photo()[None]).layer is beside.layer
    assert SpatialFeatures(Closed(), photo()[None]).layer is None
    monkeypatch.setattr("cfx.counterfactuals.engines.swap.MEASURED_UP_TO", 0)
    for classifier in (beside, Closed()):
        assert ask(engine({0: photo((0, 0))[None]}), classifier, [photo()], [0]).valid.all()
