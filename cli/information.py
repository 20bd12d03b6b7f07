"""The document that `cfx info` prints: typed, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ..counterfactuals.fidelity import Fidelity
from ..counterfactuals.preset import Preset

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class DeviceAbout:
    """A device, and whether models can run on it."""

    name: str
    available: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class EngineAbout:
    """An engine: what it does, how near it is to its source, and which parts of a bundle it needs or may use."""

    name: str
    summary: str
    needs: tuple[str, ...]
    uses: tuple[str, ...]
    paper: str
    fidelity: Fidelity
    default: bool
    control: bool
    plugin: str | None


@dataclass(frozen=True, kw_only=True)
class SettingAbout:
    """A setting of an engine, which `--set ENGINE.NAME=VALUE` changes."""

    name: str
    type: str
    default: object
    what: str
    source: str
    least: float | None
    most: float | None


@dataclass(frozen=True, kw_only=True)
class EngineDetails:
    """An engine with all of its settings and presets."""

    engine: EngineAbout
    gradients: bool
    caution: str | None
    settings: tuple[SettingAbout, ...]
    presets: Mapping[str, Preset]

    def as_json(self) -> dict[str, object]:
        """The JSON object."""
        return {"schema": SCHEMA, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class PartAbout:
    """One part of a bundle, as bundle.toml describes it."""

    architecture: str
    file: str | None
    sha256: str | None
    verdict: str | None
    because: str | None
    trained: str | None
    measured: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class BundleAbout:
    """A bundle: its classes, its parts, what it lacks, its settings of engines, and whether its files are intact."""

    name: str
    directory: str
    digest: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    bytes: int
    verified: bool
    problem: str | None
    parts: Mapping[str, PartAbout]
    lacks: Mapping[str, str]
    settings: Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Unavailable:
    """Something that is not available here, and why; `broken` if that is a fault of the installation."""

    what: str
    why: str
    broken: bool = False


@dataclass(frozen=True, kw_only=True)
class Information:
    """Everything that `cfx info` reports."""

    version: str
    python: str
    torch: str | None
    devices: tuple[DeviceAbout, ...] = ()
    engines: tuple[EngineAbout, ...] = ()
    bundles: tuple[BundleAbout, ...] = ()
    unavailable: tuple[Unavailable, ...] = field(default=())

    def as_json(self) -> dict[str, object]:
        """The JSON object."""
        return {"schema": SCHEMA, **asdict(self)}
