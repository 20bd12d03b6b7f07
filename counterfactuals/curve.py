"""The curve from a factual to a counterfactual: what an engine returns for each question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from .problem import Candidates


@dataclass(frozen=True, kw_only=True)
class Region:
    """A region of a counterfactual that was taken from another image.

    Attributes:
        x, y, width, height: in pixels of the counterfactual.
        donor: name of the other image.
    """

    x: int
    y: int
    width: int
    height: int
    donor: str

    def of(self, pixels: Tensor) -> Tensor:
        """The region of a map of pixels (H, W)."""
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class About:
    """What an engine says about one counterfactual.

    Attributes:
        regions: what was taken from other images.
        notes: sentences for the user.
        fell_back: whether it comes from what the engine falls back on where its own method fails, such as a real image;
            None: the engine has nothing to fall back on.
    """

    regions: tuple[Region, ...] = ()
    notes: tuple[str, ...] = ()
    fell_back: bool | None = None


@dataclass(frozen=True)
class Curve:
    """A path from each factual (t = 0) to the best counterfactual found (t = 1).

    Attributes:
        draw: draw(t (M,), rows (M,)) -> images (M, C, h, w), before rounding.
        grid: values of t in (0, 1) to evaluate, in one batch, before bisecting; if empty, tightening bisects directly.
        bisections: how often to halve the interval in which validity begins.
        low: (N,) values of t up to which nothing is tried, such as where each curve is known not to be valid; None: 0.
        end: the candidates at t = 1, if the engine has already evaluated them.
        accept: accept(t (M,), rows (M,)) -> (M,) bool, which points the engine accepts if they are valid; None: all
            of them. Tightening treats the others like invalid points.
        least: confidence below which tightening treats a point like an invalid one.
        about: about(t, row) -> what the engine says about the point of a row at t; None: nothing.
    """

    draw: Callable[[Tensor, Tensor], Tensor]
    grid: Sequence[float] = ()
    bisections: int = 8
    low: Tensor | None = None
    end: Candidates | None = None
    accept: Callable[[Tensor, Tensor], Tensor] | None = None
    least: float = 0.0
    about: Callable[[float, int], About] | None = None
