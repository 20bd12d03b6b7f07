"""What black and white mean in pictures with more than 8 bits per channel, which the files do not say.

The scale is decided for a whole source (a data set, a directory, a call), never picture by picture: of two pictures on
one scale, the darker one must stay darker. docs/images.md describes the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError

WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""Usual values of white: floats, and 8, 10, 12, 14 and 16 bits."""

ENOUGH = 20  # pictures whose largest value, if it lies above half of a usual white, tells the white
EXCESS = 1.01  # by which a value may exceed white, from rounding or resampling; it is clipped

REMEDY = "say which values are black and white with --black and --white (in Python: black=, white=)"


@dataclass(frozen=True)
class Scale:
    """The values of black and white.

    Attributes:
        black, white: values in the file that mean black and white.
        clips: whether values outside are clipped, as in a window that the user chose; otherwise they are an error.
    """

    black: float
    white: float
    clips: bool = False

    def __str__(self) -> str:
        return f"black is {self.black:g} and white is {self.white:g}"

    def to_bytes(self, values: np.ndarray, place: str) -> np.ndarray:
        """Convert values to 8 bits.

        Raises:
            ImageError: a value lies outside of black and white, and the scale does not clip.
        """
        low, high = float(values.min()), float(values.max())
        span = self.white - self.black
        if not self.clips and (high > self.black + EXCESS * span or low < self.white - EXCESS * span):
            raise ImageError(
                f"{place}: values from {low:g} to {high:g}, but {self} in the other images; if these are on the same "
                f"scale, {REMEDY}"
            )
        return ((values - self.black) / span * 255).clip(0, 255).round().astype(np.uint8)


@dataclass(frozen=True)
class DeepRange:
    """The values of one picture, or of several, with more than 8 bits per channel.

    Attributes:
        kind: what the file stores: "16-bit", "32-bit", "float" or "signed".
        low, high: smallest and largest value.
        count: number of pictures.
        declared: the white that the file declares; None if it does not.
    """

    kind: str
    low: float
    high: float
    count: int = 1
    declared: float | None = None

    @classmethod
    def of_all(cls, ranges: Sequence[DeepRange]) -> DeepRange:
        """The range of several pictures together; there must be at least one."""
        declared = {each.declared for each in ranges}
        return cls(
            kind=next(
                (kind for kind in ("signed", "float", "32-bit") if any(r.kind == kind for r in ranges)), "16-bit"
            ),
            low=min(each.low for each in ranges),
            high=max(each.high for each in ranges),
            count=sum(each.count for each in ranges),
            declared=declared.pop() if len(declared) == 1 else None,
        )

    def decide(self, place: str) -> tuple[Scale, str]:
        """The scale of the pictures, and a sentence that says how it was decided.

        Raises:
            ImageError: it cannot be told; the message names the options that say it.
        """
        values = f"{self.kind} values from {self.low:g} to {self.high:g}"
        if self.declared is not None:
            return Scale(0.0, self.declared), f"{values}: the file says that white is {self.declared:g}"
        if self.low < 0:
            raise ImageError(f"{place}: {values}: which value is black cannot be told; {REMEDY}")
        whites = self._possible_whites()
        if len(whites) != 1:
            may = f"white may be {' or '.join(f'{white:g}' for white in whites)}" if whites else "none is a usual white"
            raise ImageError(f"{place}: {values}: {may}; {REMEDY}")
        many = f"{self.count} images together, " if self.count > 1 else ""
        return Scale(0.0, whites[0]), f"{many}{values}: taken as shares of {whites[0]:g} (--white says otherwise)"

    def _possible_whites(self) -> list[float]:
        """The usual whites that these values may have: one, if they leave no doubt."""
        usual = {"float": WHITES, "32-bit": WHITES[1:], "16-bit": WHITES[1:]}[self.kind]
        whites = [white for white in usual if self.high <= white]
        if not whites:
            return []
        first = whites[0]
        sure = first == 1.0 or self.high == first or (self.count >= ENOUGH and self.high > first / 2)
        if self.kind != "16-bit":
            sure |= first == 255.0 and self.high > first / 16
        elif not sure and self.high > 4095:  # darker pictures may have 10 or 12 bits
            return whites[-1:]
        return [first] if sure else whites
