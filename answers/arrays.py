"""Arrays of any library as tensors of plain numbers, in memory of their own."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from ..errors import ImageError

LONGEST = 60  # characters of a value in a message


def is_array(value: object) -> TypeGuard[Any]:
    """Whether a value is an array: NumPy's, torch's, or of a library whose arrays NumPy can read."""
    return isinstance(value, np.ndarray | Tensor) or (
        hasattr(value, "__array__") and hasattr(value, "ndim") and not isinstance(value, np.generic | type)
    )


def values_of(array: Any, name: str) -> Tensor:
    """The values of an array as int64, or as float32 or float64, on the CPU; booleans are 0 and 1 as floats.

    A copy, because arrays may be read-only, turned, of another byte order or of a type that torch cannot calculate in.

    Args:
        array: as `is_array` says.
        name: what it is called in messages.

    Raises:
        ImageError: it holds no plain numbers, or none at all.
    """
    values = of_tensor(array, name) if isinstance(array, Tensor) else of_numpy(array, name)
    if not values.numel():
        raise ImageError(f"{name}: is empty, its shape is {tuple(values.shape)}; give an array with values")
    return values


def of_tensor(given: Tensor, name: str) -> Tensor:
    """The values of a tensor of any type and layout."""
    try:
        found = given.detach()
        if found.is_quantized:
            found = found.dequantize()
        elif found.layout != torch.strided:
            found = found.to_dense()
        found = found.as_subclass(Tensor)
        found = found.resolve_conj().resolve_neg().cpu()
        if found.is_complex():
            raise TypeError("it is complex")
        if found.dtype == torch.bool or (found.is_floating_point() and found.dtype != torch.float64):
            return found.to(torch.float32, copy=True)
        return found.to(torch.float64 if found.is_floating_point() else torch.int64, copy=True)
    except (NotImplementedError, RuntimeError, TypeError) as error:
        raise ImageError(
            f"{name}: is {shown(given)}, whose values cannot be read as numbers; give its numbers"
        ) from error


def of_numpy(given: Any, name: str) -> Tensor:
    """The values of an array of NumPy, or of a library whose arrays NumPy can read."""
    try:
        array = np.asarray(given)
    except Exception as error:  # of any library
        raise ImageError(f"{name}: is {shown(given)}, which NumPy cannot read; give an array of NumPy") from error
    if array.dtype.kind not in "biuf":
        raise ImageError(f"{name}: is an array of {array.dtype}; give numbers, as integers to 255 or floats to 1")
    if np.ma.isMaskedArray(given) and np.ma.getmaskarray(given).any():
        raise ImageError(f"{name}: is an array with masked values; fill them first, as with array.filled(0)")
    small = array.dtype.kind == "b" or (array.dtype.kind == "f" and array.dtype.itemsize <= 4)
    kind = np.float32 if small else np.float64 if array.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.array(array, dtype=kind, order="C"))


def shown(value: object) -> str:
    """A value in a message: short, on one line, and arrays by their shape."""
    kind = type(value).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    if is_array(value):
        return f"{article} {kind} of shape {tuple(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"
    if value is None or isinstance(value, bool | int | float | str | bytes | list | tuple):
        text = " ".join(repr(value).split())
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    return f"{article} {kind} of {len(value)}" if isinstance(value, Sized) else f"{article} {kind}"
