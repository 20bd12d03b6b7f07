"""cfx: explain image classifiers by counterfactuals.

Each public name is imported on first use, so that `cfx --help` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import VERSION

if TYPE_CHECKING:
    from .answers.answer import Answer
    from .answers.explain import explain
    from .bundles.bundle import load_bundle
    from .counterfactuals.engine import Counterfactuals, Engine
    from .counterfactuals.registry import engine_names, load_engine
    from .errors import CfxError, InputError
    from .images.reading import read_image
    from .metrics.evaluate import evaluate

__version__ = VERSION

__all__ = [
    "Answer",
    "CfxError",
    "Counterfactuals",
    "Engine",
    "InputError",
    "engine_names",
    "evaluate",
    "explain",
    "load_bundle",
    "load_engine",
    "read_image",
]

_HOMES = {
    "Answer": ".answers.answer",
    "CfxError": ".errors",
    "Counterfactuals": ".counterfactuals.engine",
    "Engine": ".counterfactuals.engine",
    "engine_names": ".counterfactuals.registry",
    "InputError": ".errors",
    "evaluate": ".metrics.evaluate",
    "explain": ".answers.explain",
    "load_bundle": ".bundles.bundle",
    "load_engine": ".counterfactuals.registry",
    "read_image": ".images.reading",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'cfx' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
