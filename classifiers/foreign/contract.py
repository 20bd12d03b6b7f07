"""What cfx knows of a classifier that the user brings, whatever it came from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.torch import save as dump_safetensors
from torch import nn

from ...documents import Table
from ...errors import UsageError
from .preprocessing import Preprocessing

STEM = "classifier"  # of the files that a foreign classifier leaves in a bundle


@dataclass(frozen=True)
class Foreign:
    """A classifier that someone else trained, loaded but not adapted.

    Attributes:
        model: takes what its preprocessing makes; in eval mode.
        kind: where it came from: "pt2", "torchscript", "onnx", "factory", "torchvision", "timm" or "hf".
        name: what the user called it: a file's name, "module:factory", "resnet18@DEFAULT".
        preprocessing: what its source declares, the rest as `Preprocessing` has it; None where nothing is known.
        declared: the fields of `preprocessing` that the source itself declares; the others are guesses.
        classes: names of the classes, where the source has them.
        files: name -> content or where it lies: what a bundle must keep. The first is the model or its weights.
        fixed_batch: how many images it takes at once, where it takes no other number.
        differentiable: whether its gradients can be had.
    """

    model: nn.Module
    kind: str
    name: str
    preprocessing: Preprocessing | None = None
    declared: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    fixed_batch: int | None = None
    differentiable: bool = True


@dataclass(frozen=True, kw_only=True)
class ForeignEntry:
    """What a bundle says of a classifier that the user brought, and by which it is opened again.

    Attributes:
        kind, name, fixed_batch, declared, preprocessing: as in `Foreign`.
        differentiable: whether its gradients could be had when the bundle was begun.
        file: in the bundle's directory, with the model or its weights; None where it is code without weights.
        other_files: in the bundle's directory, too.
        columns: as in `Adapted`.
        sha256, other_sha256: of `file`, and of each of `other_files`.
    """

    kind: str
    name: str
    differentiable: bool = True
    file: str | None = None
    other_files: tuple[str, ...] = ()
    fixed_batch: int | None = None
    declared: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    columns: tuple[int, ...] | None = None
    sha256: str | None = None
    other_sha256: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, table: Table) -> ForeignEntry:
        """From the classifier's table in bundle.toml, which holds other fields, too.

        Raises:
            CfxError: of the table's type; a field is missing or not what it should be.
        """
        values = table.values
        if not isinstance(values.get("kind"), str) or not isinstance(values.get("name"), str):
            raise table.error(f"{table.where}: its classifier has no kind or no name; make the bundle again")
        said = table.table("preprocessing")
        try:
            preprocessing = None if said is None else Preprocessing.from_dict(said.values)
        except UsageError as error:
            raise table.error(f"{table.where}: {error}") from error
        return cls(
            kind=table.need("kind", str),
            name=table.need("name", str),
            differentiable=table.get("differentiable", bool) is not False,
            file=table.get("file", str),
            other_files=table.several("other_files", str) or (),
            fixed_batch=table.get("fixed_batch", int),
            declared=table.several("declared", str) or (),
            preprocessing=preprocessing,
            columns=table.several("columns", int),
            sha256=table.get("sha256", str),
            other_sha256=table.several("other_sha256", str) or (),
        )

    def as_json(self) -> dict[str, object]:
        """The inverse of `from_json`."""
        said: dict[str, object] = {"kind": self.kind, "name": self.name, "differentiable": self.differentiable}
        if self.file is not None:
            said["file"] = self.file
        if self.other_files:
            said["other_files"] = list(self.other_files)
        if self.fixed_batch is not None:
            said["fixed_batch"] = self.fixed_batch
        if self.preprocessing is not None:
            said |= {"declared": list(self.declared), "preprocessing": self.preprocessing.as_dict()}
        if self.columns is not None:
            said["columns"] = list(self.columns)
        if self.sha256 is not None:
            said["sha256"] = self.sha256
        if self.other_sha256:
            said["other_sha256"] = list(self.other_sha256)
        return said


def pack(model: nn.Module, name: str) -> bytes:
    """A model's weights as the content of a safetensors file.

    Raises:
        UsageError: its state holds something that is no tensor.
    """
    state = model.state_dict()
    other = [key for key, value in state.items() if not hasattr(value, "contiguous")]
    if other:
        raise UsageError(f"{name}: its state holds {other[0]!r}, which is no tensor and cannot be kept as data")
    # A copy of each, because safetensors refuses tensors that share memory.
    return dump_safetensors({key: value.detach().clone().contiguous() for key, value in state.items()})


def optional(spec: str, package: str) -> Any:
    """The optional package that `spec` needs.

    Raises:
        UsageError: it is not installed, or does not load.
    """
    try:
        return import_module(package)
    except ImportError as error:
        if error.name != package:
            raise UsageError(f"{spec}: {package} could not be imported ({error}); install it again") from error
        raise UsageError(f"{spec}: needs the package {package}; install it with `pip install {package}`") from error


@contextmanager
def silent() -> Iterator[None]:
    """No warnings and no log for as long as the context lasts: what matters in a library's talk is raised."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
