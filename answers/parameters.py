"""The parameters of `cfx.explain` as a Python program gives them: NumPy's and torch's scalars become Python's own.

One function for each kind of parameter; what it cannot take is a UsageError that names the parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from math import isfinite
from os import PathLike, fspath
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..bundles.bundle import Bundle
from ..errors import CfxError, ImageError, UsageError, unknown_name
from .arrays import is_array, shown, values_of
from .given import Given

LARGEST_SEED = 2**32 - 1  # of NumPy's generators
MOST_ANSWERS = 1000  # to one image


@contextmanager
def naming(parameter: str, value: str = "") -> Iterator[None]:
    """Have every error of cfx name the parameter that it is about; with a value, those that begin with it."""
    try:
        yield
    except CfxError as error:
        if str(error).startswith(parameter) or not str(error).startswith(value):
            raise
        raise type(error)(f"{parameter}: {error}") from error


def plain(value: object) -> object:
    """A scalar, as a tensor or array without dimensions is, as Python's own; anything else as it is."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, np.generic | np.ndarray | Tensor):
        return value.item() if value.ndim == 0 and not is_empty_shell(value) else value
    return str(value) if isinstance(value, str) else value


def is_empty_shell(value: object) -> bool:
    """Whether a tensor has a shape and no values."""
    return isinstance(value, Tensor) and value.is_meta


def wrong(parameter: str, value: object, expected: str) -> UsageError:
    """The error for a value that a parameter cannot take."""
    return UsageError(f"{parameter}: is {shown(value)}; give {expected}")


def class_or_index(parameter: str, value: object) -> str | int:
    """One class, by name or index."""
    found = plain(value)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise wrong(parameter, value, "a class by its name or index")
    return found


def classes_or_indices(parameter: str, value: object) -> list[str | int]:
    """One class or several, by name or index."""
    found = plain(value)
    if is_array(found):
        found = numbers(parameter, found).tolist() if not is_text(found) else np.asarray(found).tolist()
    if isinstance(found, str | int | float):
        return [class_or_index(parameter, found)]
    if isinstance(found, Mapping | bytes | bytearray | type) or not isinstance(found, Iterable):
        raise wrong(parameter, value, "a class by its name or index, or several")
    several = [class_or_index(parameter, each) for each in found]
    if not several:
        raise UsageError(f"{parameter}: there are no classes in it")
    return several


def is_text(value: object) -> bool:
    """Whether an array holds texts or Python's objects."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "UO"


def numbers(parameter: str, array: object) -> Tensor:
    """The values of an array, as `values_of`."""
    try:
        return values_of(array, parameter)
    except ImageError as error:
        raise UsageError(str(error)) from error


def flag(parameter: str, value: object) -> bool:
    """True or false; 1 and 0, too."""
    found = plain(value)
    if not isinstance(found, bool | int) or found not in (0, 1):
        raise wrong(parameter, value, "True or False")
    return bool(found)


def number(parameter: str, value: object) -> float:
    """A finite number."""
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int | float) or not isfinite(found):
        raise wrong(parameter, value, "a number")
    return float(found)


def whole(parameter: str, value: object, least: int, most: int | None = None) -> int:
    """A whole number in a range."""
    found = plain(value)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int):
        raise wrong(parameter, value, "a whole number")
    if found < least or (most is not None and found > most):
        until = "" if most is None else f" to {most}"
        raise UsageError(f"{parameter} {shown(found)}: give a whole number, {least}{until or ' or more'}")
    return found


def text(parameter: str, value: object) -> str:
    """A name."""
    found = plain(value)
    if not isinstance(found, str):
        raise wrong(parameter, value, "a name, as a str")
    return found


def choice(parameter: str, value: object, known: Iterable[str]) -> str:
    """One of some names."""
    found, known = text(parameter, value), tuple(known)
    if found not in known:
        raise unknown_name(f"choice of {parameter}", found, known)
    return found


def names(parameter: str, value: object) -> list[str] | None:
    """Names, or a single one."""
    if value is None:
        return None
    found = plain(value)
    if isinstance(found, np.ndarray) and found.ndim == 1:
        found = found.tolist()
    if isinstance(found, str):
        return [found]
    if isinstance(found, Mapping | bytes | bytearray | type | Tensor | np.ndarray) or not isinstance(found, Iterable):
        raise wrong(parameter, value, "a list of names")
    return [text(parameter, each) for each in found]


def class_names(value: object) -> tuple[str, ...] | Path | None:
    """The names of the classes: a list in the order of the logits, {index: name}, {name: index}, or a file."""
    found = plain(value)
    if isinstance(found, str | PathLike):
        return file("classes", found)
    if isinstance(found, Mapping):
        found = in_order(found)
    given = None if found is None else names("classes", found if not isinstance(found, Tensor) else value)
    return None if given is None else tuple(given)


def in_order(table: Mapping[object, object]) -> list[object]:
    """Names in the order of their indices, from {index: name} or {name: index}."""
    try:
        pairs = {class_or_index("classes", key): plain(value) for key, value in table.items()}
        if all(isinstance(value, int) for value in pairs.values()):
            pairs = {value: key for key, value in pairs.items()}
        found = {int(key): name for key, name in pairs.items()}  # pyright: ignore[reportArgumentType]
        return [found[index] for index in range(len(table))]
    except (KeyError, TypeError, ValueError) as error:
        raise wrong("classes", table, "a name for each of 0, 1, 2, ...") from error


def file(parameter: str, value: object) -> Path:
    """A file or a directory."""
    found = plain(value)
    given = fspath(found) if isinstance(found, str | PathLike) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise wrong(parameter, value, "a path")
    return Path(given).expanduser()


def table(parameter: str, value: object) -> dict[str, object]:
    """Names with values, whose scalars and arrays become Python's own numbers and tuples."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise wrong(parameter, value, "a dict with names as its keys")
    return {str(name): field(f"{parameter} {name}", each) for name, each in value.items()}


def field(name: str, value: object) -> object:
    """A field's value as Python's own: a number, a name, or a tuple of them."""
    found = plain(value)
    if is_array(found) and not is_text(found):
        found = numbers(name, found).tolist()
    return tuple(plain(each) for each in found) if isinstance(found, list | tuple) else found


def region_of(value: object) -> list[int] | None:
    """x, y, width and height."""
    if value is None:
        return None
    found = numbers("region", value).tolist() if is_array(value) else value
    four = "x, y, width and height, four whole numbers"
    if not isinstance(found, list | tuple) or len(found) != 4:
        raise wrong("region", value, four)
    found = [plain(each) for each in found]
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in found):
        raise wrong("region", value, four)
    return [each for each in found if isinstance(each, int)]


def picture(parameter: str, value: object) -> Given | None:
    """A picture, its file, or an array, which becomes one of NumPy's that is whole in memory."""
    if value is None or isinstance(value, Image.Image):
        return value
    if isinstance(value, str | PathLike):
        return text(parameter, value) if value == "auto" else file(parameter, value)
    if not is_array(value):
        raise wrong(parameter, value, "a picture, its file or an array")
    return numbers(parameter, value).numpy()


def bundle_given(value: object) -> str | Bundle | None:
    """A bundle, or its name or directory."""
    if value is None or isinstance(value, Bundle):
        return value
    if not isinstance(value, str | PathLike):
        raise wrong("bundle", value, "its name, its directory, or a loaded bundle")
    file("bundle", value)
    return str(fspath(value))


def device_name(value: object) -> str:
    """A device, by name or as torch's own."""
    return str(value) if isinstance(value, torch.device) else text("device", value)
