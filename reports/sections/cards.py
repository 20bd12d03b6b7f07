"""Cards: findings side by side, each a title, a sentence, figures, and pictures that show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import ClassVar, Self

from ..pictures import NOTE, Draw, Picture, first_that_fit, left_out
from ..section import Section, size

ROW = '<div class="row">{}</div>'


@dataclass(frozen=True, kw_only=True)
class Card:
    """One finding.

    Attributes:
        title: what was found, in a few words.
        sentence: what it means, in a sentence.
        figures: its figures as text by name, with intervals where there are some: "12.0 % (8.1 to 17.3)".
        pictures: pictures that show it, such as members of a group.
    """

    title: str
    sentence: str
    figures: Mapping[str, str] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()

    def html(self, draw: Draw, level: int) -> str:
        """The card; its heading is one of `level`."""
        figures = "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in self.figures.items()
        )
        pictures = "".join(map(draw, self.pictures))
        return (
            f'<article class="finding"><h{level}>{escape(self.title)}</h{level}><p>{escape(self.sentence)}</p>'
            f"{figures and f'<dl>{figures}</dl>'}{pictures and ROW.format(pictures)}</article>"
        )


@dataclass(frozen=True, kw_only=True)
class Cards(Section):
    """Findings, the most important first. Where there is no room, the last pictures of each are left out; no text is.

    Attributes:
        cards: the findings. The section is left out if there are none.
        text: a sentence above them; "" for none.
        without: how many pictures of the cards did not fit.
    """

    cards: Sequence[Card]
    text: str = ""
    without: int = 0
    assets: ClassVar[tuple[str, ...]] = ("cards.css",)

    def html(self) -> str:
        return self._html(Picture.html)

    def weight(self) -> int:
        rows = len(ROW) * sum(bool(card.pictures) for card in self.cards)
        return size(self._html(lambda picture: "")) + rows + sum(picture.weight() for picture in self._pictures)

    def fit(self, room: int) -> Self:
        if self.weight() <= room or not self._pictures:
            return self
        # The first picture of each card comes first, then the second of each, ...
        places = sorted(
            (place, number) for number, card in enumerate(self.cards) for place in range(len(card.pictures))
        )
        in_turn = [self.cards[number].pictures[place] for place, number in places]
        left = room - size(self._html(lambda picture: "")) - NOTE - len(ROW) * len(self.cards)
        count = first_that_fit(in_turn, left)
        kept = Counter(number for _, number in places[:count])
        cards = [replace(card, pictures=card.pictures[: kept[number]]) for number, card in enumerate(self.cards)]
        return replace(self, cards=cards, without=self.without + len(places) - count)

    @property
    def _pictures(self) -> list[Picture]:
        return [picture for card in self.cards for picture in card.pictures]

    def _html(self, draw: Draw) -> str:
        if not self.cards:
            return ""
        text = f"<p>{escape(self.text)}</p>" if self.text else ""
        level = self.level + 1 if self.title else self.level
        cards = "".join(card.html(draw, level) for card in self.cards)
        note = left_out(self.without, self.without + len(self._pictures))
        return f'{text}{note}<div class="findings">{cards}</div>'
