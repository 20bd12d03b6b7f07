"""cfx: explain image classifiers by counterfactuals.

The names below are imported when first used, so that `cfx --help` pays for none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bundles.bundle import load_bundle
    from .counterfactuals.engine import Counterfactuals, Engine
    from .counterfactuals.metrics.evaluate import evaluate
    from .counterfactuals.registry import engine_names, load_engine
    from .data.errors import CfxError
    from .data.images import read_image

__version__ = "0.1.0"

__all__ = [
    "CfxError",
    "Counterfactuals",
    "Engine",
    "engine_names",
    "evaluate",
    "load_bundle",
    "load_engine",
    "read_image",
]

_HOMES = {
    "CfxError": ".data.errors",
    "Counterfactuals": ".counterfactuals.engine",
    "Engine": ".counterfactuals.engine",
    "engine_names": ".counterfactuals.registry",
    "evaluate": ".counterfactuals.metrics.evaluate",
    "load_bundle": ".bundles.bundle",
    "load_engine": ".counterfactuals.registry",
    "read_image": ".data.images",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'cfx' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
