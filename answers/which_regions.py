"""Which regions suffice: the segments of an image, ranked by whether changing them alone reaches the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Counterfactuals, Engine
from ..counterfactuals.request import SearchRequest
from ..errors import few
from ..images.composites import Box
from ..images.resizing import Placement
from .question import Question
from .searching import ask_engine
from .segments import Segment, Segments
from .wording import rounded

BATCH_SIZE = 16  # searches in a batch
TRIED = 6  # cells that are tried in addition to those of a set that does not suffice


@dataclass(frozen=True)
class Cell:
    """What changing one segment alone reaches.

    Attributes:
        segment: the pixels that may change.
        valid: whether it suffices.
        target_confidence: probability of the target that is reached.
        l1: L1 distance of what was found from the factual.
    """

    segment: Segment
    valid: bool
    target_confidence: float
    l1: float

    @property
    def box(self) -> Box:
        """The smallest rectangle around it, in pixels of the image."""
        return self.segment.box


@dataclass(frozen=True)
class WhichRegions:
    """The cells of an image, and the smallest set of them that was found to suffice.

    Attributes:
        cells: best first: those that suffice alone, by the size of the change; then the others, by the probability.
        enough: indices in `cells` of those that suffice together; None if not even all do.
        target_confidence, l1: of the counterfactual that changes only `enough`.
        image: (C, H, W), that counterfactual; the best that was found if there is none.
        lost: the colours of segments of the photograph that have no pixel in `image`, and are not searched.
    """

    cells: tuple[Cell, ...]
    enough: tuple[int, ...] | None
    target_confidence: float
    l1: float
    image: Tensor
    lost: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the answer says about it."""
        if not self.lost:
            return ()
        which = few(self.lost)
        return (
            f"not searched: segments {which}, too small or thin for the pixels of the image that the classifier takes",
        )

    def as_json(self, placement: Placement | None) -> dict[str, object]:
        """The JSON object in a record, with boxes in pixels of the photograph."""

        def box_of(cell: Cell) -> dict[str, int]:
            left, top, right, bottom = cell.box if placement is None else placement.carried(cell.box)
            return {"x": left, "y": top, "w": right - left, "h": bottom - top}

        return {
            "cells": [
                {
                    **box_of(cell),
                    "share": rounded(float(cell.segment.mask.float().mean())),
                    **({} if cell.segment.colour is None else {"colour": cell.segment.colour}),
                    "valid": cell.valid,
                    "target_confidence": rounded(cell.target_confidence),
                    "l1": rounded(cell.l1),
                }
                for cell in self.cells
            ],
            "enough": None if self.enough is None else list(self.enough),
            "target_confidence": rounded(self.target_confidence),
            "l1": rounded(self.l1),
        }


def which_regions(
    bundle: Bundle,
    engine: Engine,
    question: Question,
    request: SearchRequest,
    segments: Segments,
) -> WhichRegions:
    """Find out which segments of an image suffice to reach a target, as STEEX (Jacob et al. 2022) asks of regions.

    Every segment is searched alone. If none suffices, the best one is joined by others, one after another, always the
    one with which the target's probability is highest; then those without which the set still suffices are left out.

    Args:
        bundle: holds the classifier.
        engine: the engine.
        question: about the image; where it restricts what may change, segments are cut to that.
        request: for the image, one row, with the class to reach.
        segments: how the image is cut.
    """
    image = request.images[0]
    cut = segments.of(image, question.source.placement)
    lost = tuple(str(segment.colour) for segment in cut if not bool(segment.mask.any()))
    if question.within is not None:
        cut = [segment.within(question.within.mask[0]) for segment in cut]
    cut = [segment for segment in cut if bool(segment.mask.any())]
    masks = torch.stack([segment.mask for segment in cut])[:, None].to(image.device)
    request = replace(request, path=False)

    def tried(sets: Sequence[Sequence[int]]) -> tuple[Counterfactuals, list[float]]:
        """A search for each set of cells, and the L1 distances of what was found."""
        parts: list[Counterfactuals] = []
        for start in range(0, len(sets), BATCH_SIZE):
            batch_of_sets = sets[start : start + BATCH_SIZE]
            regions = torch.stack([masks[list(cells)].any(dim=0) for cells in batch_of_sets])
            parts.append(ask_engine(bundle, engine, replace(request.only([0] * len(batch_of_sets)), region=regions)))
        found = Counterfactuals.joined(parts)
        return found, (found.images - image).abs().flatten(1).sum(dim=1).tolist()

    every = range(len(cut))
    alone, lengths = tried([[number] for number in every])
    valid, sure = alone.valid.tolist(), alone.confidence.tolist()
    order = sorted(every, key=lambda n: (0, lengths[n]) if valid[n] else (1, -sure[n]))
    cells = tuple(Cell(cut[n], valid[n], sure[n], lengths[n]) for n in order)
    chosen, best, row, length = [order[0]], alone, order[0], lengths[order[0]]
    while not bool(best.valid[row]) and len(chosen) < len(cut):
        more = [number for number in order if number not in chosen][:TRIED]
        sets = [[*chosen, number] for number in more]
        best, found_lengths = tried(sets)
        worth = torch.where(best.valid, 2 - torch.tensor(found_lengths).to(best.confidence) / 1e6, best.confidence)
        row = int(worth.argmax())
        chosen, length = sets[row], found_lengths[row]
    while bool(best.valid[row]) and len(chosen) > 1:
        sets = [[number for number in chosen if number != left_out] for left_out in chosen]
        fewer, found_lengths = tried(sets)
        if not bool(fewer.valid.any()):
            break
        best, row = fewer, min(fewer.valid.nonzero().flatten().tolist(), key=lambda n: found_lengths[n])
        chosen, length = sets[row], found_lengths[row]
    enough = tuple(sorted(order.index(number) for number in chosen)) if bool(best.valid[row]) else None
    return WhichRegions(cells, enough, float(best.confidence[row]), length, best.images[row], lost)
