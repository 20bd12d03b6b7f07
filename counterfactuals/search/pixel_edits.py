"""Greedy search over single pixels, shared by the engines that change one pixel at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..curve import Curve
from ..engine import Engine
from ..problem import LARGEST_BATCH, Problem
from ..settings import setting

RESTART_SHARE_OF_PIXELS = 0.5  # share of the pixels, drawn at random, that further attempts may change
CODE = "code of Höltgen et al. 2021"
AS_IN_DEDUCE = {
    "confidence": 0.5,
    "step": 0.2,
    "max_changes": 5,
    "max_steps": 700,
    "undo_rounds": 0,
    "tightened": False,
}
"""The settings of that code."""

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""images (M, C, h, w), rows (M,) -> (M,) the loss to descend and (M, K) log-probabilities of the classifier"""


@dataclass(frozen=True, kw_only=True)
class PixelEngine(Engine):
    """An engine that changes one pixel a step, and its settings for that. A pixel is a position with all its channels.

    Pixels are left out once they were changed `max_changes` times, and while they are black or white and would have to
    become darker or brighter still. The search stops at the first valid image. Then pixels, and after them single
    changes, are undone that the image does not need to be valid.
    """

    candidate: ClassVar[bool] = False

    step: float = setting(
        1.0,
        "change of a pixel in a step, in units of the pixel range; smaller steps change more pixels by less",
        source=f"Papernot et al. 2016 (theta); 0.2 in the {CODE}",
        least=1 / 255,
        most=1,
    )
    max_changes: int = setting(5, "changes of one pixel at most", source=CODE, least=1)
    max_steps: int = setting(700, "steps at most", source=CODE, least=1)
    undo_rounds: int = setting(4, "rounds of undoing changes that are not needed; 0: none are undone", least=0)

    def edited(self, problem: Problem, loss: Loss, momentum: float = 0.0) -> Curve:
        """Search for edits that descend a loss; arguments as in `PixelSearch`."""
        search = PixelSearch(
            loss=loss,
            step=self.step,
            max_changes=self.max_changes,
            max_steps=self.max_steps,
            momentum=momentum,
            undo_rounds=self.undo_rounds,
        )
        return search.run(problem).curve()


@dataclass(frozen=True, kw_only=True)
class PixelSearch:
    """How a search edits pixels. A pixel is a position with all its channels.

    Attributes:
        loss: what the edits descend.
        step: change of each channel of a pixel in one edit, in units of the pixel range.
        max_changes: largest number of edits of one pixel.
        max_steps: largest number of edits of one image.
        momentum: weight of the previous steps' gradients.
        undo_rounds: how often to look for edits without which an image stays valid; 0: never.
    """

    loss: Loss
    step: float
    max_changes: int
    max_steps: int
    momentum: float = 0.0
    undo_rounds: int = 0

    def run(self, problem: Problem) -> Edits:
        """Edit each image pixel by pixel until it is valid, then undo the edits that it does not need."""
        edits = self.search(problem)
        if self.undo_rounds:
            for row in (edits.valid & (edits.counts > 0)).nonzero().flatten().tolist():
                edits.undo(problem, row, self.undo_rounds)
        return edits

    def search(self, problem: Problem) -> Edits:
        """Edit each image until it is valid, out of steps, or has no pixel left whose edit reduces the loss.

        Each step edits the pixel with the largest gradient (summed over its channels) among those that can still
        follow it: channels at the limit of the range, and pixels without edits left, are not considered. An image
        that does not become valid keeps the edits up to its highest confidence.
        """
        edits = Edits.none(problem.images, self.max_steps)
        rows, images = problem.every_row(), problem.images.flatten(2).clone()
        momentum = torch.zeros_like(images)
        changes = torch.zeros_like(images[:, 0], dtype=torch.int64)
        highest = torch.full((len(images),), -1.0, device=images.device)
        may = torch.ones_like(changes[0], dtype=torch.bool)
        if problem.attempt:
            may = (torch.rand(len(may), generator=problem.random(), device="cpu") < RESTART_SHARE_OF_PIXELS).to(
                may.device
            )
        for count in range(self.max_steps + 1):
            with torch.enable_grad():
                point = images.detach().requires_grad_(True)
                shaped = point.view(-1, *problem.images.shape[1:])
                loss, log_probabilities = self.loss(shaped, rows)
                total = loss.sum()
            valid, confidence = problem.met(log_probabilities, rows)
            if bool(valid.any()):  # an image must still be valid after rounding to 8 bits
                rounded = problem.candidates(shaped[valid], rows[valid])
                valid[valid.clone()] = rounded.valid
            edits.valid[rows] = valid
            better = valid | (confidence >= highest[rows])  # equal where the probability is too small to be told from 0
            edits.counts[rows[better]] = count
            highest[rows[better]] = confidence[better]
            if count == self.max_steps or bool(valid.all()):
                break
            (gradient,) = torch.autograd.grad(total, point)
            momentum = gradient + self.momentum * momentum
            room = torch.where(momentum > 0, images > 0, images < 1) & ((changes < self.max_changes) & may)[:, None]
            gain, pixel = torch.where(room, momentum.abs(), 0).sum(dim=1).max(dim=1)
            searching = ~valid & (gain > 0)
            if not bool(searching.any()):
                break
            if not bool(searching.all()):
                rows, images, momentum, changes, pixel = (
                    values[searching] for values in (rows, images, momentum, changes, pixel)
                )
            place = torch.arange(len(rows), device=rows.device)
            before = images[place, :, pixel]
            after = (before - self.step * momentum[place, :, pixel].sign()).clamp(0, 1)
            images[place, :, pixel] = after
            changes[place, pixel] += 1
            edits.pixels[rows, count] = pixel
            edits.changes[rows, count] = after - before
            problem.steps[rows.cpu()] += 1
        return edits.trimmed()


