"""Formats numbers and class names for sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..metrics.ranges import why_not_real


def percent(share: float) -> str:
    """0.9984 -> "99.8 %"."""
    return f"{100 * share:.1f} %"


def with_article(name: str) -> str:
    """ "4" -> "a 4", "8" -> "an 8", "Ankle boot" -> "an Ankle boot"."""
    vowel = name[:1].lower() in tuple("aeio") or name.startswith("8") or name in ("11", "18")
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
