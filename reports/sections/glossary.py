"""Glossary: how to read a page, behind a line that opens it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import ClassVar

from ..section import Section


@dataclass(frozen=True, kw_only=True)
class Glossary(Section):
    """The words of a page and what they mean.

    Attributes:
        terms: the meaning of each word.
        further: a sentence that says where to read on; "" for none.
        summary: the line that opens it.
    """

    terms: Mapping[str, str]
    further: str = ""
    summary: str = "How to read this page"
    assets: ClassVar[tuple[str, ...]] = ("glossary.css",)

    def html(self) -> str:
        terms = "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>\n" for word, meaning in self.terms.items())
        further = f"<p>{escape(self.further)}</p>\n" if self.further else ""
        return (
            f'<details class="reading"><summary>{escape(self.summary)}</summary>\n<dl>\n{terms}</dl>\n'
            f"{further}</details>"
        )


OF_COUNTERFACTUALS = Glossary(
    id="reading",
    terms={
        "factual": "the original image",
        "counterfactual": "an image near the factual that the explained classifier sees as the target class",
        "engine": "a way to search for counterfactuals; most are variants of the method they are named after, and "
        "cfx info --engine NAME says how they depart from it",
        "valid": "the target has the highest probability, and at least the confidence asked for. Adversarial noise can "
        "be valid, too: look at the judges",
        "judges": "independently trained models that no engine can see or use; they agree if they see the target, too",
        "referee": "one more such model, by which neither engines nor their settings are chosen; it agrees if it sees "
        "the target, too",
        "looks real": "as 95 % of real images of the target class do: in the features of a judge it is not too far "
        "from others (else it is called untypical) nor too near to another class, it has as much fine detail (else: "
        "blurred, or too sharp), and its smooth areas are as smooth (else: noisy)",
        "L1, L2, Linf": "how far the counterfactual is from the factual; pixel values run from 0 to 1",
        "change": "counterfactual minus factual, by brightness; full colour means the largest change in that image, "
        "which is printed below it",
        "interval": "95 %, over pairs of an image and a target. If two intervals overlap, the difference may be due "
        "to chance",
        "bold": "the best mean of the compared engines; nothing is bold if all means print the same",
        "control": "an answer whose quality is known in advance; it shows what the metrics can tell apart, and is not "
        "compared",
    },
    further="cfx\u2019s docs/metrics.md defines every metric, with its source and its weaknesses.",
)
"""For a page with a gallery of answers."""
