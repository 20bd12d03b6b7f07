"""The contract of foreign classifiers: how cfx represents a classifier that the user provides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.torch import save as dump_safetensors
from torch import nn

from ...documents import Table
from ...errors import UsageError
from .preprocessing import Preprocessing

STEM = "classifier"  # stem of the names of the files that a foreign classifier has in a bundle


@dataclass(frozen=True)
class Foreign:
    """A classifier that cfx did not train, loaded but not yet adapted.

    Attributes:
        model: takes the output of its preprocessing; in eval mode.
        kind: the kind of source: "pt2", "torchscript", "onnx", "factory", "torchvision", "timm" or "hf".
        name: the name that the user gave: a file's name, "module:factory", "resnet18@DEFAULT".
        preprocessing: what the source declares, with the defaults of `Preprocessing` for the rest; None if nothing is
            known.
        declared: the fields of `preprocessing` that the source declares; the others are guesses.
        classes: names of the classes, if the source has them.
        files: name -> content or path of the files that a bundle must store. The first is the model or its weights.
        fixed_batch: how many images the model takes at once, if it takes no other number; else None.
        least_batch: the smallest number of images that the model takes at once.
        differentiable: whether the model has gradients.
        activation: the last activation of the source that the model does not have any more, as in `Trimmed`.
        notes: what was decided in opening it.
    """

    model: nn.Module
    kind: str
    name: str
    preprocessing: Preprocessing | None = None
    declared: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    fixed_batch: int | None = None
    least_batch: int = 1
    differentiable: bool = True
    activation: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ForeignEntry:
    """A bundle's description of a foreign classifier, from which it can be opened again.

    Attributes:
        kind, name, fixed_batch, least_batch, declared, preprocessing, activation: as in `Foreign`.
        differentiable: whether it had gradients when the bundle was created.
        file: name of the file in the bundle's directory with the model or its weights; None for code without weights.
        other_files: names of its other files in the bundle's directory.
        columns: the classifier's class of each label of the bundle, if there are images of some classes only or in
            another order; None if classes and labels are the same.
        among: whether probabilities are restricted to these classes.
        classes: names of all of the classifier's classes, if there are `columns`.
        channels_last: whether it is faster with its weights in the channels-last memory format. Entries that differ in
            this alone are equal, because it depends on how long the classifier took.
        saturated: share of the images looked at for which its gradient is zero, because its output is saturated.
        sha256, other_sha256: hashes of `file` and of each of `other_files`.
    """

    kind: str
    name: str
    differentiable: bool = True
    file: str | None = None
    other_files: tuple[str, ...] = ()
    fixed_batch: int | None = None
    least_batch: int = 1
    declared: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    columns: tuple[int, ...] | None = None
    among: bool = False
    classes: tuple[str, ...] | None = None
    activation: str | None = None
    channels_last: bool = field(default=False, compare=False)
    saturated: float = 0.0
    sha256: str | None = None
    other_sha256: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, table: Table) -> ForeignEntry:
        """Reads the entry from the classifier's table in bundle.toml, which may contain other fields, too.

        Raises:
            CfxError: a field is missing or has the wrong type; the table determines the subclass.
        """
        values = table.values
        if not isinstance(values.get("kind"), str) or not isinstance(values.get("name"), str):
            raise table.error(f"{table.where}: its classifier has no kind or no name; make the bundle again")
        stored = table.table("preprocessing")
        try:
            preprocessing = None if stored is None else Preprocessing.from_dict(stored.values)
        except UsageError as error:
            raise table.error(f"{table.where}: {error}") from error
        return cls(
            kind=table.need("kind", str),
            name=table.need("name", str),
            differentiable=table.get("differentiable", bool) is not False,
            file=table.get("file", str),
            other_files=table.several("other_files", str) or (),
            fixed_batch=table.get("fixed_batch", int),
            least_batch=table.get("least_batch", int) or 1,
            declared=table.several("declared", str) or (),
            preprocessing=preprocessing,
            columns=table.several("columns", int),
            among=table.get("among", bool) or False,
            classes=table.several("classes", str),
            activation=table.get("activation", str),
            channels_last=table.get("channels_last", bool) or False,
            saturated=table.get("saturated", float) or 0.0,
            sha256=table.get("sha256", str),
            other_sha256=table.several("other_sha256", str) or (),
        )

    def as_json(self) -> dict[str, object]:
        """The inverse of `from_json`."""
        fields: dict[str, object] = {"kind": self.kind, "name": self.name, "differentiable": self.differentiable}
        if self.file is not None:
            fields["file"] = self.file
        if self.other_files:
            fields["other_files"] = list(self.other_files)
        if self.fixed_batch is not None:
            fields["fixed_batch"] = self.fixed_batch
        if self.least_batch > 1:
            fields["least_batch"] = self.least_batch
        if self.preprocessing is not None:
            fields |= {"declared": list(self.declared), "preprocessing": self.preprocessing.as_dict()}
        if self.columns is not None:
            fields["columns"] = list(self.columns)
        if self.among:
            fields["among"] = True
        if self.classes is not None:
            fields["classes"] = list(self.classes)
        if self.activation is not None:
            fields["activation"] = self.activation
        if self.channels_last:
            fields["channels_last"] = True
        if self.saturated:
            fields["saturated"] = self.saturated
        if self.sha256 is not None:
            fields["sha256"] = self.sha256
        if self.other_sha256:
            fields["other_sha256"] = list(self.other_sha256)
        return fields


def pack(model: nn.Module, name: str) -> bytes:
    """Serialises a model's weights as the content of a safetensors file.

    Raises:
        UsageError: its state contains something that is not a tensor.
    """
    state = model.state_dict()
    other = [key for key, value in state.items() if not hasattr(value, "contiguous")]
    if other:
        raise UsageError(f"{name}: its state contains {other[0]!r}, which is not a tensor and cannot be stored as data")
    # Copies, because safetensors refuses tensors that share memory.
    return dump_safetensors({key: value.detach().clone().contiguous() for key, value in state.items()})


def optional(spec: str, package: str) -> Any:
    """Imports the optional package that `spec` needs.

    Raises:
        UsageError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(package)
    except ImportError as error:
        if error.name != package:
            raise UsageError(f"{spec}: {package} could not be imported ({error}); install it again") from error
        raise UsageError(f"{spec}: needs the package {package}; install it with `pip install {package}`") from error
