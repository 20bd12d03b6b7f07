"""A white sheet that text is written and pictures are placed on, and the colours of all pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from ...errors import printable
from ..seen import Seen
from ..wording import percent, with_article

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

WHITE: Colour = (255, 255, 255)
INK: Colour = (32, 33, 36)
FAINT: Colour = (110, 114, 120)
LINE: Colour = (200, 203, 208)
GOOD: Colour = (22, 120, 70)
BAD: Colour = (176, 32, 40)
ADDED: Colour = (200, 20, 35)
REMOVED: Colour = (20, 85, 190)
ALLOWED: Colour = (0, 160, 190)
REPLACED: Colour = (240, 150, 20)

MARGIN = 28
GAP = 28
PANEL_SIDE = 224  # minimum of an image's longer side, in pixels


class Sheet:
    """A white sheet that text is written and pictures are placed on."""

    def __init__(self, width: int, height: int) -> None:
        self.picture = Image.new("RGB", (width, height), WHITE)
        self.draw = ImageDraw.Draw(self.picture)
        self.width = width

    @classmethod
    def over(cls, picture: Image.Image) -> Sheet:
        """A picture as a sheet to write on."""
        sheet = cls(1, 1)
        sheet.picture, sheet.draw, sheet.width = picture, ImageDraw.Draw(picture), picture.width
        return sheet

    def measure(self, text: str, size: float) -> int:
        """The width of a line, in pixels."""
        return math.ceil(self.draw.textlength(printable(text), font=font(size)))

    def write(
        self,
        position: tuple[int, int],
        text: str,
        size: int,
        colour: Colour,
        room: int,
        *,
        tail: str = "",
        centred: bool = False,
        rim: Colour | None = None,
    ) -> None:
        """Write one line, `text` and `tail`. To fit into `room` pixels the font is made smaller, then `text` is cut.

        On a picture, letters have a `rim` of another colour.
        """
        wanted = size
        while self.measure(text + tail, size) > room and size > 12:
            size -= 1
        while self.measure(text + tail, size) > room and len(text) > 2:
            text = text[:-2] + "…"
        left, top = position
        # A line in a smaller font is centred where the larger one would have been.
        self.draw.text(
            (left, top + (wanted - size) // 2),
            printable(text + tail),
            fill=colour,
            font=font(size),
            anchor="ma" if centred else "la",
            stroke_width=0 if rim is None else 2,
            stroke_fill=rim,
        )

    def write_seen(self, middle: tuple[int, int], what: Seen, size: int, colour: Colour, room: int) -> None:
        """Write what the model sees, centred. A long class name is cut, but never the confidence."""
        text = f"the model sees {with_article(what.name)}"
        self.write(middle, text, size, colour, room, tail=f" ({percent(what.confidence)})", centred=True)

    def write_pieces(
        self,
        position: tuple[int, int],
        pieces: Sequence[tuple[str, Colour]],
        size: int,
        room: int,
    ) -> None:
        """Write texts of different colours on one line, separated by dots, in a font that fits into `room`."""
        dot = "   ·   "
        while self.measure(dot.join(text for text, _ in pieces), size) > room and size > 10:
            size -= 1
        left, top = position
        for number, (text, colour) in enumerate(pieces):
            if number:
                self.draw.text((left, top), dot, fill=FAINT, font=font(size))
                left += self.measure(dot, size)
            self.draw.text((left, top), printable(text), fill=colour, font=font(size))
            left += self.measure(text, size)

    def place(self, picture: Image.Image, corner: tuple[int, int]) -> None:
        """Place a picture in a thin frame, with its upper left pixel at `corner`."""
        left, top = corner
        self.picture.paste(picture, corner)
        self.draw.rectangle((left - 1, top - 1, left + picture.width, top + picture.height), outline=LINE)

    def arrow(self, middle: tuple[int, int]) -> None:
        """Draw a small arrow to the right."""
        x, y = middle
        self.draw.line((x - 8, y, x + 6, y), fill=FAINT, width=2)
        self.draw.polygon(((x + 8, y), (x + 2, y - 4), (x + 2, y + 4)), fill=FAINT)

    def legend(self, corner: tuple[int, int], width: int, limit: float) -> None:
        """Draw a colour bar from removed (blue) to added (red), with the change that full colour means."""
        left, top = corner
        if not limit:
            self.write((left + width // 2, top - 4), "nothing", 16, INK, width, centred=True)
            return
        # At least as wide as its two labels, and centred below the picture.
        bar = min(width, PANEL_SIDE)
        left += (width - bar) // 2
        for place in range(bar):
            share = 2 * place / (bar - 1) - 1
            end = ADDED if share > 0 else REMOVED
            colour = tuple(round(w + (e - w) * abs(share)) for w, e in zip(WHITE, end, strict=True))
            self.draw.line((left + place, top, left + place, top + 9), fill=colour)
        self.draw.rectangle((left - 1, top - 1, left + bar, top + 10), outline=LINE)
        ends = ((f"removed {limit:.2f}", left, "la"), (f"added {limit:.2f}", left + bar, "ra"))
        for text, at, anchor in (*ends, ("0", left + bar // 2, "ma")):
            self.draw.text((at, top + 16), text, fill=FAINT, font=font(12), anchor=anchor)


@cache
def font(size: float) -> Font:
    """Pillow's built-in font, which every machine has."""
    return ImageFont.load_default(size)
