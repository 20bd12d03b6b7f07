"""Typed documents: every field of a TOML or JSON table is checked when it is read.

A document is a frozen dataclass with `from_json`, which takes a `Table`, and `as_json`, which returns values that TOML
and JSON support.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TypeVar

from .errors import CfxError, DataError

Json = bool | int | float | str | None | list["Json"] | dict[str, "Json"]
"""The values of a JSON document."""

T = TypeVar("T", bool, int, float, str)

NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class Table:
    """The fields of a parsed table, each read with a type check.

    Args:
        values: as returned by a parser.
        where: named in error messages: the file, and the table in it.
        error: raised if a field is missing or has another type.
        remedy: what the user can do; appended to every error message.

    Raises:
        CfxError: of the type `error`, if the values are not a table.
    """

    def __init__(self, values: object, where: str, error: type[CfxError] = DataError, remedy: str = "") -> None:
        self.where = where
        self.error = error
        self.remedy = remedy
        if not isinstance(values, Mapping):
            raise self.wrong("", "a table", values)
        self.values: Mapping[str, object] = values

    def wrong(self, name: str, wanted: str, found: object) -> CfxError:
        """The error for a field with an invalid value."""
        place = f"{self.where}: {name}" if name else self.where
        return self.error(f"{place} must be {wanted}, found {found!r:.80}{self.remedy}")

    def need(self, name: str, kind: type[T]) -> T:
        """A required field."""
        value = self.get(name, kind)
        if value is None:
            raise self.error(f"{self.where}: {name} is missing{self.remedy}")
        return value

    def get(self, name: str, kind: type[T]) -> T | None:
        """An optional field; whole numbers count as numbers."""
        value = self.values.get(name)
        return None if value is None else self._checked(name, value, kind)

    def several(self, name: str, kind: type[T], count: int | None = None) -> tuple[T, ...] | None:
        """An optional list of values of one type, with `count` values if that is given."""
        values = self.values.get(name)
        if values is None:
            return None
        wanted = f"a list of {'' if count is None else f'{count} values, each '}{NAMES[kind]}"
        if not isinstance(values, list | tuple) or (count is not None and len(values) != count):
            raise self.wrong(name, wanted, values)
        return tuple(self._checked(f"{name}[{place}]", value, kind) for place, value in enumerate(values))

    def rows(self, name: str, kind: type[T], count: int) -> tuple[tuple[T, ...], ...]:
        """A list of lists, each of `count` values of one type; empty if it is missing."""
        values = self.values.get(name)
        if values is None:
            return ()
        if not isinstance(values, list | tuple):
            raise self.wrong(name, "a list of lists", values)
        inner = Table({f"{name}[{n}]": row for n, row in enumerate(values)}, self.where, self.error, self.remedy)
        return tuple(inner.several(each, kind, count) or () for each in inner.values)

    def mapping(self, name: str, kind: type[T]) -> dict[str, T]:
        """A table of values of one type; empty if it is missing."""
        table = self.table(name)
        return {} if table is None else {key: table._checked(key, value, kind) for key, value in table.values.items()}

    def table(self, name: str) -> Table | None:
        """An optional table inside this one."""
        values = self.values.get(name)
        return None if values is None else Table(values, f"{self.where}: {name}", self.error, self.remedy)

    def need_table(self, name: str) -> Table:
        """A required table inside this one."""
        found = self.table(name)
        if found is None:
            raise self.error(f"{self.where}: {name} is missing{self.remedy}")
        return found

    def tables(self, name: str) -> dict[str, Table]:
        """A table of tables; empty if it is missing."""
        outer = self.table(name)
        if outer is None:
            return {}
        return {key: Table(each, f"{outer.where}.{key}", self.error, self.remedy) for key, each in outer.values.items()}

    def list_of_tables(self, name: str) -> tuple[Table, ...]:
        """A list of tables; empty if it is missing."""
        values = self.values.get(name)
        if values is None:
            return ()
        if not isinstance(values, list | tuple):
            raise self.wrong(name, "a list of tables", values)
        places = enumerate(values)
        return tuple(Table(each, f"{self.where}: {name}[{n}]", self.error, self.remedy) for n, each in places)

    def others(self, known: Container[str]) -> dict[str, object]:
        """The fields that a document of this version does not know."""
        return {name: value for name, value in self.values.items() if name not in known}

    def _checked(self, name: str, value: object, kind: type[T]) -> T:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return value  # pyright: ignore[reportReturnType]  # unchanged; an int is accepted as a float
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise self.wrong(name, NAMES[kind], value)
        return value


def to_json(document: object, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """A document as JSON. Lone surrogates, from file names that are not UTF-8, are escaped; NaN is refused.

    Args:
        document: of tables, lists and values; anything else is written as text.
        indent: blanks of indentation; None for one line.
        ascii_only: escape everything that is not ASCII.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only, allow_nan=False, default=str)
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def read_json(path: Path, schema: int, remedy: str) -> Table:
    """Read a JSON document of a certain schema.

    Args:
        path: the file.
        schema: version that the document's `schema` must have.
        remedy: what the user can do about a damaged document, the end of every error message.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        DataError: the document is damaged, or has another schema.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged ({error}){remedy}") from error
    found = values.get("schema") if isinstance(values, dict) else None
    if found != schema:
        raise DataError(f"{path}: schema {found!r}, this cfx reads schema {schema}{remedy}")
    return Table(values, str(path), DataError, remedy)
