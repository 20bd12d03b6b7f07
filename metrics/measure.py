"""What a figure measures: its name, which direction is better, how it is printed. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """One kind of figure.

    Attributes:
        name: its name in gates and JSON.
        label: its name in tables.
        better: which direction is better; None if neither is.
        kind: `share`, in [0, 1] and printed as a percentage, or `number`.
        unit: what stands after a number, such as " °"; "" for nothing. Ticks have none: let the label name it, too.
        yes_or_no: whether single values are true or false, so that the mean is a proportion.
        of_set: whether it has one value for a whole set and none for a single image.

    Examples:
        >>> Measure("accuracy", "accuracy", "higher", "share").shown(0.9931)
        '99.3 %'
        >>> Measure("rotation", "rotation, °", None, "number", unit=" °").shown(12.345)
        '12.3 °'
    """

    name: str
    label: str
    better: Literal["higher", "lower"] | None
    kind: Literal["share", "number"]
    yes_or_no: bool = field(default=False, kw_only=True)
    of_set: bool = field(default=False, kw_only=True)
    unit: str = field(default="", kw_only=True)

    def shown(self, value: float | None) -> str:
        """Formats the value for a table; a dash if there is none."""
        if value is None:
            return "-"
        if self.kind == "share":
            return f"{100 * value:.1f} %"
        return (f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}") + self.unit
