"""Draws pictures in half-block characters."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

WIDEST = 48  # maximum width of a picture, in columns
NARROWEST = 12  # below this width, in columns, a picture is not recognisable


def half_blocks(console: Console, titled: Sequence[tuple[str, Image]]) -> Text | None:
    """Titled pictures side by side, two pixels per character; None if the console cannot show them."""
    plain = console.no_color or console.color_system not in ("truecolor", "256")
    gap = "  "
    room = (console.width - len(gap) * (len(titled) - 1)) // len(titled)
    if plain or not console.is_terminal or not console.encoding.lower().startswith("utf") or room < NARROWEST:
        return None
    small = [(title, shrunk(picture, min(room, WIDEST))) for title, picture in titled]
    heading = gap.join(title.center(picture.width)[: picture.width] for title, picture in small)
    text = Text.assemble((heading, "dim"))
    for row in range(0, small[0][1].height, 2):
        text.append("\n")
        for number, (_, picture) in enumerate(small):
            text.append(gap if number else "")
            for column in range(picture.width):
                upper, lower = (colour_at(picture, column, row + half) for half in (0, 1))
                text.append("▀", Style(color=upper, bgcolor=lower))
    return text


def colour_at(picture: Image, column: int, row: int) -> Color:
    """The colour of one pixel of an RGB picture."""
    pixel = picture.getpixel((column, row))
    assert isinstance(pixel, tuple)
    red, green, blue = pixel
    return Color.from_rgb(red, green, blue)


def shrunk(picture: Image, width: int) -> Image:
    """The picture in RGB, at most `width` pixels wide, with an even number of rows."""
    picture = picture.convert("RGB")
    if picture.width <= width and picture.height % 2 == 0:
        return picture
    width = min(width, picture.width)
    return picture.resize((width, 2 * max(1, round(picture.height * width / picture.width / 2))))
