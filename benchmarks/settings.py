"""The settings of a benchmark, which are parsed before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONTROLS = ("factual", "random-real", "nearest-real", "blurred-real", "redrawn-real")
"""Names of the controls of `cfx bench`. One more is the engine `pixel`, which makes adversarial noise."""


@dataclass(frozen=True)
class Settings:
    """Settings of a benchmark, from the options of `cfx bench`, which describes each."""

    images: str | None = None
    data: Path | None = None
    count: int | None = None
    targets: str = "random"
    seed: int = 0
    confidence: float = 0.9
    batch_size: int | None = None
    controls: bool = False
    lpips: bool = True
    answers: int = 1
    style: str = "minimal"
    region: tuple[int, int, int, int] | None = None
    window: tuple[float, float] | None = None
    recursive: bool = False
    out: Path | None = None
    fresh: bool = False
