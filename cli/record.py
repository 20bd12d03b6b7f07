"""What `cfx explain` says of one image and one engine, as the JSON record; docs/record.md describes it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..counterfactuals.registry import CONTROL

SCHEMA = 1
METRICS = (
    *("l0", "l1", "l2", "linf", "lpips", "cout", "im1", "im2", "realism_percentile", "knn_agreement"),
    *("robust_noise", "robust_retrained"),
)


def percent(share: float) -> str:
    """0.9984 -> "99.8 %"."""
    return f"{100 * share:.1f} %"


def with_article(name: str) -> str:
    """ "4" -> "a 4", "8" -> "an 8", "Ankle boot" -> "an Ankle boot"."""
    vowel = name[:1].lower() in tuple("aeio") or name.startswith("8") or name in ("11", "18")
    return f"{'an' if vowel else 'a'} {name}"


@dataclass(frozen=True)
class Sight:
    """What the classifier sees in an image: its most probable class, and how sure it is."""

    name: str
    confidence: float

    def __str__(self) -> str:
        return f"{with_article(self.name)} ({percent(self.confidence)})"


@dataclass(frozen=True)
class Cost:
    """What the search of one image took; `seconds` is the batch's time divided by its images."""

    steps: int
    forward_calls: int
    backward_calls: int
    seconds: float


@dataclass(frozen=True)
class Explanation:
    """One image, one engine, one answer.

    Attributes:
        input: the image file.
        factual: what the classifier sees in it.
        target: the class asked for.
        counterfactual: what the classifier sees in the image found; the target, where it is valid.
        valid, confidence: as in `Counterfactuals`; the confidence is the target's.
        threshold: least confidence of a valid one.
        pixels: of one image, H * W.
        scores: every metric and the judge's verdict by name; None where it could not be had.
        files: what was written, by kind.
        notes: why a value is None, and what was done to the input.
    """

    input: Path
    factual: Sight
    target: str
    engine: str
    settings: Mapping[str, object]
    counterfactual: Sight
    valid: bool
    confidence: float
    threshold: float
    pixels: int
    scores: Mapping[str, float | bool | None]
    cost: Cost
    bundle: str
    digest: str
    device: str
    seed: int
    files: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The engine's name, and what it is there for where it is the control."""
        return f"{self.engine} (control)" if self.engine == CONTROL else self.engine

    def score(self, name: str) -> float | None:
        """A metric, or None where it could not be had or is not a finite number."""
        value = self.scores.get(name)
        return None if value is None else rounded(value)

    def record(self) -> dict[str, Any]:
        """The documented JSON object; the order of its fields is that of the documentation."""
        notes = list(self.notes)
        for name, value in self.scores.items():
            if value is not None and not math.isfinite(value):
                notes.append(f"{name}: not a finite number")
        kinds = ("counterfactual", "panel", "record", "path", "gif", "full")
        if "path" not in self.files:
            notes.append("files.path, files.gif: not asked for (--path)")
        if "full" not in self.files:
            notes.append("files.full: only where models work in a smaller size than the images, and without --invert")
        return {
            "schema": SCHEMA,
            "version": __version__,
            "input": str(self.input),
            "factual": self._seen(self.factual),
            "target": self.target,
            "engine": self.engine,
            "settings": dict(self.settings),
            "counterfactual": self._seen(self.counterfactual),
            "valid": self.valid,
            "confidence": rounded(self.confidence),
            "judge_agrees": self.scores.get("judge_agrees"),
            "judge_confidence": self.score("judge_confidence"),
            "metrics": {name: self.score(name) for name in METRICS},
            "looks_real": self.scores.get("looks_real"),
            "cost": {
                "steps": self.cost.steps,
                "forward_calls": self.cost.forward_calls,
                "backward_calls": self.cost.backward_calls,
                "seconds": rounded(self.cost.seconds),
            },
            "files": {kind: str(self.files[kind]) if kind in self.files else None for kind in kinds},
            "bundle": {"name": self.bundle, "digest": self.digest},
            "device": self.device,
            "seed": self.seed,
            "notes": notes,
        }

    @staticmethod
    def _seen(sight: Sight) -> dict[str, object]:
        return {"class": sight.name, "confidence": rounded(sight.confidence)}

    def as_json(self) -> str:
        """The record on one line."""
        return json.dumps(self.record(), ensure_ascii=False, allow_nan=False, default=str)


def rounded(value: float) -> float | None:
    """To six significant digits, which is what single precision holds; None where it is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
