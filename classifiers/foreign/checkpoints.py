"""Reads weights files as data: safetensors, or a state dict written by torch.save."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor, nn

from ...errors import UsageError, few, reason_of

# Keys under which checkpoints store the weights: of Lightning and timm, common in plain PyTorch, timm's EMA weights.
WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "weights", "net")
# Prefixes that training adds to all names: of DataParallel, torch.compile and Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
SHOWN = 3  # number of keys that an error lists


class PickledModel(UsageError):
    """The file is a pickle that contains objects other than tensors."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors file or checkpoint, by name, without running code from the file.

    Raises:
        PickledModel: it contains more than tensors.
        UsageError: it is missing, damaged, or contains no tensors.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: could not be read ({reason_of(error)}); give a safetensors file or a checkpoint"
        ) from error
    return parse_weights(content, path)


def parse_weights(content: bytes, path: Path) -> dict[str, Tensor]:
    """As `read_weights`, for the content of a file."""
    if looks_pickled(content):
        return _unwrapped(_load_pickle(path), path)
    try:
        return with_aliases(parse_safetensors(content), content)
    except SafetensorError as error:
        raise UsageError(
            f"{path}: is neither a safetensors file nor a checkpoint of torch.save; save model.state_dict()"
        ) from error


def looks_pickled(content: bytes) -> bool:
    """Whether a file begins like a pickle or an archive of torch.save.

    A safetensors file begins with the length of its header, which may have a pickle's first byte.
    """
    length = int.from_bytes(content[:8], "little")
    if length <= len(content) - 8 and content[8:9] == b"{":
        return False
    return content[:1] == b"\x80" or content[:2] == b"PK"


def with_aliases(tensors: dict[str, Tensor], content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, with those that share the weights of another, which are stored once.

    `safetensors.torch.save_model` records their names in the file's metadata: alias -> name of the stored tensor.
    """
    length = int.from_bytes(content[:8], "little")
    aliases = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return tensors | {
        alias: tensors[name] for alias, name in aliases.items() if name in tensors and alias not in tensors
    }


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Loads tensors into a model, ignoring prefixes that training adds to their names.

    Raises:
        UsageError: names or shapes differ; the message lists the first few.
    """
    expected = model.state_dict()
    tensors = without_prefix(tensors, expected)
    missing = [name for name in expected if name not in tensors]
    unknown = [name for name in tensors if name not in expected]
    shapes = [
        f"{name} is {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and isinstance(value, Tensor) and tensors[name].shape != value.shape
    ]
    problems = [
        f"{what} {few(names, SHOWN)}"
        for what, names in (("missing", missing), ("not in the model:", unknown), ("other shapes:", shapes))
        if names
    ]
    if problems:
        raise UsageError(
            f"{where}: does not match the model ({'; '.join(problems)}); give the weights of exactly this model"
        )
    model.load_state_dict(tensors)


def without_prefix(tensors: Mapping[str, Tensor], expected: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors without the prefix that training adds to all names, if no name matches the model with it."""
    known = set(expected)
    for prefix in PREFIXES:
        if not known & set(tensors) and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def _load_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PickledModel(
            f"{path}: contains pickled objects, which could run code; save only the weights, "
            "where the model's code is: safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        ) from error
    except Exception as error:  # a damaged archive fails in many ways
        raise UsageError(f"{path}: is damaged, so torch.load cannot read it; save model.state_dict() again") from error


def _unwrapped(found: Any, path: Path) -> dict[str, Tensor]:
    for name in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            break
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise UsageError(f"{path}: contains no weights (a {type(found).__name__}); save model.state_dict()")
    return {str(name): tensor for name, tensor in found.items()}
