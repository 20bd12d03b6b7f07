"""What cfx knows of a classifier that the user brings, whatever it came from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.torch import save as dump_safetensors
from torch import nn

from ..data.errors import UsageError
from .preprocessing import Preprocessing

STEM = "classifier"  # of the files that a foreign classifier leaves in a bundle


@dataclass(frozen=True)
class Foreign:
    """A classifier that someone else trained, loaded but not adapted.

    Attributes:
        model: takes what its preprocessing makes; in eval mode.
        kind: where it came from: "pt2", "torchscript", "onnx", "factory", "torchvision", "timm" or "hf".
        name: what the user called it: a file's name, "module:factory", "resnet18@DEFAULT".
        preprocessing: what its source declares, the rest as `Preprocessing` has it; None where nothing is known.
        declared: the fields of `preprocessing` that the source itself declares; the others are guesses.
        classes: names of the classes, where the source has them.
        files: name -> content or where it lies: what a bundle must keep. The first is the model or its weights.
        fixed_batch: how many images it takes at once, where it takes no other number.
        differentiable: whether its gradients can be had.
    """

    model: nn.Module
    kind: str
    name: str
    preprocessing: Preprocessing | None = None
    declared: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    fixed_batch: int | None = None
    differentiable: bool = True


def pack(model: nn.Module, name: str) -> bytes:
    """A model's weights as the content of a safetensors file.

    Raises:
        UsageError: its state holds something that is no tensor.
    """
    state = model.state_dict()
    other = [key for key, value in state.items() if not hasattr(value, "contiguous")]
    if other:
        raise UsageError(f"{name}: its state holds {other[0]!r}, which is no tensor and cannot be kept as data")
    # A copy of each, because safetensors refuses tensors that share memory.
    return dump_safetensors({key: value.detach().clone().contiguous() for key, value in state.items()})


def optional(spec: str, package: str) -> Any:
    """The optional package that `spec` needs.

    Raises:
        UsageError: it is not installed, or does not load.
    """
    try:
        return import_module(package)
    except ImportError as error:
        if error.name != package:
            raise UsageError(f"{spec}: {package} could not be imported ({error}); install it again") from error
        raise UsageError(f"{spec}: needs the package {package}; install it with `pip install {package}`") from error


@contextmanager
def silent() -> Iterator[None]:
    """No warnings and no log for as long as the context lasts: what matters in a library's talk is raised."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
