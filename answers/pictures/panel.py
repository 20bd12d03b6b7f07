"""Draws the panel of an answer (factual, counterfactual, signed change), and the strip and frames of its path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from PIL import Image, ImageChops, ImageDraw
from torch import Tensor

from ...counterfactuals.curve import Region
from ...counterfactuals.goal import is_valid
from ..region import Within
from ..seen import Seen
from ..wording import looks, percent, with_article
from .sheet import (
    ADDED,
    ALLOWED,
    BAD,
    FAINT,
    GAP,
    GOOD,
    INK,
    LINE,
    MARGIN,
    PANEL_SIDE,
    REMOVED,
    REPLACED,
    WHITE,
    Colour,
    Sheet,
)

STRIP_SIDE = 112


class Answered(Protocol):
    """What the pictures show of an answer."""

    @property
    def label(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def wording(self) -> str: ...
    @property
    def threshold(self) -> float: ...
    @property
    def factual(self) -> Seen: ...
    @property
    def counterfactual(self) -> Seen: ...
    @property
    def target_confidence(self) -> float: ...
    @property
    def valid(self) -> bool: ...
    @property
    def metrics(self) -> Mapping[str, float | bool | None]: ...
    @property
    def regions(self) -> Sequence[Region]: ...
    @property
    def within(self) -> Within | None: ...


def change_picture(factual: Image.Image, found: Image.Image) -> tuple[Image.Image, float]:
    """Draw the signed change of brightness at model size: red for brighter pixels, blue for darker ones.

    Returns:
        The picture, and the change in (0, 1] that full colour means; 0 if nothing changed.
    """
    before, after = factual.convert("L"), found.convert("L")
    added, removed = ImageChops.subtract(after, before), ImageChops.subtract(before, after)
    limit = max(int(np.asarray(amount).max()) for amount in (added, removed))
    picture = Image.new("RGB", factual.size, WHITE)
    for amount, colour in ((added, ADDED), (removed, REMOVED)):
        share = amount.point([min(255, round(255 * level / max(limit, 1))) for level in range(256)])
        picture.paste(colour, mask=share)
    return picture, limit / 255


def enlarge(picture: Image.Image, side: int) -> Image.Image:
    """Scale up by a whole factor, pixel by pixel, until the longer side has at least `side` pixels."""
    factor = max(1, math.ceil(side / max(picture.size)))
    width, height = picture.size
    return picture.convert("RGB").resize((width * factor, height * factor), Image.Resampling.NEAREST)


def outline(picture: Image.Image, regions: Sequence[Region], factor: float) -> None:
    """Draw the borders of regions into a picture that is enlarged by a factor, without those between two regions."""
    draw = ImageDraw.Draw(picture)
    boxes = [(r.x, r.y, r.x + r.width, r.y + r.height) for r in regions]
    edges = [
        edge
        for left, top, right, bottom in boxes
        for edge in (
            ((left, top), (right, top)), ((left, bottom), (right, bottom)),
            ((left, top), (left, bottom)), ((right, top), (right, bottom)),
        )
    ]  # fmt: skip
    for begin, end in edges:
        if edges.count((begin, end)) == 1:
            ends = zip((*begin, *end), picture.size * 2, strict=True)
            points = [min(round(value * factor), side - 1) for value, side in ends]
            draw.line(points, fill=REPLACED, width=max(1, round(picture.width / PANEL_SIDE)))


def outline_mask(picture: Image.Image, mask: Tensor, factor: float, colour: Colour) -> None:
    """Draw the border of a mask (H, W) into the picture, which is enlarged by a factor."""
    draw, width = ImageDraw.Draw(picture), max(1, round(picture.width / PANEL_SIDE))
    for axis in (0, 1):
        for row, column in np.argwhere(np.diff(np.pad(mask.numpy(), 1), axis=axis)):
            y, x = (row, column - 1) if axis == 0 else (row - 1, column)
            end = (x + 1, y) if axis == 0 else (x, y + 1)
            ends = zip((x, y, *end), picture.size * 2, strict=True)
            draw.line([min(round(value * factor), side - 1) for value, side in ends], fill=colour, width=width)


def draw_panel(answer: Answered, factual: Image.Image, found: Image.Image) -> Image.Image:
    """Draw the factual, the counterfactual and the signed change side by side, with what the model sees below."""
    change, limit = change_picture(factual, found)
    pictures = [enlarge(picture, PANEL_SIDE) for picture in (factual, found, change)]
    outline(pictures[1], answer.regions, pictures[1].width / found.width)
    if answer.within is not None:
        outline_mask(pictures[0], answer.within.mask[0], pictures[0].width / factual.width, ALLOWED)
    width, height = max(PANEL_SIDE, pictures[0].width), pictures[0].height
    top = MARGIN + 92
    sheet = Sheet(2 * MARGIN + 3 * width + 2 * GAP, top + height + 58 + MARGIN // 2)
    right = sheet.width - 2 * MARGIN
    sheet.write((MARGIN, MARGIN - 4), f"What would make this {answer.wording}?", 24, INK, right)
    sheet.write_pieces((MARGIN, MARGIN + 32), verdicts(answer), 15, right)

    headings = ("factual: the input", "counterfactual", "what changed")
    seen = (answer.factual, answer.counterfactual, None)
    colours = (INK, GOOD if answer.valid else BAD, INK)
    for place, (picture, heading, what, colour) in enumerate(zip(pictures, headings, seen, colours, strict=True)):
        left = MARGIN + place * (width + GAP)
        middle = left + width // 2
        sheet.write((middle, top - 26), heading, 15, FAINT, width, centred=True)
        sheet.place(picture, (left + (width - picture.width) // 2, top))
        if what is not None:
            sheet.write_seen((middle, top + height + 12), what, 16, colour, width + GAP - 12)
        else:
            sheet.legend((left, top + height + 16), width, limit)
    return sheet.picture


def draw_strip(answer: Answered, frames: Sequence[Image.Image], seen: Sequence[Seen]) -> Image.Image:
    """Draw the path from the factual to the counterfactual as a row of frames, with what the model sees in each."""
    pictures = [enlarge(frame, STRIP_SIDE) for frame in frames]
    width, height, gap = max(STRIP_SIDE, pictures[0].width), pictures[0].height, 26
    top = MARGIN + 72
    sheet = Sheet(2 * MARGIN + len(pictures) * width + (len(pictures) - 1) * gap, top + height + 58 + MARGIN // 2)
    arrived = "to" if answer.valid else "towards"
    title = f"From {with_article(answer.factual.name)} {arrived} {with_article(answer.target)}"
    sheet.write((MARGIN, MARGIN - 6), title, 22, INK, sheet.width // 2)
    place_right = sheet.width - MARGIN
    about = f"engine {answer.label}; under each frame: what the model sees"
    sheet.write((place_right - sheet.measure(about, 14), MARGIN), about, 14, FAINT, sheet.width // 2)
    for place, (picture, what) in enumerate(zip(pictures, seen, strict=True)):
        left = MARGIN + place * (width + gap)
        middle = left + width // 2
        last = place == len(pictures) - 1
        heading = "factual" if place == 0 else "counterfactual" if last else f"{place} of {len(pictures) - 1}"
        sheet.write((middle, top - 24), heading, 13, FAINT, width + gap - 6, centred=True)
        sheet.place(picture, (left + (width - picture.width) // 2, top))
        if not last:
            sheet.arrow((left + width + gap // 2, top + height // 2))
        colour = seen_colour(answer, what)
        sheet.write((middle, top + height + 10), what.name, 18, colour, width + gap - 6, centred=True)
        sheet.write((middle, top + height + 34), percent(what.confidence), 13, colour, width, centred=True)
    return sheet.picture


def draw_frames(answer: Answered, frames: Sequence[Image.Image], seen: Sequence[Seen]) -> list[Image.Image]:
    """Draw the frames of the animation: each image enlarged, with what the model sees and a progress bar."""
    result = []
    for place, (frame, what) in enumerate(zip(frames, seen, strict=True)):
        picture = enlarge(frame, PANEL_SIDE)
        sheet = Sheet(picture.width + 32, picture.height + 74)
        sheet.place(picture, (16, 16))
        way, base = picture.width, picture.height + 26
        sheet.draw.rectangle((16, base, 16 + way - 1, base + 3), fill=LINE)
        if place:
            sheet.draw.rectangle((16, base, 16 + round(way * place / (len(frames) - 1)) - 1, base + 3), fill=FAINT)
        colour = seen_colour(answer, what)
        sheet.write_seen((sheet.width // 2, base + 14), what, 16, colour, picture.width + 20)
        result.append(sheet.picture)
    return result


def seen_colour(answer: Answered, what: Seen) -> Colour:
    """The colour of a caption: green if the model sees the target with the confidence needed, else black."""
    return GOOD if is_valid(what.name == answer.target, what.confidence, answer.threshold) else INK


def verdicts(answer: Answered) -> list[tuple[str, Colour]]:
    """The second line of a panel, in coloured pieces: the engine, whether the answer is valid, and what judges see."""
    needed = f"{100 * answer.threshold:g} % needed"
    pieces = [(f"engine {answer.label}", FAINT)]
    if answer.valid:
        pieces.append((f"valid: {percent(answer.target_confidence)} sure, {needed}", GOOD))
    else:
        pieces.append((f"not valid: {percent(answer.target_confidence)} for {answer.target}, {needed}", BAD))
    agrees, real = answer.metrics.get("judge_agrees"), answer.metrics.get("looks_real")
    if agrees is not None:
        pieces.append(("judges agree", GOOD) if agrees else ("judges disagree", BAD))
    if real is not None:
        pieces.append((looks(answer.metrics), GOOD if real else BAD))
    return pieces
