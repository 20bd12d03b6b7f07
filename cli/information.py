"""What `cfx info` knows, as the documented JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class DeviceAbout:
    """Where models can run."""

    name: str
    available: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class EngineAbout:
    """What an engine does, and which of a bundle's parts it needs."""

    name: str
    summary: str
    needs: tuple[str, ...]
    paper: str
    default: bool
    control: bool


@dataclass(frozen=True, kw_only=True)
class PartAbout:
    """One part of a bundle, as bundle.toml has it."""

    architecture: str
    file: str | None
    sha256: str | None
    verdict: str | None
    because: str | None
    measured: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class BundleAbout:
    """A bundle: classes, parts, and whether its files are intact."""

    name: str
    directory: str
    digest: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    bytes: int
    verified: bool
    problem: str | None
    parts: Mapping[str, PartAbout]


@dataclass(frozen=True)
class Unavailable:
    """What is not to be had here, and why."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Information:
    """Everything that `cfx info` says."""

    version: str
    python: str
    torch: str | None
    devices: tuple[DeviceAbout, ...] = ()
    engines: tuple[EngineAbout, ...] = ()
    bundles: tuple[BundleAbout, ...] = ()
    unavailable: tuple[Unavailable, ...] = field(default=())

    def as_json(self) -> dict[str, object]:
        """The documented object."""
        return {"schema": SCHEMA, **asdict(self)}
