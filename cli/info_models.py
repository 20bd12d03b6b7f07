"""What `cfx info` needs torch for: devices, engines, bundles and LPIPS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ..bundles.bundle import Bundle
from ..bundles.entries import PartEntry
from ..bundles.finding import shipped
from ..bundles.integrity import check_files
from ..counterfactuals.engine import Engine
from ..counterfactuals.registry import CONTROL, DEFAULT_ENGINE, by_rank, engine_names, ignored, load_engine, plugin_of
from ..counterfactuals.settings import settings_of
from ..errors import BundleError, CfxError
from ..metrics.perceptual import REMEDY, backbone
from ..training.parts import wanted_parts
from .information import (
    BundleAbout,
    DeviceAbout,
    EngineAbout,
    EngineDetails,
    Information,
    PartAbout,
    SettingAbout,
    Unavailable,
)


def look(information: Information, directories: Sequence[Path]) -> Information:
    """Add the devices, engines and bundles, and what is not available.

    Args:
        information: what was collected without torch.
        directories: directories of the user's own bundles.
    """
    found_engines, missing_engines = engines()
    found_bundles, missing_bundles = all_bundles(directories)
    return replace(
        information,
        devices=devices(),
        engines=found_engines,
        bundles=found_bundles,
        unavailable=(*missing_engines, *missing_bundles, *without_lpips()),
    )


def devices() -> tuple[DeviceAbout, ...]:
    """The devices that models can run on."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    return (
        DeviceAbout(name="cpu", available=True, detail=f"{torch.get_num_threads()} threads"),
        DeviceAbout(name="cuda", available=cuda, detail=torch.cuda.get_device_name() if cuda else ""),
        DeviceAbout(name="mps", available=mps),
    )


def engines() -> tuple[tuple[EngineAbout, ...], list[Unavailable]]:
    """Describe each engine; second, those that cannot be loaded."""
    missing: list[Unavailable] = []
    loaded: dict[str, type[Engine]] = {}
    for name in engine_names():
        try:
            loaded[name] = load_engine(name)
        except CfxError as error:
            missing.append(Unavailable(f"engine {name}", str(error)))
    missing += [Unavailable(f"another engine {name}", why) for name, why in ignored().items()]
    return tuple(engine_about(name, loaded[name]) for name in by_rank(loaded)), missing


def engine_about(name: str, engine: type[Engine]) -> EngineAbout:
    """Describe an engine."""
    return EngineAbout(
        name=name,
        summary=engine.summary,
        needs=engine.needs,
        uses=engine.uses,
        paper=engine.paper,
        fidelity=engine.fidelity,
        default=name == DEFAULT_ENGINE,
        control=name == CONTROL,
        plugin=plugin_of(name),
    )


def engine_details(name: str) -> EngineDetails:
    """Describe an engine and each of its settings.

    Raises:
        UsageError: as `load_engine`.
    """
    engine = load_engine(name)
    return EngineDetails(
        engine=engine_about(name, engine),
        gradients=engine.gradients,
        caution=engine.caution,
        settings=tuple(
            SettingAbout(name=each.name, type=each.type, default=each.default, **asdict(each.meaning))
            for each in settings_of(engine)
        ),
        presets=engine.presets,
    )


def all_bundles(directories: Sequence[Path]) -> tuple[tuple[BundleAbout, ...], list[Unavailable]]:
    """Describe the shipped bundles and the user's; second, shipped ones that cannot be opened."""
    missing: list[Unavailable] = []
    result: list[BundleAbout] = []
    for name, directory in shipped().items():
        try:
            result.append(describe(Bundle(directory)))
        except CfxError as error:
            missing.append(Unavailable(f"bundle {name}", str(error), broken=True))
    if not result:
        missing.append(Unavailable("shipped bundles", "this installation has none; reinstall cfx-toolkit", broken=True))
    return (*result, *(describe(Bundle(directory)) for directory in directories)), missing


def describe(bundle: Bundle) -> BundleAbout:
    """Describe one bundle. Its files are hashed, not loaded."""
    size, damaged = check_files(bundle)
    return BundleAbout(
        name=bundle.name,
        directory=str(bundle.directory),
        digest=bundle.digest,
        classes=tuple(bundle.classes),
        shape=bundle.shape,
        bytes=size,
        verified=not damaged,
        problem="; ".join(damaged) + "; restore the bundle" if damaged else None,
        parts={name: part_about(entry) for name, entry in bundle.parts.items()},
        lacks=lacks(bundle),
        settings=bundle.file.settings,
    )


def lacks(bundle: Bundle) -> dict[str, str]:
    """Parts that a new bundle would have and this one does not, and why, or what makes them; none before training."""
    if set(bundle.parts) <= {"classifier"}:
        return {}
    found: dict[str, str] = {}
    for name in wanted_parts():
        try:
            bundle.must_have(name)
        except BundleError as error:
            found[name] = str(error).removeprefix(f"bundle {bundle.name}: ")
    return found


def part_about(entry: PartEntry) -> PartAbout:
    """Describe a part as bundle.toml does."""
    return PartAbout(
        architecture=entry.architecture,
        file=entry.file,
        sha256=entry.sha256,
        verdict=entry.verdict,
        because=entry.because,
        trained=None if entry.trained is None else str(entry.trained),
        measured=dict(entry.measured),
    )


def without_lpips() -> list[Unavailable]:
    """Why LPIPS is not available; empty if it is."""
    path = backbone()
    if path is None:
        return [Unavailable("LPIPS", REMEDY)]
    if not path.is_file():
        return [Unavailable("LPIPS", f"{path}: no such file; {REMEDY}")]
    return []
