"""The settings of a benchmark, which are parsed before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..metrics.catalogue import BY_NAME
from ..runs.gates import Vocabulary

NEAREST_ACCEPTED = "nearest-accepted"
"""Name of the control of every run, also without `--controls`; but not of a run where only a region may change."""

CONTROLS = ("factual", "random-real", "nearest-real", NEAREST_ACCEPTED, "blurred-real", "redrawn-real")
"""Names of the controls of `cfx bench`. One more is the engine `pixel`, which makes adversarial noise."""

GATES = Vocabulary(
    measures=BY_NAME,
    subject="engine",
    measure="metric",
    counted="pairs",
    least="--min-pairs",
    example="latent.validity>=0.99",
)
"""What the gates of `cfx bench` may name."""


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
    nearest: bool = True  # whether nearest-accepted answers; False only in studies, where it has a run of its own
    lpips: bool = True
    strokes: bool = False
    metrics: tuple[str, ...] = ()
    answers: int = 1
    style: str = "minimal"
    region: tuple[int, int, int, int] | None = None
    window: tuple[float, float] | None = None
    recursive: bool = False
    out: Path | None = None
