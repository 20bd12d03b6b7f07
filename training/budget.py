"""How the time that a user gives to `cfx train` is shared out among what remains to be fitted."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from pathlib import Path

from ..errors import UsageError
from ..files import write_text
from .fit import Fit

WEIGHTS = {
    "classifier": 3.0,
    "judge": 2.0,
    "second_judge": 1.5,
    "retrained": 2.5,
    "guides": 1.5,
    "vae": 7.0,
    "conditional_vae": 10.0,
    "flow": 1.5,
    "autoencoders": 2.0,
}
"""Shares of the time by kind of fit; each is divided evenly among the fits of its kind."""

RESERVE = 0.08  # of the time, for what is not fitting: reading, measuring, drawing
LEAST_STEPS = 30  # below which nothing at all is learnt
UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds_in(text: str) -> float:
    """ "90s", "20m", "1h30m", "2h" as seconds.

    Raises:
        UsageError: it is no such time.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip().lower())
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not seconds or re.sub(r"(\d+(?:\.\d+)?)\s*([smh])", "", text.strip().lower()).strip():
        raise UsageError(f"budget {text!r}: not a time; write it as 90s, 20m, 2h or 1h30m")
    return seconds


class Budget:
    """The time given and what of it is spent, over all starts of one training.

    Args:
        seconds: given in all.
        fits: the labels of all fits that remain, each with its share of the time.
        file: where the time spent is kept between starts.
        began: when this start began, on `time.monotonic`'s clock; now, if None.
    """

    def __init__(
        self, seconds: float, fits: Iterable[tuple[str, float]], file: Path, began: float | None = None
    ) -> None:
        self.seconds = seconds
        self.left_to_do = dict(fits)
        self.file = file
        spent = json.loads(file.read_text())["seconds"] if file.exists() else 0.0
        self.start = (time.monotonic() if began is None else began) - spent

    @property
    def spent(self) -> float:
        """Seconds, over all starts."""
        return time.monotonic() - self.start

    def allot(self, label: str, fit: Fit) -> int:
        """The steps that a fit gets: as many as its share of the time allows, and no more than it asks for."""
        weight = self.left_to_do.get(label, 0.0)
        share = weight / (sum(self.left_to_do.values()) or 1.0)
        seconds = share * max(0.0, self.seconds * (1 - RESERVE) - self.spent)
        return min(fit.total_steps, max(LEAST_STEPS, int(seconds / fit.seconds_per_step())))

    def done(self, label: str) -> None:
        """A fit has ended, sooner or later than planned; the others share what is left."""
        self.left_to_do.pop(label, None)
        self.save()

    def save(self) -> None:
        """Keep the time spent for the next start."""
        write_text(self.file, json.dumps({"seconds": round(self.spent, 1)}))
