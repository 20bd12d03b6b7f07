"""Composites of photographs: cells of one image replaced by cells of others, with feathered borders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FEATHER = 0.4  # width of a cell's soft border, in cells; on photographs, other classifiers agree most often with it
SMALL = 32  # pixels along a side, at which a donor is aligned
SCALES = (1.0, 0.92, 1.08)
SHIFTS = (0.0, -0.06, 0.06)  # of a side
LEAST_GAIN = 2e-3  # of the mean difference; smaller gains do not justify moving a donor
LARGEST_SHIFT = 0.25  # largest change of a cell's colour to match its surroundings, in units of the pixel range


class Swap(NamedTuple):
    """One cell of an image that is replaced by a cell of a donor.

    Attributes:
        cell: index of the cell in the image, row by row.
        source: index of the cell in the donor.
        donor: index of the donor.
    """

    cell: int
    source: int
    donor: int


class Box(NamedTuple):
    """A region in pixels, as `resizing.Box`."""

    left: int
    top: int
    right: int
    bottom: int


class Grid:
    """The cells of images of one size, and how one is replaced.

    Args:
        size: (H, W) of the images.
        cells: number of cells along each side, at most one a pixel.
        match_colour: shift the colour of a piece so that the mean along its soft border is that of its surroundings,
            per channel: a constant where Poisson blending (Pérez et al. 2003) interpolates the difference.
    """

    def __init__(self, size: tuple[int, int], cells: int, *, match_colour: bool) -> None:
        self.size = size
        self.rows, self.columns = min(cells, size[0]), min(cells, size[1])
        self.match_colour = match_colour
        self._tops = [round(place * size[0] / self.rows) for place in range(self.rows + 1)]
        self._lefts = [round(place * size[1] / self.columns) for place in range(self.columns + 1)]
        self._feather = max(1, round(FEATHER * min(size[0] / self.rows, size[1] / self.columns)))
        self._masks = [self._mask(cell) for cell in range(len(self))]

    def __len__(self) -> int:
        return self.rows * self.columns

    def box(self, cell: int) -> Box:
        """The region of a cell, without its soft border."""
        row, column = divmod(cell, self.columns)
        return Box(self._lefts[column], self._tops[row], self._lefts[column + 1], self._tops[row + 1])

    def composite(self, image: Tensor, donors: Tensor, swaps: Sequence[Swap]) -> Tensor:
        """A copy of an image (C, H, W) with cells replaced by those of donors (D, C, H, W).

        Cells side by side that are side by side in one donor, too, are one piece: it has no borders inside, and one
        shift of its colour.
        """
        result = image.clone()
        for piece in self.pieces(swaps):
            self._lay(result, donors[piece[0].donor], piece)
        return result

    def pieces(self, swaps: Sequence[Swap]) -> list[list[Swap]]:
        """The swaps of the cells that form a piece, for each piece."""
        of_cell = {swap.cell: swap for swap in swaps}
        found: list[list[Swap]] = []
        while of_cell:
            piece = [of_cell.pop(next(iter(of_cell)))]
            for swap in piece:  # grows meanwhile
                for cell in self._neighbours(swap.cell):
                    other = of_cell.get(cell)
                    if other is not None and self._from(other) == self._from(swap):
                        piece.append(of_cell.pop(cell))
            found.append(piece)
        return found

    def _from(self, swap: Swap) -> tuple[int, int, int]:
        """The donor of a swap, and how many rows and columns its cell is away from where it goes."""
        (row, column), (source_row, source_column) = (divmod(cell, self.columns) for cell in (swap.cell, swap.source))
        return (swap.donor, source_row - row, source_column - column)

    def _neighbours(self, cell: int) -> list[int]:
        """The cells above, below and beside a cell."""
        row, column = divmod(cell, self.columns)
        places = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        return [y * self.columns + x for y, x in places if 0 <= y < self.rows and 0 <= x < self.columns]

    def _lay(self, image: Tensor, donor: Tensor, piece: Sequence[Swap]) -> None:
        """Replace the cells of a piece in place."""
        mask, around = self._mask_of([swap.cell for swap in piece])
        inside, source = self.box(piece[0].cell), self.box(piece[0].source)
        down, across = source.top - inside.top, source.left - inside.left
        if (down, across) == (0, 0):
            patch = donor[:, around.top : around.bottom, around.left : around.right]
        else:
            rows = (torch.arange(around.top, around.bottom) + down).clamp(0, self.size[0] - 1)
            columns = (torch.arange(around.left, around.right) + across).clamp(0, self.size[1] - 1)
            patch = donor[:, rows][:, :, columns]
        target = image[:, around.top : around.bottom, around.left : around.right]
        mask = mask.to(image.device)
        if self.match_colour:
            border = ((mask > 0) & (mask < 1)).to(image.dtype)
            share = border.sum().clamp_min(1)
            shift = ((target - patch) * border).sum(dim=(1, 2), keepdim=True) / share
            patch = (patch + shift.clamp(-LARGEST_SHIFT, LARGEST_SHIFT)).clamp(0, 1)
        target += mask * (patch - target)

    def _mask_of(self, cells: Sequence[int]) -> tuple[Tensor, Box]:
        """The weight of several cells, the largest of theirs, and its region."""
        if len(cells) == 1:
            return self._masks[cells[0]]
        masks = [self._masks[cell] for cell in cells]
        tops, lefts = min(box.top for _, box in masks), min(box.left for _, box in masks)
        around = Box(lefts, tops, max(box.right for _, box in masks), max(box.bottom for _, box in masks))
        joined = torch.zeros(around.bottom - tops, around.right - lefts)
        for mask, box in masks:
            region = joined[box.top - tops : box.bottom - tops, box.left - lefts : box.right - lefts]
            torch.maximum(region, mask, out=region)
        return joined, around

    def _mask(self, cell: int) -> tuple[Tensor, Box]:
        """The weight of a cell with its soft border, 1 inside and falling to 0 outside, and its region."""
        inside, width = self.box(cell), self._feather
        around = Box(
            max(0, inside.left - width),
            max(0, inside.top - width),
            min(self.size[1], inside.right + width),
            min(self.size[0], inside.bottom + width),
        )
        across = self._ramp(around.left, around.right, inside.left, inside.right)
        down = self._ramp(around.top, around.bottom, inside.top, inside.bottom)
        return down[:, None] * across[None, :], around

    def _ramp(self, first: int, last: int, begin: int, end: int) -> Tensor:
        place = torch.arange(first, last) + 0.5
        outside = torch.maximum(begin - place, place - end).clamp_min(0)
        return 1 - outside / (self._feather + 0.5)


def aligned(image: Tensor, donors: Tensor, *, flip: bool) -> Tensor:
    """Shift, scale and perhaps mirror donors so that each comes nearest to an image.

    Both are compared at 32 pixels by the mean absolute difference.

    Args:
        image: (C, H, W) in [0, 1].
        donors: (D, C, H, W) in [0, 1].
        flip: whether a mirrored donor is one as well.
    """
    small = F.interpolate(image[None], (SMALL, SMALL), mode="area")
    coarse = F.interpolate(donors, (SMALL, SMALL), mode="area")
    moves = [
        Move(mirrored, scale, down, across)
        for mirrored in ((False, True) if flip else (False,))
        for scale in SCALES
        for down in SHIFTS
        for across in SHIFTS
    ]
    gaps = torch.stack([(move(coarse) - small).abs().mean(dim=(1, 2, 3)) for move in moves])
    gaps[1:] += LEAST_GAIN  # the first is the donor as it is
    best = gaps.argmin(dim=0).tolist()
    return torch.cat([moves[place](donors[index : index + 1]) for index, place in enumerate(best)])


class Move(NamedTuple):
    """How a donor is moved: perhaps mirrored, scaled about its centre, and shifted by shares of its sides."""

    mirrored: bool
    scale: float
    down: float
    across: float

    def __call__(self, images: Tensor) -> Tensor:
        """Moves images (N, C, H, W); what is beyond their edges is mirrored."""
        images = images.flip(3) if self.mirrored else images
        if (self.scale, self.down, self.across) == (1.0, 0.0, 0.0):
            return images
        across = [1 / self.scale, 0, -2 * self.across]
        theta = images.new_tensor([across, [0, 1 / self.scale, -2 * self.down]]).expand(len(images), 2, 3)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
