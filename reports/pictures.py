"""Pictures of a page: PNG files that are read when the page is written, not before."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..errors import DataError, reason_of

Png = Path | bytes
"""A PNG picture: the path of its file, or the contents of one."""

SMALL = 128  # pixels; larger pictures are drawn smoothly, smaller ones show their pixels
TAG = 120  # bytes of the HTML around a picture, without its texts
HEADER = struct.Struct(">16x2I")  # of a PNG file: signature, length and name of the chunk IHDR, then width and height


def stored_size(png: Png) -> int:
    """The bytes of a PNG picture in a page, where it is base64. A file is not read for this.

    Raises:
        DataError: the file is missing.
    """
    try:
        length = len(png) if isinstance(png, bytes) else png.stat().st_size
    except OSError as error:
        raise _unreadable(png, error) from error
    return 4 * ((length + 2) // 3)


def stored(png: Png) -> str:
    """A PNG picture as base64.

    Raises:
        DataError: the file could not be read.
    """
    return b64encode(_content(png)).decode()


@dataclass(frozen=True)
class Picture:
    """A picture with its texts.

    Attributes:
        png: the path of a PNG file, or its contents. Nothing checks that it is one; the page shows `alt` if it is not.
        alt: what it shows, for readers that do not see it.
        caption: text below it; "" for none.
    """

    png: Png
    alt: str
    caption: str = ""

    def html(self) -> str:
        """A figure with the picture in it.

        Raises:
            DataError: the file could not be read.
        """
        content = _content(self.png)
        fine = ' class="fine"' if max(_sides(content)) > SMALL else ""
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        source = f"data:image/png;base64,{b64encode(content).decode()}"
        return f'<figure class="picture"><img{fine} alt="{escape(self.alt)}" src="{source}">{caption}</figure>'

    def weight(self) -> int:
        """The bytes of `html`, or a few more, without reading the file.

        Raises:
            DataError: the file is missing.
        """
        return stored_size(self.png) + TAG + sum(len(escape(text).encode("utf-8", "replace")) for text in self._texts)

    @property
    def _texts(self) -> tuple[str, str]:
        return self.alt, self.caption


Draw = Callable[[Picture], str]
"""What a picture becomes: `Picture.html`, or "" where a section weighs its text alone."""


def first_that_fit(pictures: Sequence[Picture], room: int) -> int:
    """How many pictures, from the first on, fit into so many bytes."""
    for number, picture in enumerate(pictures):
        room -= picture.weight()
        if room < 0:
            return number
    return len(pictures)


def left_out(count: int, of: int, what: str = "pictures") -> str:
    """A paragraph that says that pictures are left out; "" if none are."""
    if not count:
        return ""
    return (
        f'<p class="left-out"><strong>{count:,} of {of:,} {what} are not on this page</strong>, so that it stays '
        "small.</p>"
    )


NOTE = len(left_out(10**9, 10**9)) + 20
"""Bytes to reserve for a note of `left_out`."""


def _content(png: Png) -> bytes:
    if isinstance(png, bytes):
        return png
    try:
        return png.read_bytes()
    except OSError as error:
        raise _unreadable(png, error) from error


def _unreadable(png: Png, error: OSError) -> DataError:
    return DataError(f"{png}: the page needs this picture, but it could not be read ({reason_of(error)})")


def _sides(content: bytes) -> tuple[int, int]:
    """Width and height in pixels; (0, 0) if the file is too short to say."""
    return HEADER.unpack_from(content) if len(content) >= HEADER.size else (0, 0)
