"""Reads the names of a classifier's classes from lists as people have them: text, JSON, Python, Keras, Hugging Face."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, few
from .labels import composed, distinct, read_text

# Keys under which configurations keep their classes: Hugging Face, timm, torchvision and plain JSON.
HOLDERS = (
    *("id2label", "label2id", "idx_to_class", "class_to_idx", "index_to_class", "class_indices"),
    *("classes", "class_names", "label_names", "labels", "names", "categories", "features", "pretrained_cfg"),
)
FIELDS = ("name", "label", "class", "class_name", "title", "display_name")  # of a class that is an object
NUMBERED = re.compile(r"(\d+)(?:\s*[:,;=\t]\s*|\s*[-.)]\s+|\s+)(\S.*)")  # "0 tench", "0: tench", "0,tench"
SYNSET = re.compile(r"n\d{8}")  # of WordNet, as ImageNet names its classes
SAMPLE = (
    'neither a list of names nor a mapping such as {"0": "cat", "1": "dog"}; write one name per line, as plain text'
)


@dataclass(frozen=True)
class ClassList:
    """Names of classes in the order of a classifier's logits.

    Attributes:
        names: K different names; None if nobody has named them.
        notes: what was decided in reading them.
    """

    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def read_classes(path: Path) -> list[str]:
    """The names of `read_class_list`."""
    return [*(read_class_list(path).names or ())]


def read_class_list(path: Path) -> ClassList:
    """Read class names in the order of a classifier's logits. Names that occur twice get their index.

    Args:
        path: one name per line, perhaps after its index or its synset; or JSON or Python: a list of names,
            {"0": name, ...}, {name: 0, ...}, {"0": [synset, name], ...} as Keras, or a configuration that holds one of
            these, as config.json of Hugging Face.

    Raises:
        DataError: the file cannot be read, or a name is missing or empty.
    """
    text = read_text(path)
    notes: list[str] = []
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("[", "{"):
        names, unit, first = _from_value(path, _parsed(path, text)), "index", 0
    else:
        names, unit, first = [line.strip() for line in text.rstrip().split("\n")], "line", 1
        names, taken = _without_numbers(names)
        notes += [f"{path}: {taken} in front of each name is left out of it"] if taken else []
    names = [composed(name) for name in names]
    if "" in names:
        raise DataError(f"{path}: {unit} {names.index('') + first} is empty; give every class a name")
    if len(names) < 2:
        raise DataError(f"{path}: holds {len(names)} class names; a classifier has at least two")
    told_apart = distinct(names)
    twice = sorted({name for name in names if names.count(name) > 1}) if told_apart != tuple(names) else []
    if twice:
        example = next(name for name in told_apart if name not in names)
        notes.append(f"{path}: several classes are named {few(twice)}: they get their index, as in {example!r}")
    return ClassList(told_apart, tuple(notes))


def _without_numbers(lines: list[str]) -> tuple[list[str], str]:
    """Names without the index or the synset in front of them, if every line begins with its own; and what it was."""
    found = [NUMBERED.fullmatch(line) for line in lines]
    numbered = [(int(each[1]), each[2].strip().strip("\"',")) for each in found if each is not None]
    bare = [name for _, name in sorted(numbered)]
    counted = len(numbered) == len(lines) and [index for index, _ in sorted(numbered)] == [*range(len(lines))]
    if counted and len(set(bare)) > 1:  # not "0 euro", "1 euro"
        return bare, "the index"
    parts = [line.split(maxsplit=1) for line in lines]
    if all(len(each) == 2 and SYNSET.fullmatch(each[0]) for each in parts):
        return [each[1] for each in parts], "the synset"
    return lines, ""


def _parsed(path: Path, text: str) -> object:
    """The value of a text in JSON, or of a Python literal."""
    try:
        return json.loads(text)
    except ValueError as error:
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise DataError(
                f"{path}: is not valid JSON ({error}), and no list or dict of Python; or write one name per line, as "
                "plain text"
            ) from error


def _from_value(path: Path, found: object) -> list[str]:
    """The names in a list, or in a mapping from or to indices, perhaps inside a configuration."""
    while isinstance(found, Mapping):
        inner = next((found[key] for key in HOLDERS if isinstance(found.get(key), Mapping | list | tuple)), None)
        if inner is None:
            break
        found = inner
    if isinstance(found, Mapping):
        found = _by_index(path, found)
    if isinstance(found, set | frozenset):
        raise DataError(f"{path}: a set has no order; write a list of the names in the order of the logits")
    if not isinstance(found, list | tuple):
        raise DataError(f"{path}: {SAMPLE}")
    names = [_name_of(each) for each in found]
    if not all(isinstance(name, str | int) and not isinstance(name, bool) for name in names):
        raise DataError(f"{path}: {SAMPLE}")
    return [str(name).strip() for name in names]


def _by_index(path: Path, found: Mapping[object, object]) -> list[object]:
    """The names of a mapping index -> name, or name -> index as of ImageFolder.class_to_idx, by index."""
    if not all(_is_index(key) for key in found) and all(_is_index(value) for value in found.values()):
        pairs = [(int(str(index)), name) for name, index in found.items()]
    elif all(_is_index(key) for key in found):
        pairs = [(int(str(index)), name) for index, name in found.items()]
    else:
        raise DataError(f"{path}: {SAMPLE}")
    by_index = dict(pairs)
    if not found or sorted(by_index) != [*range(len(found))]:
        raise DataError(f"{path}: its indices are not 0, 1, 2, ... each once; write a JSON list of the names")
    return [by_index[index] for index in range(len(found))]


def _is_index(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool) and str(value).isdecimal()


def _name_of(each: object) -> object:
    """The name of a class: itself, the last of [synset, name] as in Keras's list, or the field of an object."""
    if isinstance(each, Mapping):
        return next((each[field] for field in FIELDS if field in each), None)
    if isinstance(each, list | tuple):
        return each[-1] if each and all(isinstance(part, str) for part in each) else None
    return each
