"""Strip: a row of pictures with captions, such as one image at several values of a factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import ClassVar, Self

from ..pictures import NOTE, Draw, Picture, first_that_fit, left_out
from ..section import Section, size


@dataclass(frozen=True, kw_only=True)
class Strip(Section):
    """Pictures from left to right. The last ones are left out where there is no room for all.

    Attributes:
        pictures: the pictures.
        text: a sentence above them; "" for none.
        without: how many more pictures there were, which did not fit.
    """

    pictures: Sequence[Picture]
    text: str = ""
    without: int = 0
    assets: ClassVar[tuple[str, ...]] = ("strip.css",)

    def html(self) -> str:
        return self._html(Picture.html)

    def weight(self) -> int:
        return size(self._html(lambda picture: "")) + sum(picture.weight() for picture in self.pictures)

    def fit(self, room: int) -> Self:
        if self.weight() <= room:
            return self
        frame = size(replace(self, pictures=())._html(lambda picture: "")) + NOTE
        items = [size(_item("")) for _ in self.pictures]
        count = first_that_fit(self.pictures, room - frame - sum(items))
        return replace(self, pictures=self.pictures[:count], without=self.without + len(self.pictures) - count)

    def _html(self, draw: Draw) -> str:
        text = f"<p>{escape(self.text)}</p>" if self.text else ""
        note = left_out(self.without, self.without + len(self.pictures))
        if not self.pictures:
            return text + note
        label = escape(self.title or self.text or "Pictures")
        items = "".join(_item(draw(picture)) for picture in self.pictures)
        # Lists of the style "none" are no lists to some screen readers without the role.
        return f'{text}{note}<ul class="strip" role="list" aria-label="{label}" tabindex="0">{items}</ul>'


def _item(picture: str) -> str:
    return f"<li>{picture}</li>"
