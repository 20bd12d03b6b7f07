"""Reads weights files as data: safetensors, or a state dict written by torch.save."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor, nn

from ...errors import UsageError, few, reason_of
from .tensor_names import NamesFound, find_names

# Keys under which checkpoints store the weights: of Lightning and timm, common in plain PyTorch, timm's EMA weights,
# DeepSpeed, BasicSR.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "state_dict_ema", "model_ema", "weights"),
    *("net", "network", "module", "params", "params_ema"),
)
SHOWN = 3  # number of keys that an error lists
HEAD = 2  # tensors of a last layer: weight and bias


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


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> tuple[str, ...]:
    """Loads tensors into a model, whatever training has put around their names.

    Returns:
        A note about tensors that the model does not have and does not need, if there are any.

    Raises:
        UsageError: names or shapes differ, or the file holds the model several times; the message lists the first few.
    """
    expected = model.state_dict()
    found = find_names(shapes_of(tensors), shapes_of(expected))
    if found.copies:
        raise UsageError(
            f"{where}: holds the model {len(found.copies)} times, under {few(found.copies, SHOWN)}; save the one to "
            "explain in a file of its own"
        )
    shapes = [
        f"{name} is {tuple(tensors[there].shape)} instead of {tuple(expected[name].shape)}"
        for name, there in found.tensors.items()
        if isinstance(expected[name], Tensor) and tensors[there].shape != expected[name].shape
    ]
    own_buffers = {name for name, _ in model.named_buffers()}  # those that are not stored are computed
    unknown = [name for name in found.unknown if name not in own_buffers]
    if found.missing or unknown or shapes:
        others = [*unknown, *found.unneeded]
        problems = (("missing", found.missing), ("not in the model:", others), ("other shapes:", shapes))
        listed = "; ".join(f"{what} {few(names, SHOWN)}" for what, names in problems if names)
        raise UsageError(f"{where}: does not match the model ({listed}); {_remedy(found, unknown, shapes)}")
    model.load_state_dict(expected | {name: tensors[there] for name, there in found.tensors.items()})
    if not found.unneeded:
        return ()
    return (f"{where}: left out, because the model has no such tensors: {few(found.unneeded, SHOWN)}",)


def _remedy(found: NamesFound, unknown: Sequence[str], shapes: Sequence[str]) -> str:
    """What to do about a checkpoint that does not match, by what is wrong with it."""
    if not found.tensors:
        return "it is of another model: give the weights of this one"
    if shapes and not found.missing and not unknown and len(shapes) <= HEAD:
        return "the model must be made with the number of classes that the file has"
    return "give the weights of exactly this model"


def shapes_of(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...] | None]:
    """The shapes of tensors by name; None for what is none."""
    return {name: tuple(each.shape) if isinstance(each, Tensor) else None for name, each in tensors.items()}


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
    """The weights in a checkpoint, which may keep them under a key, and other things beside them."""
    while isinstance(found, Mapping) and not _are_weights(found):
        inner = next((found[name] for name in WRAPPERS if isinstance(found.get(name), Mapping)), None)
        if inner is None:
            named = [value for value in found.values() if _are_weights(value)]
            inner = named[0] if len(named) == 1 else None
        if inner is None:
            break
        found = inner
    if not _are_weights(found):
        raise UsageError(f"{path}: contains no weights (a {type(found).__name__}); save model.state_dict()")
    return {str(name): tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _are_weights(found: object) -> bool:
    """Whether this maps names to tensors, and to nothing but numbers and texts beside them."""
    if not isinstance(found, Mapping) or not found:
        return False
    rest = [value for value in found.values() if not isinstance(value, Tensor)]
    return len(rest) < len(found) and all(value is None or isinstance(value, int | float | str) for value in rest)
