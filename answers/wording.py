"""Formats numbers and class names for sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..metrics.ranges import why_not_real

SPOKEN_WITH_VOWEL = frozenset("aefhilmnorsx")  # letters: "an F", "a U"
NOUNS = frozenset(  # the classes of Fashion-MNIST and CIFAR-10
    (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )
)


def percent(share: float) -> str:
    """0.9984 -> "99.8 %"."""
    return f"{100 * share:.1f} %"


def with_article(name: str) -> str:
    """ "4" -> "a 4", "8" -> "an 8", "Ankle boot" -> "an Ankle boot"; "other" stays "other".

    Only what is known to be a noun has an article: numbers, letters, and the `NOUNS`. A user's classes may be anything:
    "other", "not blurred", "scissors".
    """
    kind, _, rest = name.rpartition(" ")
    if rest.isdecimal() and kind in ("", "digit"):
        vowel = not kind and (rest.startswith("8") or rest in ("11", "18"))
    elif len(rest) == 1 and rest.isalpha() and kind in ("", "letter"):
        vowel = not kind and rest.lower() in SPOKEN_WITH_VOWEL
    elif name in NOUNS:
        vowel = name[0].lower() in "aeio"
    else:
        return name
    return f"{'an' if vowel else 'a'} {name}"


def rounded(value: float) -> float | None:
    """Round to six significant digits, the precision of float32; None if the value is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def looks(metrics: Mapping[str, float | bool | None]) -> str:
    """Whether an image looks real and, if not, why: "does not look real: blurred"; from its metrics by name."""
    if metrics.get("looks_real"):
        return "looks real"
    why = why_not_real(metrics)
    return "does not look real" + (f": {why}" if why else "")
