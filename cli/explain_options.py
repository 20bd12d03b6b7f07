"""The options of `cfx explain` as a type, and the checks of those that belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..counterfactuals.registry import DEFAULT_ENGINE, EngineChoice
from ..errors import UsageError
from ..intake.init_options import ClassifierOptions
from .options.choices import seconds


@dataclass(frozen=True, kw_only=True)
class OwnClassifier:
    """A classifier without a bundle.

    Attributes:
        spec: as in `open_classifier`.
        weights: a file of weights, for a classifier that is code.
        images: labelled images, as in `open_images`, on which it is examined; None for none.
        settings: what the user says about it.
    """

    spec: str
    weights: Path | None
    images: str | None
    settings: ClassifierOptions


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """The options of `cfx explain`, parsed. `explain` describes each.

    Attributes:
        engines: the engines and their settings.
        classifier: explained without a bundle.
        explained: name of the part of the bundle that is explained; None for its classifier.
    """

    images: tuple[str, ...]
    target: str
    other_than: str | None
    certain: bool
    targets: Path | None
    region: tuple[int, int, int, int] | None
    mask: str | None
    engines: EngineChoice
    bundle: str
    classifier: OwnClassifier | None
    explained: str | None
    confidence: float
    out: Path
    format: str
    count: int
    style: str
    seed: int
    device: str
    segments: str | None
    path: bool
    batch_size: int
    invert: bool
    window: tuple[float, float] | None
    recursive: bool
    lpips: bool
    strokes: bool
    html: bool

    @property
    def may_be_certain(self) -> bool:
        """Whether nothing is asked for, so that naming an engine that answers with any class asks for certainty."""
        asked = self.target != "auto" or self.other_than is not None or self.targets is not None
        return not asked and not self.engines.every

    @property
    def asked(self) -> str:
        """What is asked of the images, as the user wrote it."""
        if self.targets is not None:
            return f"targets of {self.targets}"
        if self.certain:
            return "certainty"
        return f"target {self.target}" if self.other_than is None else f"another class than {self.other_than}"


def refuse_description(given: Mapping[str, object | None], remedy: str) -> None:
    """Raise a UsageError if options that describe a classifier without a bundle are given, and there is none.

    Args:
        given: option -> its value; None if it is not given.
        remedy: what to do.
    """
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option}: describes a classifier without a bundle; {remedy}")


def check_question(
    images: Sequence[str], targets: Path | None, region: str | None, mask: str | None, segments: str | None
) -> None:
    """Raise a UsageError unless there are images, and where they may change can be meant."""
    if region is not None and mask is not None:
        raise UsageError("--region and --mask contradict each other: give one of them")
    if mask is not None and mask != "auto" and not Path(mask).is_file():
        raise UsageError(f"--mask {mask}: no such file; give a picture as large as the image, or auto")
    if segments not in (None, "grid", "slic") and not Path(segments).is_file():
        raise UsageError(f"--segments {segments}: no such file; give a picture of the regions, grid or slic")
    if targets is not None and not targets.is_file():
        raise UsageError(f"--targets {targets}: no such file; give a CSV file with lines of image,target")
    if images and targets is not None:
        raise UsageError(f"--targets {targets}: lists the images itself; leave out {images[0]}")
    if not images and targets is None:
        raise UsageError("IMAGES: there are none; name image files, directories or globs, or give --targets CSV")


def within_of(within: str | None, engine: str | None) -> list[str]:
    """The time for an image as a setting of auto.

    Raises:
        UsageError: it is no time, or no engine looks at it.
    """
    if within is None:
        return []
    if engine is not None and DEFAULT_ENGINE not in engine.split(","):
        raise UsageError(f"--within {within}: only the engine {DEFAULT_ENGINE} looks at the time, and it is not asked")
    return [f"{DEFAULT_ENGINE}.within={seconds('--within', within)}"]


def option_of(field: str) -> str:
    """The option that sets a field of `Preprocessing`."""
    return "--input-size" if field == "size" else f"--{field.replace('_', '-')}"
