"""Chooses how images are read: their sizes, what black and white are, and what transparent ones are laid on."""

from __future__ import annotations

from dataclasses import dataclass

from ..classifiers.foreign.contract import Foreign
from ..errors import UsageError
from ..images.scale import Scale
from ..images.sets.survey import Survey
from .init_options import ClassifierOptions

LARGEST_DIRECT = 128  # pixels; the models work on larger images at a lower resolution
WORKING = 64  # pixels of the longer side at that resolution, unless the user sets it
LARGEST_SIDE = 256  # pixels of the longer side if the classifier takes any size


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The shapes in which images are used.

    Attributes:
        shape: (C, H, W) in which they are read.
        working: (H, W) of the working resolution.
        resize: one of `resizing.RESIZES`.
        notes: what was decided.
    """

    shape: tuple[int, int, int]
    working: tuple[int, int]
    resize: str
    notes: tuple[str, ...]


def choose_sizes(
    options: ClassifierOptions,
    foreign: Foreign | None,
    found: tuple[int, int],
    channels: int,
    *,
    working: int | None = None,
) -> Sizes:
    """The size that the user set, else the images' own if it is small, else the classifier's, else a limited one.

    Args:
        options: what the user has set.
        foreign: the classifier; None if cfx is to train one.
        found: the most common (H, W) of the images.
        channels: 1 if all of them are grey, else 3.
        working: pixels of the longer side at the working resolution, if the user has set it.

    Raises:
        UsageError: the working resolution is too low.
    """
    notes: list[str] = []
    said = foreign.preprocessing if foreign is not None else None
    declared = foreign.declared if foreign is not None else ()
    takes = options.preprocessing.get("channels") or (said.channels if said and "channels" in declared else None)
    if takes == 1 and channels == 3:
        notes.append("the images are in colour and the classifier takes grey images: they are converted to grey")
        channels = 1
    elif takes == 3 and channels == 1:
        notes.append("the images are grey and the classifier takes colour: the grey channel is repeated three times")
    if options.size is not None:
        size = options.size
    elif max(found) <= LARGEST_DIRECT:
        size = found
    elif said is not None and said.size is not None:
        size = said.size
    else:
        scale = min(1.0, LARGEST_SIDE / max(found))
        size = (round(found[0] * scale), round(found[1] * scale))
    longest = working or (max(size) if max(size) <= LARGEST_DIRECT else WORKING)
    if longest < 8:
        raise UsageError(f"--working {longest}: the resolution is too low; choose at least 8 pixels")
    scale = min(1.0, longest / max(size))
    size_worked_at = (max(4, round(size[0] * scale)), max(4, round(size[1] * scale)))
    if size_worked_at != size:
        notes.append(
            f"models work at {size_worked_at[0]}x{size_worked_at[1]}, and changes are carried back to "
            f"{size[0]}x{size[1]} and to the original photo"
        )
    proportions = abs(found[0] / found[1] - size[0] / size[1]) < 0.02
    resize = options.resize or ("pad" if proportions or max(size) <= LARGEST_DIRECT else "crop")
    return Sizes(shape=(channels, *size), working=size_worked_at, resize=resize, notes=(*notes,))


def choose_scale(options: ClassifierOptions, survey: Survey, name: str) -> tuple[Scale | None, list[str]]:
    """What black and white are in images with more than 8 bits per channel, and a note about it.

    Raises:
        ImageError: it cannot be told.
    """
    if survey.deep is None:
        return None, []
    if options.window is not None:
        scale = Scale(*options.window, clips=True)
        return scale, [f"{survey.deep.kind} images: {scale}, as asked for"]
    scale, says = survey.deep.decide(name)
    return scale, [says]


def ground_note(survey: Survey) -> list[str]:
    """A note about what transparent images are laid on, and why."""
    if survey.ground is None:
        return []
    seen = "light" if survey.ground == "black" else "dark" if (survey.brightness or 0.0) < 0.5 else "not very light"
    count = f"{survey.transparent} of {survey.looked_at} looked at {'is' if survey.transparent == 1 else 'are'}"
    return [
        f"transparent pictures: laid on {survey.ground}, because what is visible in them is {seen} "
        f"({count} transparent)"
    ]
