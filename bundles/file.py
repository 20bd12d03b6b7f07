"""bundle.toml as a type: the classes and images of a bundle, and an entry for each of its parts."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..documents import Table
from ..errors import BundleError
from ..files import write_text
from ..images.reading import Ground
from ..images.resizing import RESIZES
from ..images.scale import Scale
from .entries import PartEntry, ReachEntry, TrialEntry, without_none
from .finding import NAME
from .known_parts import place_of

SCHEMA = 1
RESTORE = "; restore the bundle"


@dataclass(frozen=True, kw_only=True)
class ImagesEntry:
    """The labelled images that a user's bundle is trained on.

    Attributes:
        source: as in `open_images`.
        count: the number of images when the bundle was created.
        flip: whether left and right do not matter to the class.
        root: the directory of torchvision's data sets.
        classes: names of the classifier's classes, if the user gave them.
        group: regular expression that finds an image's group in its path; None if there are no groups, or a CSV has
            them.
        scale: what black and white are in images with more than 8 bits per channel; None if there are none.
        skip_unreadable: whether any number of images that cannot be read is left out, instead of up to 1 %.
        ground: what transparent images are laid on; None if there are none, or it is decided for each by itself.
    """

    source: str
    count: int = 0
    flip: bool = False
    root: str | None = None
    classes: tuple[str, ...] | None = None
    group: str | None = None
    scale: Scale | None = None
    skip_unreadable: bool = False
    ground: Ground | None = None

    @classmethod
    def from_json(cls, table: Table) -> ImagesEntry:
        """Read from bundle.toml's table `images`."""
        scale, white = None, table.get("white", float)
        if white is not None:
            black, clips = table.get("black", float) or 0.0, table.get("window", bool) or False
            if not white > black:
                raise table.wrong("white", f"more than black, which is {black:g}", white)
            scale = Scale(black, white, clips)
        ground = table.get("ground", str)
        if ground not in ("black", "white", None):
            raise table.wrong("ground", "black or white", ground)
        return cls(
            source=table.need("source", str),
            count=table.need("count", int),
            flip=table.get("flip", bool) or False,
            root=table.get("root", str),
            classes=table.several("classes", str),
            group=table.get("group", str),
            scale=scale,
            skip_unreadable=table.get("skip_unreadable", bool) or False,
            ground=ground,
        )

    def as_json(self) -> dict[str, object]:
        """The inverse of `from_json`."""
        fields, scale = {**vars(self), "skip_unreadable": self.skip_unreadable or None}, self.scale
        del fields["scale"]
        if scale is not None:
            fields |= {"black": scale.black, "white": scale.white, "window": scale.clips}
        return without_none(fields)


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """The whole of bundle.toml.

    Attributes:
        name: of the bundle, such as "mnist".
        classes: names of the labels that its parts are trained with: the classifier's classes in the order of its
            logits, unless the classifier's entry has `columns`.
        shape: (C, H, W) of the images that the classifier takes.
        light_on_dark: whether they show light strokes on a dark ground.
        recipe: the command that remakes the bundle.
        engine: the engine that works best with its models, if one is named.
        settings: engine -> setting -> value, instead of the engine's own default; `--set` overrules both.
        working: (H, W) of the working resolution, at which generative models and judges work; None: that of `shape`.
        resize: how an image of other proportions is resized, one of `resizing.RESIZES`; `fit` in bundle.toml.
        present: the labels that its models were trained on; None: all.
        images: the images that a user's bundle is trained on.
        wanted: the parts that make the bundle complete; None in bundles that are older than this field.
        left_out: part -> why it cannot be made.
        trial: engine -> what it was worth on held-out images at the end of the training.
        reach: how often the bundle's engine reached each class from each other one then; None if it was not tried.
        parts: the entries of the parts that it has.
        others: fields of a later version, kept unchanged.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    light_on_dark: bool = False
    recipe: str | None = None
    engine: str | None = None
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    working: tuple[int, int] | None = None
    resize: str | None = None
    present: tuple[int, ...] | None = None
    images: ImagesEntry | None = None
    wanted: tuple[str, ...] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    trial: Mapping[str, TrialEntry] = field(default_factory=dict)
    reach: ReachEntry | None = None
    parts: Mapping[str, PartEntry] = field(default_factory=dict)
    others: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path) -> BundleFile:
        """Read bundle.toml in a directory.

        Raises:
            BundleError: it is missing, damaged, of another schema, or has an invalid field.
        """
        try:
            values = tomllib.loads((directory / NAME).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BundleError(f"bundle {directory}: no {NAME} there; `cfx info` lists the known bundles") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BundleError(f"bundle {directory}: {NAME} is damaged ({error}); restore the bundle") from error
        if values.get("schema") != SCHEMA:
            found = values.get("schema")
            raise BundleError(f"bundle {directory}: schema {found!r}, this cfx reads schema {SCHEMA}")
        return cls.from_json(Table(values, f"bundle {directory}: {NAME}", BundleError, RESTORE))

    @classmethod
    def from_json(cls, table: Table) -> BundleFile:
        """Read from the parsed file.

        Raises:
            BundleError: a field is missing or invalid.
        """
        classes, shape = table.several("classes", str), table.several("shape", int, 3)
        working, images, reach = table.several("working", int, 2), table.table("images"), table.table("reach")
        if classes is None or shape is None:
            raise BundleError(f"{table.where}: {'classes' if classes is None else 'shape'} is missing{RESTORE}")
        resize = table.get("fit", str)
        if resize not in (None, *RESIZES):
            raise table.wrong("fit", " or ".join(RESIZES), resize)
        return cls(
            name=table.need("name", str),
            classes=classes,
            shape=(shape[0], shape[1], shape[2]),
            light_on_dark=table.get("light_on_dark", bool) or False,
            recipe=table.get("recipe", str),
            engine=table.get("engine", str),
            settings={name: dict(each.values) for name, each in table.tables("settings").items()},
            working=None if working is None else (working[0], working[1]),
            resize=resize,
            present=table.several("present", int),
            images=None if images is None else ImagesEntry.from_json(images),
            wanted=table.several("wanted", str),
            left_out=table.mapping("left_out", str),
            trial={name: TrialEntry.from_json(each) for name, each in table.tables("trial").items()},
            reach=None if reach is None else ReachEntry.from_json(reach),
            parts={name: PartEntry.from_json(each) for name, each in table.tables("parts").items()},
            others=table.others(FIELDS),
        )

    def as_json(self) -> dict[str, object]:
        """The inverse of `from_json`."""
        fields = without_none(
            {
                "schema": SCHEMA,
                "name": self.name,
                "classes": self.classes,
                "shape": self.shape,
                "light_on_dark": self.light_on_dark,
                "recipe": self.recipe,
                "engine": self.engine,
                "settings": self.settings or None,
                "working": self.working,
                "fit": self.resize,
                "present": self.present,
                "images": None if self.images is None else self.images.as_json(),
                "wanted": self.wanted,
                "left_out": dict(self.left_out) or None,
                "trial": {name: entry.as_json() for name, entry in self.trial.items()} or None,
                "reach": None if self.reach is None else self.reach.as_json(),
                **self.others,
            }
        )
        names = sorted(self.parts, key=place_of)
        return {**fields, "parts": {name: self.parts[name].as_json() for name in names}}

    def write(self, directory: Path) -> None:
        """Write bundle.toml atomically: top-level values, then one table per part.

        Raises:
            OutputError: it cannot be written.
        """
        write_text(directory / NAME, as_document(self.as_json()))

    def with_part(self, name: str, entry: PartEntry, instead_of: tuple[str, ...] = ()) -> BundleFile:
        """A copy with a part added or replaced, and without the parts `instead_of`."""
        kept = {other: about for other, about in self.parts.items() if other not in instead_of}
        return replace(self, parts={**kept, name: entry})


FIELDS = frozenset(
    [
        *("schema", "name", "classes", "shape", "light_on_dark", "recipe", "engine", "settings", "working", "fit"),
        *("present", "images", "wanted", "left_out", "trial", "reach", "parts"),
    ]
)
"""The fields of bundle.toml that this version knows."""


def as_document(values: Mapping[str, object]) -> str:
    """Format a TOML document: top-level values, then one table for each of `parts`."""
    lines = [f"{key} = {as_toml(value)}" for key, value in values.items() if key != "parts"]
    parts = values.get("parts", {})
    assert isinstance(parts, Mapping)
    for name, entry in parts.items():
        lines += ["", f"[parts.{name}]", *(f"{key} = {as_toml(value)}" for key, value in entry.items())]
    return "\n".join(lines) + "\n"


def as_toml(value: object) -> str:
    """Format a TOML value on one line: values that JSON writes in the same way, and inline tables with bare keys."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {as_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_toml(each) for each in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
