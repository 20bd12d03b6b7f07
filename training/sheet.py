"""The contact sheet of a bundle: images that its generators draw, below images that they were not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..bundles.known_parts import place_of
from ..files import write_bytes
from ..images.grid import draw_rows, one_of_each
from ..images.writing import as_png
from .context import TrainingContext
from .part import Part, Sample

NAME = "contact-sheet.png"
COLUMNS = 12
CHOICE = 200  # test images to choose from


@torch.inference_mode()
def draw_sheet(context: TrainingContext, parts: Sequence[Part]) -> None:
    """Write `contact-sheet.png` into the bundle's directory, without rows for parts that the bundle does not have."""
    test, bundle = context.split.test[:CHOICE], context.bundle
    chosen = one_of_each(test.labels, COLUMNS)
    sample = Sample(
        images=test.floats()[chosen],
        labels=test.labels[chosen],
        probabilities=context.probabilities("test", len(test))[chosen],
        present=context.present,
    )
    rows: list[tuple[str, Tensor]] = [("images not trained on", sample.images)]
    for part in sorted(parts, key=lambda part: place_of(part.makes[-1])):
        if all(bundle.has(name) for name in part.makes):
            rows += part.sheet_rows(bundle, sample)
    write_bytes(bundle.directory / NAME, as_png(draw_rows(rows)))
