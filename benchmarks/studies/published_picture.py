"""Draws the same questions as answered by published methods and by engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...answers.pictures.sheet import FAINT, INK, Sheet
from ...errors import DataError
from ..compare import Finished
from .published_data import GEN, Array, Published, row_of

QUESTIONS = 6
ZOOM = 4
GAP, NAME, TITLE, SIZE = 12, 150, 30, 18  # pixels between pictures, of the names, above the columns, and of letters


def shared_rows(methods: Sequence[Published], count: int = QUESTIONS) -> list[int]:
    """The first rows of which all methods ask the same, and none what its classifier sees already."""
    asked = np.logical_and.reduce([np.isin(np.arange(len(each.targets)), each.asked) for each in methods])
    same = np.logical_and.reduce([each.targets == methods[0].targets for each in methods])
    return np.flatnonzero(asked & same)[:count].tolist()


def draw(factuals: Array, methods: Sequence[Published], runs: Mapping[str, Finished]) -> Image.Image:
    """Draw a column for each of the first questions that all methods share: the factual, theirs, and engines' answers.

    Args:
        factuals: (N, 28, 28) uint8.
        methods: the published counterfactuals, GEN among them.
        runs: the engines' runs, by engine.

    Raises:
        DataError: the runs have none of these questions.
    """
    rows = [row for row in shared_rows(methods) if all(_picture(run, name, row) for name, run in runs.items())]
    if not rows:
        raise DataError("no picture: the methods were asked the same of none of the questions; ask more with -n")
    (gen,) = [method for method in methods if method.name == GEN]
    lines = {"real digit": [Image.fromarray(factuals[row]) for row in rows]}
    lines |= {method.name: [Image.fromarray(method.images[row]) for row in rows] for method in methods}
    for name, run in runs.items():
        lines[name] = [Image.open(path) for row in rows if (path := _picture(run, name, row)) is not None]
    side = ZOOM * factuals.shape[1]
    sheet = Sheet(NAME + len(rows) * (side + GAP) + GAP, TITLE + len(lines) * (side + GAP) + GAP)
    for column, row in enumerate(rows):
        middle = NAME + GAP + column * (side + GAP) + side // 2
        sheet.write((middle, GAP // 2), f"to {gen.targets[row]}", SIZE, INK, side, centred=True)
    for line, (name, pictures) in enumerate(lines.items()):
        top = TITLE + line * (side + GAP) + GAP // 2
        sheet.write((GAP, top + side // 2 - SIZE // 2), name, SIZE, FAINT if name not in runs else INK, NAME - GAP)
        for column, picture in enumerate(pictures):
            enlarged = picture.convert("RGB").resize((side, side), Image.Resampling.NEAREST)
            sheet.place(enlarged, (NAME + GAP + column * (side + GAP), top))
    return sheet.picture


def _picture(run: Finished, name: str, row: int) -> Path | None:
    """The file of an engine's answer about a factual; None if its run has none."""
    for answer in run.run.answers:
        if answer.engine == name and row_of(answer.question.source.name) == row:
            return run.run.path / answer.files["counterfactual"]
    return None
