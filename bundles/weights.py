"""The weights of a part as a safetensors file: checked on reading, stored in half precision."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor, nn

from ..classifiers.foreign.checkpoints import looks_pickled
from ..errors import BundleError
from .entries import PartEntry
from .known_parts import build


def read_part(where: str, directory: Path, entry: PartEntry) -> nn.Module:
    """Load a part's model from its safetensors file.

    Args:
        where: the first words of an error message.
        directory: of the bundle.
        entry: the part's entry in bundle.toml.

    Raises:
        BundleError: the file is missing, changed, a pickle, or does not match the architecture.
    """
    path = directory / str(entry.file)
    where = f"{where} ({path.name})"
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{where} is missing; restore the file or remake it with `cfx train`") from error
    if looks_pickled(content):
        raise BundleError(
            f"{where} is a pickle, which could run code; convert it with "
            "safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)"
        )
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BundleError(f"{where} is not the file that bundle.toml describes (sha256 differs); restore it")
    try:
        tensors = parse_safetensors(content)
    except SafetensorError as error:
        raise BundleError(f"{where} is not a safetensors file ({error})") from error
    try:
        with torch.random.fork_rng(devices=()):  # random initial weights must not change the user's random numbers
            model = build(entry.architecture, entry.arguments)
        model.load_state_dict(widen(tensors))
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise BundleError(f"{where} does not match {entry.architecture}: {problem}") from error
    return model


def widen(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert stored half precision to single precision, in which everything is computed."""
    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in tensors.items()}


def narrow(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert single precision to half precision, in which models are stored."""
    return {
        name: (tensor.half() if tensor.dtype == torch.float32 else tensor).contiguous()
        for name, tensor in tensors.items()
    }


def round_to_stored(model: nn.Module) -> None:
    """Round a model to the half precision in which it will be stored."""
    model.load_state_dict(widen(narrow(model.state_dict())))
