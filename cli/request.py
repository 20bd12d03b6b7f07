"""What was asked of `cfx explain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    images: tuple[str, ...]
    target: str
    engine: str | None
    bundle: str
    confidence: float
    out: Path
    format: str
    seed: int
    device: str
    path: bool
    batch_size: int
    invert: bool
    lpips: bool
    html: bool
