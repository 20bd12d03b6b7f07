"""Draws rows of images as one picture, the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .writing import to_picture

SIDE = 72  # least pixels of a picture's longer side
LABELS = 190  # pixels for the titles of rows
GAP = 4


def one_of_each(labels: Tensor, count: int) -> Tensor:
    """Indices of `count` images: the first of each class, then the second of each class, and so on."""
    turns: list[tuple[int, int, int]] = []
    seen: dict[int, int] = {}
    for index, label in enumerate(labels.tolist()):
        turns.append((seen.get(label, 0), label, index))
        seen[label] = seen.get(label, 0) + 1
    return torch.tensor([index for _, _, index in sorted(turns)[:count]])


def draw_rows(rows: Sequence[tuple[str, Tensor]]) -> Image.Image:
    """Draw rows of images (N, C, H, W), each with its title, as one picture."""
    height, width = rows[0][1].shape[2:]
    zoom = max(1, -(-SIDE // max(height, width)))
    cell = (width * zoom + GAP, height * zoom + GAP)
    columns = len(rows[0][1])
    sheet = Image.new("RGB", (LABELS + columns * cell[0] + GAP, len(rows) * cell[1] + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, (title, images) in enumerate(rows):
        top = GAP + row * cell[1]
        draw.text((GAP + 4, top + cell[1] // 2 - 8), title, fill="black", font=font)
        for column, image in enumerate(images):
            picture = to_picture(image).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            sheet.paste(picture, (LABELS + column * cell[0], top))
    return sheet
