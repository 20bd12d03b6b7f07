"""The contact sheet of a bundle: what its generators draw, beside the images that they were not shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..data.files import write_bytes
from ..data.images import as_png, to_picture
from ..generative.conditional_vae import ConditionalVAE
from ..generative.vae import VAE
from .bundle import Bundle
from .measuring import next_class

NAME = "contact-sheet.png"
COLUMNS = 12
SIDE = 72  # pixels that the longer side of a picture gets at least
LABELS = 190  # pixels for what a row is
GAP = 4


@torch.inference_mode()
def draw_sheet(bundle: Bundle, images: Tensor, labels: Tensor, probabilities: Tensor, present: list[int]) -> None:
    """Write `contact-sheet.png` into the bundle's directory.

    Args:
        bundle: brings the generators; rows of those that it does not have are left out.
        images: (N, C, H, W) in the size that models work in, which no generator was fitted to.
        labels: (N,) their classes.
        probabilities: (N, K) what the explained classifier says of them.
        present: classes that have images.
    """
    chosen = one_of_each(labels, COLUMNS)
    images, labels, probabilities = images[chosen], labels[chosen], probabilities[chosen]
    rows: list[tuple[str, Tensor]] = [("images not trained on", images)]
    generator = torch.Generator().manual_seed(0)
    if bundle.has("vae"):
        vae = cast(VAE, bundle.part("vae"))
        latents = vae.encode(images)
        rows.append(("drawn by the VAE", vae.decode(latents)))
        between = torch.lerp(latents, latents.roll(1, 0), 0.5)
        rows.append(("half-way to the left neighbour", vae.decode(between)))
        rows.append(("VAE, at random", vae.decode(torch.randn(latents.shape, generator=generator))))
    if bundle.has("conditional_vae"):
        model = cast(ConditionalVAE, bundle.part("conditional_vae"))
        latents, asked = model.encode(images), next_class(labels, present)
        rows.append(("drawn by the conditional VAE", model.decode(latents, probabilities)))
        swapped = model.decode(latents, F.one_hot(asked, probabilities.shape[1]).float())
        rows.append(("told the next class", swapped))
    write_bytes(bundle.directory / NAME, as_png(grid(rows)))


def one_of_each(labels: Tensor, count: int) -> Tensor:
    """Indices of `count` images, the classes in turn."""
    turns: list[tuple[int, int, int]] = []
    seen: dict[int, int] = {}
    for index, label in enumerate(labels.tolist()):
        turns.append((seen.get(label, 0), label, index))
        seen[label] = seen.get(label, 0) + 1
    return torch.tensor([index for _, _, index in sorted(turns)[:count]])


def grid(rows: Sequence[tuple[str, Tensor]]) -> Image.Image:
    """Rows of images (N, C, H, W), each with what it is, as one picture."""
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
