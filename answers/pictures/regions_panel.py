"""Draws which regions of an image suffice for an answer."""

from __future__ import annotations

import torch
from PIL import Image

from ...images.writing import to_picture
from ..answer import Answer
from ..which_regions import Cell, WhichRegions
from ..wording import percent
from .held import drawn
from .panel import change_picture, enlarge, outline_mask
from .sheet import FAINT, GAP, GOOD, INK, LINE, MARGIN, PANEL_SIDE, REPLACED, WHITE, Colour, Sheet

STRENGTH = 0.45  # of the colour of a cell that suffices, or almost does


def draw_regions(answer: Answer, which: WhichRegions) -> Image.Image:
    """Draw how far changing each cell alone goes, and the smallest set of cells that was found to suffice.

    Args:
        answer: to the same question, where everything may change.
        which: the cells.
    """
    factual, found = drawn(answer.pictures)[0], to_picture(which.image)
    change, limit = change_picture(factual, found)
    cells, *rest = (enlarge(picture, PANEL_SIDE) for picture in (factual, found, change))
    factor = cells.width / factual.width
    for number, cell in enumerate(which.cells):
        shade(cells, cell, factor)
        label(cells, cell, number, factor)
    chosen = [which.cells[number].segment.mask for number in which.enough or ()]
    for picture in rest if chosen else []:
        outline_mask(picture, torch.stack(chosen).any(dim=0), factor, REPLACED)
    width, height = max(PANEL_SIDE, cells.width), cells.height
    top = MARGIN + 92
    sheet = Sheet(2 * MARGIN + 3 * width + 2 * GAP, top + height + 58 + MARGIN // 2)
    right = sheet.width - 2 * MARGIN
    sheet.write((MARGIN, MARGIN - 4), f"Which regions suffice for {answer.wording}?", 24, INK, right)
    sheet.write_pieces((MARGIN, MARGIN + 32), findings(answer, which), 15, right)
    headings = ("each region alone", "the regions that suffice", "what changed")
    for place, (picture, heading) in enumerate(zip((cells, *rest), headings, strict=True)):
        left = MARGIN + place * (width + GAP)
        sheet.write((left + width // 2, top - 26), heading, 15, FAINT, width, centred=True)
        sheet.place(picture, (left + (width - picture.width) // 2, top))
    below = (MARGIN + width // 2, top + height + 12)
    sheet.write(below, "green: suffices; else the probability", 14, FAINT, width + GAP, centred=True)
    sheet.legend((MARGIN + 2 * (width + GAP), top + height + 16), width, limit)
    return sheet.picture


def findings(answer: Answer, which: WhichRegions) -> list[tuple[str, Colour]]:
    """What was found, in pieces of a line."""
    alone = sum(cell.valid for cell in which.cells)
    pieces = [(f"engine {answer.label}", FAINT), (f"{alone} of {len(which.cells)} regions suffice alone", INK)]
    if which.enough is None:
        return [*pieces, ("not even all of them together do", INK)]
    count = len(which.enough)
    many = "1 region suffices" if count == 1 else f"{count} regions suffice"
    sure = percent(which.target_confidence)
    return [*pieces, (f"{many}: {sure} sure, L1 {which.l1:.3g} instead of {answer.value('l1') or 0:.3g}", GOOD)]


def shade(picture: Image.Image, cell: Cell, factor: float) -> None:
    """Tint a cell: the more, the nearer changing it alone comes to the target."""
    strength = STRENGTH if cell.valid else STRENGTH * cell.target_confidence
    tint = Image.new("RGB", picture.size, GOOD if cell.valid else REPLACED)
    mask = Image.fromarray(cell.segment.mask.numpy()).resize(picture.size, Image.Resampling.NEAREST)
    picture.paste(Image.blend(picture, tint, strength), mask=mask)
    outline_mask(picture, cell.segment.mask, factor, LINE)


def label(picture: Image.Image, cell: Cell, number: int, factor: float) -> None:
    """Write the rank of a cell that suffices into it, or the probability that changing it reaches."""
    pixels = cell.segment.mask.nonzero().float()
    row, column = pixels[int((pixels - pixels.mean(dim=0)).square().sum(dim=1).argmin())].tolist()  # inside, if bent
    left, _, right, _ = cell.box
    text = f"{number + 1}" if cell.valid else f"{100 * cell.target_confidence:.0f} %"
    middle = (round((column + 0.5) * factor), round((row + 0.5) * factor) - 9)
    Sheet.over(picture).write(middle, text, 16, WHITE, round((right - left) * factor), centred=True, rim=INK)
