"""The settings of engines: the fields that a user may set, with what they mean, their range and their source."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from inspect import get_annotations
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Protocol, TypeVar, Union, get_args, get_origin

from ..errors import UsageError, unknown_name

T = TypeVar("T")

OPTION_OF = {"confidence": "--confidence"}  # fields that an option of their own sets
OF_THE_BUNDLE = ("working", "labelling")
KEY = "cfx.setting"


class Configurable(Protocol):
    """A dataclass with settings: an engine."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    uses: ClassVar[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What an engine says about one of its fields.

    Attributes:
        what: what the value is, with its unit.
        source: where the default comes from; empty if it was chosen by measurement.
        least, most: the range of the value, ends included; None: no limit.
    """

    what: str = ""
    source: str = ""
    least: float | None = None
    most: float | None = None


def setting(default: T, what: str, *, source: str = "", least: float | None = None, most: float | None = None) -> T:
    """A field of an engine that users may set, as `dataclasses.field`; the arguments are those of `Meaning`."""
    return field(default=default, metadata={KEY: Meaning(what=what, source=source, least=least, most=most)})


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A field of an engine that users may set.

    Attributes:
        name: of the field.
        type: as it is written in the engine, such as "int" or "float | None".
        default: its default.
        meaning: what the engine says about it.
    """

    name: str
    type: str
    default: object
    meaning: Meaning


def settings_of(engine: type[Configurable]) -> tuple[Setting, ...]:
    """The fields of an engine that users may set, in their order; a field without a default cannot be set."""
    return tuple(
        Setting(name=each.name, type=str(each.type), default=each.default, meaning=_meaning(each))
        for each in fields(engine)
        if _can_be_set(engine, each)
    )


def check_names(engine: type[Configurable], names: Iterable[str]) -> None:
    """Raise a UsageError that names the nearest setting, unless the engine has all settings of these names."""
    known = [each.name for each in settings_of(engine)]
    for name in names:
        if name not in known:
            raise unknown_name(f"setting of {engine.name}", name, known)


def parse_settings(engine: type[Configurable], texts: Mapping[str, str], where: str = "--set ") -> dict[str, object]:
    """Values of an engine's fields from the texts that a user wrote.

    Args:
        engine: the engine's class.
        texts: by the name of the field.
        where: the first words of an error message.

    Raises:
        UsageError: there is no such field (the nearest is named), or the text is not one of its values.
    """
    known = {each.name: each for each in fields(engine) if _can_be_set(engine, each)}
    values: dict[str, object] = {}
    for name, text in texts.items():
        place = f"{where}{engine.name}.{name}={text}"
        if name in OPTION_OF:
            raise UsageError(f"{place}: use {OPTION_OF[name]}, which holds for all engines")
        if name not in known:
            raise UsageError(f"{place}: {unknown_name(f'setting of {engine.name}', name, known)}")
        annotation = _annotation(engine, known[name])
        try:
            value = values[name] = value_of(annotation, text.strip())
        except ValueError as error:
            raise UsageError(f"{place}: {error}") from error
        problem = out_of_range(_meaning(known[name]), value)
        if problem is not None:
            raise UsageError(f"{place}: {problem}")
    return values


def check_settings(engine: Configurable) -> None:
    """Raise a UsageError if a value of an engine's field is out of its range."""
    for each in fields(engine):
        problem = out_of_range(_meaning(each), getattr(engine, each.name, None))
        if problem is not None:
            raise UsageError(f"engine {engine.name}: {each.name}={getattr(engine, each.name)}: {problem}")


def out_of_range(meaning: Meaning, value: object) -> str | None:
    """Why a value, or one of several values, is out of range; None if it is not."""
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, bool) or not isinstance(each, int | float):
            continue
        if each != each:
            return "not a number"
        if meaning.least is not None and each < meaning.least:
            return f"choose {meaning.least:g} or more"
        if meaning.most is not None and each > meaning.most:
            return f"choose {meaning.most:g} or less"
    return None


def value_of(annotation: Any, text: str) -> object:
    """The value of a text as a type: bool, int, float, str, a literal, a tuple of these, or None.

    Raises:
        ValueError: the text is not one; the message says what is expected.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (UnionType, Union):
        if NoneType in inner and text.lower() in ("none", "auto"):
            return None
        return _first_of([each for each in inner if each is not NoneType], text, or_none=NoneType in inner)
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(value_of(inner[0], word.strip()) for word in text.split(",") if word.strip())
    if origin is Literal:
        if text not in map(str, inner):
            raise ValueError(f"expected one of {', '.join(map(str, inner))}")
        return next(each for each in inner if str(each) == text)
    if annotation is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return text.lower() == "true"
    if annotation in (int, float):
        try:
            return annotation(text)
        except ValueError:
            raise ValueError("expected a whole number" if annotation is int else "expected a number") from None
    if annotation is str:
        return text
    raise ValueError("it cannot be set on the command line")


def text_of(value: object) -> str:
    """A value as a text from which `value_of` makes it again."""
    if isinstance(value, tuple | list):
        return ",".join(map(text_of, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _first_of(annotations: list[Any], text: str, *, or_none: bool) -> object:
    """The value of a text as the first type that takes it."""
    reasons: list[str] = []
    for annotation in annotations:
        try:
            return value_of(annotation, text)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(" or ".join(reasons) + (", or none" if or_none else ""))


def _can_be_set(engine: type[Configurable], each: Field[Any]) -> bool:
    own = (*engine.needs, *engine.uses, *OF_THE_BUNDLE, *OPTION_OF)
    return each.init and each.name not in own and each.default is not MISSING


def _meaning(each: Field[Any]) -> Meaning:
    return each.metadata.get(KEY, Meaning())


def _annotation(engine: type[Configurable], each: Field[Any]) -> Any:
    """The type of a field. Only its own is looked up: those of models may be imported for type checking alone."""
    if not isinstance(each.type, str):
        return each.type
    for kind in engine.__mro__:
        if each.name in get_annotations(kind):
            names = vars(sys.modules[kind.__module__])
            try:
                return eval(each.type, {**names, **vars(kind)})
            except NameError:
                return None
    return None