@dataclass(frozen=True)
class Edits:
    """The edits of each image, in their order.

    Attributes:
        images: (N, C, h, w) in [0, 1], before the edits.
        pixels: (N, T) int64, index of the pixel that each edit changes, in h * w.
        changes: (N, T, C) what each adds to the pixel.
        counts: (N,) int64, how many edits each image has; what follows them is ignored.
        valid: (N,) bool, whether the search found each image valid with its edits.
    """

    images: Tensor
    pixels: Tensor
    changes: Tensor
    counts: Tensor
    valid: Tensor

    @classmethod
    def none(cls, images: Tensor, most: int) -> Edits:
        """No edits of images (N, C, h, w), with room for `most` edits each."""
        counts = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        pixels = counts[:, None].repeat(1, most)
        return cls(images, pixels, images.new_zeros(len(images), most, images.shape[1]), counts, counts.bool())

    def trimmed(self) -> Edits:
        """The same without room for more edits than the most that an image has."""
        most = int(self.counts.max())
        return replace(self, pixels=self.pixels[:, :most], changes=self.changes[:, :most])

    def curve(self) -> Curve:
        """From each image (t = 0) edit by edit to the image with all of its edits (t = 1)."""
        return Curve(self.draw, bisections=5)  # halvings of some tens of edits

    def draw(self, t: Tensor, rows: Tensor) -> Tensor:
        """The images `rows` (M,) with the shares `t` (M,) of their edits that come first, (M, C, h, w)."""
        first = (t * self.counts[rows] - 1e-4).ceil()
        place = torch.arange(self.pixels.shape[1], device=rows.device)
        return self.with_only(place < first[:, None], rows)

    def with_only(self, kept: Tensor, rows: Tensor) -> Tensor:
        """The images `rows` (M,) with the edits `kept` (M, T) bool, (M, C, h, w)."""
        images = self.images[rows].flatten(2)
        pixels = self.pixels[rows, None].expand(-1, images.shape[1], -1)
        changes = (self.changes[rows] * kept[..., None]).transpose(1, 2)
        return images.scatter_add(2, pixels, changes).clamp(0, 1).view(-1, *self.images.shape[1:])

    def undo(self, problem: Problem, row: int, rounds: int) -> None:
        """Undo edits of a valid image without which it stays valid: first all edits of a pixel, then single ones."""
        place = torch.arange(self.pixels.shape[1], device=self.pixels.device)
        kept = place < self.counts[row]
        for units in (self.pixels[row], place):
            for _ in range(rounds):
                fewer = self._without(problem, row, kept, units)
                if fewer is None:
                    break
                kept = fewer
        order = (~kept).int().argsort(stable=True)
        self.pixels[row], self.changes[row] = self.pixels[row, order], self.changes[row, order]
        self.counts[row] = kept.sum()

    def _without(self, problem: Problem, row: int, kept: Tensor, units: Tensor) -> Tensor | None:
        """Leave out the units of edits that matter least, as many as possible.

        Each unit is left out alone; those without which the image stays valid are ordered by the confidence that is
        left, and growing numbers of them are left out together.

        Args:
            problem: evaluates the candidates.
            row: the image.
            kept: (T,) bool, its edits.
            units: (T,) int64; edits of the same number are left out together.

        Returns:
            (T,) bool, the edits that remain; None if none can be left out.
        """
        used = units[kept].unique()
        alone = units != used[:, None]
        valid, confidence = self._try(problem, row, kept & alone)
        order = confidence[valid].argsort(descending=True, stable=True)
        if not len(order):
            return None
        together = kept & alone[valid][order].cumprod(dim=0).bool()
        valid, _ = self._try(problem, row, together)
        return together[int(valid.nonzero().max())] if bool(valid.any()) else None

    def _try(self, problem: Problem, row: int, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Whether an image is valid with the edits `kept` (M, T), and its confidence, each (M,)."""
        found = []
        for some in kept.split(LARGEST_BATCH):
            rows = torch.full((len(some),), row, device=kept.device)
            found.append(problem.candidates(self.with_only(some, rows), rows))
        return torch.cat([each.valid for each in found]), torch.cat([each.confidence for each in found])
