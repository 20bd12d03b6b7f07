"""Presets: the settings with which an engine is as near to its source as it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from ..errors import UsageError

PAPER = "paper"
"""The preset with the settings and the stopping rule of the engine's source."""


@dataclass(frozen=True)
class Preset:
    """Settings of an engine's source, and what its paper reports for them.

    Attributes:
        settings: values of the engine's own fields; `confidence` is the one at which the source's search stops.
        published: the figures that the source reports, with table or section, in one sentence; "none on these data"
            where there are none.
        differs: what still differs from the source under this preset, in one sentence.
        needs: parts of `Engine.uses` without which the preset is not what its source describes.
    """

    settings: Mapping[str, object]
    published: str
    differs: str
    needs: tuple[str, ...] = ()


class HasPresets(Protocol):
    """The class of an engine."""

    name: ClassVar[str]
    presets: ClassVar[Mapping[str, Preset]]


def preset_of(engine: type[HasPresets], name: str) -> Preset:
    """The preset of this name.

    Raises:
        UsageError: the engine has no such preset; those that it has are listed.
    """
    if not engine.presets:
        raise UsageError(f"engine {engine.name}: preset {name!r}: it has no presets; leave out the preset")
    if name not in engine.presets:
        raise UsageError(f"engine {engine.name}: no preset {name!r}; choose {', '.join(engine.presets)}, or none")
    return engine.presets[name]
