"""What `cfx explain` is asked about: images read, classified, and given a target, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CfxError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from ..bundles.bundle import Bundle
    from ..images.resizing import Placement
    from .record import Sight
    from .render import Screen


@dataclass(frozen=True)
class Batch:
    """Images that were read, classified, and have a target: what the engines get.

    Attributes:
        places: which of all images each is.
        images: (N, C, H, W) in [0, 1].
        targets: (N,) int64.
        sights: what the classifier sees in each.
        notes: what was done to each on reading.
        placements: which part of its file each is.
    """

    places: list[int]
    images: Tensor
    targets: Tensor
    sights: list[Sight]
    notes: list[tuple[str, ...]]
    placements: list[Placement]


class Inputs:
    """The images of one invocation.

    Args:
        patterns: files, directories and globs.
        invert: whether they are dark on light where the model knows light on dark.
        screen: where notes and errors go.

    Attributes:
        paths: the images found.
        unreadable: whether some could not be found or read.
    """

    def __init__(self, patterns: Sequence[str], invert: bool, screen: Screen) -> None:
        self.patterns = patterns
        self.invert = invert
        self.screen = screen
        self.paths: list[Path] = []
        self.unreadable = False

    def find(self) -> None:
        """Look for all images asked for, in the order in which they were named; what is not there is reported.

        Raises:
            ImageError: it is not there, and nothing else was asked for.
        """
        from ..images.reading import find_images

        found: dict[Path, Path] = {}
        for pattern in self.patterns:
            try:
                for path in find_images([pattern]):
                    found.setdefault(path.absolute(), path)
            except CfxError as error:
                if len(self.patterns) == 1:
                    raise
                self.report(error)
        self.paths = list(found.values())

    def report(self, error: CfxError) -> None:
        """Say what is wrong with one image, and go on to the next."""
        self.screen.error(str(error))
        self.unreadable = True

    def batches(self, bundle: Bundle, wanted: int | None, size: int, engines: int) -> Iterator[Batch]:
        """The images, `size` at a time, without those that cannot be read or need no answer.

        Args:
            bundle: brings the classifier and what it takes.
            wanted: the class asked for; None takes each image's runner-up.
            size: images at once.
            engines: answers that each image gets, for the progress bar.
        """
        import torch

        from ..images.reading import read_image

        for start in range(0, len(self.paths), size):
            places, pixels, notes, placements = [], [], [], []
            done, total = start * engines, len(self.paths) * engines
            with self.screen.busy("reading", total=total, done=done):
                for place in range(start, min(start + size, len(self.paths))):
                    path = self.paths[place]
                    try:
                        read = read_image(
                            path,
                            bundle.shape,
                            invert=self.invert,
                            light_on_dark=bundle.light_on_dark,
                            resize=bundle.resize,
                        )
                    except CfxError as error:
                        self.report(error)
                        continue
                    places.append(place)
                    pixels.append(read.pixels)
                    notes.append(read.notes)
                    placements.append(read.placement)
                    for note in read.notes:
                        self.screen.note(f"{path}: {note}")
            if not places:
                continue
            images = torch.stack(pixels).to(bundle.device)
            sights, runners_up = look(bundle, images)
            targets = runners_up if wanted is None else torch.full_like(runners_up, wanted)
            names = [bundle.classes[target] for target in targets.tolist()]
            keep = [row for row, sight in enumerate(sights) if self.is_question(places[row], sight, names[row])]
            if keep:
                yield Batch(
                    [places[row] for row in keep],
                    images[keep],
                    targets[keep],
                    [sights[row] for row in keep],
                    [notes[row] for row in keep],
                    [placements[row] for row in keep],
                )

    def is_question(self, place: int, sight: Sight, target: str) -> bool:
        """Whether there is something to search: the target is not what the model sees anyway.

        Raises:
            UsageError: there is not, and this is the only image.
        """
        if target != sight.name:
            return True
        what = f"{self.paths[place]}: the model already sees {sight}"
        if len(self.paths) == 1 and len(self.patterns) == 1:
            raise UsageError(f"{what}; choose another --target, or auto for the runner-up class")
        self.screen.note(f"{what}; skipped")
        return False


def look(bundle: Bundle, images: Tensor) -> tuple[list[Sight], Tensor]:
    """What the classifier sees in images (N, C, H, W), and the runner-up classes (N,).

    Raises:
        ModelError: it answers NaN or infinity.
    """
    import torch

    from ..counterfactuals.engine import ModelError
    from .record import Sight

    with torch.inference_mode():
        probabilities = bundle.classifier(images).softmax(dim=1)
    if not torch.isfinite(probabilities).all():
        raise ModelError(f"bundle {bundle.name}: the classifier returned NaN or infinity: check its weights")
    best = probabilities.max(dim=1)
    # Runner-up is the likeliest of the other classes that can be drawn at all.
    others = torch.full_like(probabilities, -1.0)
    others[:, bundle.present] = probabilities[:, bundle.present]
    others.scatter_(1, best.indices[:, None], -1.0)
    names = bundle.classes
    seen = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [Sight(names[k], p) for k, p in seen], others.argmax(dim=1)
