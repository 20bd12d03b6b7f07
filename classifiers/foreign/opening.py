"""Opens any foreign classifier: parses the spec on the command line, and reopens the classifier of a bundle.

| spec | what it is |
|---|---|
| `PATH.pt2` | a program of torch.export |
| `PATH.pt`, `PATH.torchscript` | a TorchScript archive, recognised by its content |
| `PATH.onnx` | an ONNX model |
| `package.module:factory` | Python code that returns the model; its weights may be in a file |
| `torchvision:NAME`, `timm:NAME`, `hf:DIRECTORY-or-ID` | a model of a library; also `NAME@none` for random weights |
| `DIRECTORY` with a config.json | a Hugging Face model |
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from importlib.metadata import version as installed_version
from pathlib import Path

import torch
from torch import Tensor

from ...errors import BundleError, UsageError, reason_of
from ...files import expanded, is_inner
from .activations import without_activation
from .archives import OLD_PROGRAM, names_of
from .checkpoints import PickledModel, parse_weights
from .contract import Foreign, ForeignEntry
from .factories import FACTORY, check_trust, open_factory, trust
from .libraries import open_hf, open_timm, open_torchvision, rebuild
from .memory_format import use_channels_last
from .outputs import LOGITS_OF, output_tensor
from .preprocessing import Preprocessing
from .programs import open_onnx, open_program, open_script

__all__ = ["Foreign", "code_of", "describe", "on_logits", "open_classifier", "reopen", "trust"]

LIBRARIES = {"torchvision": open_torchvision, "timm": open_timm, "hf": open_hf}
PROGRAMS = {"pt2": open_program, "torchscript": open_script, "onnx": open_onnx}
BRING = "bring a .pt2, TorchScript or .onnx file, package.module:factory, torchvision:NAME, timm:NAME or hf:NAME"


def open_classifier(spec: str, weights: Path | None = None) -> Foreign:
    """Opens the classifier that `spec` names (see above), with `weights` from a file if its kind takes any.

    Raises:
        UsageError: the classifier is missing, damaged, not a model, or could only be read by running its code.
    """
    prefix, _, rest = spec.partition(":")
    if prefix in LIBRARIES and rest:
        return LIBRARIES[prefix](rest, weights)
    path = expanded(spec)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"{spec}: a directory without a config.json is not a classifier; {BRING}")
        return open_hf(str(path), weights)
    if path.is_file():
        opened = PROGRAMS[_kind(path)](path)
        if weights is not None:
            raise UsageError(f"{spec}: already contains its weights; leave {weights} out")
        return opened
    if FACTORY.fullmatch(spec):
        return open_factory(spec, weights)
    if path.suffix or "/" in spec or "\\" in spec:
        raise UsageError(f"{spec}: there is no such file; {BRING}")
    raise UsageError(f"{spec}: is not a classifier that cfx knows; {BRING}")


def describe(foreign: Foreign) -> ForeignEntry:
    """The entry that describes the classifier in a bundle, from which `reopen` opens it."""
    first, *others = [*foreign.files] or [None]
    return ForeignEntry(
        kind=foreign.kind,
        name=foreign.name,
        differentiable=foreign.differentiable,
        file=first,
        other_files=tuple(name for name in others if name is not None),
        fixed_batch=foreign.fixed_batch,
        least_batch=foreign.least_batch,
        activation=foreign.activation,
        declared=foreign.declared if foreign.preprocessing is not None else (),
        preprocessing=foreign.preprocessing,
    )


def reopen(entry: ForeignEntry, directory: Path) -> Foreign:
    """Opens the classifier of a bundle from its entry and the files in its directory, without downloading anything.

    Preprocessing in the entry takes precedence, because the user may have corrected what the source declares.

    Raises:
        BundleError: the classifier is missing, damaged, of an unknown kind, or code that the user has not allowed.
    """
    for inner in files_of(entry):
        if not is_inner(inner):
            raise BundleError(
                f"bundle {directory}: its classifier's file {inner!r} must be in the bundle's own directory"
            )
        if not (directory / inner).is_file():
            raise BundleError(f"bundle {directory}: its classifier's file {inner} is missing; restore it")
    if entry.kind == "factory":
        if not FACTORY.fullmatch(entry.name):
            raise BundleError(f"bundle {directory}: its classifier {entry.name!r} is not a package.module:factory")
        check_trust(directory, entry.name)
    elif entry.file is None:
        raise BundleError(f"bundle {directory}: its classifier names no file; make the bundle again")
    try:
        opened = _reopened(entry, directory)
    except UsageError as error:
        raise BundleError(f"bundle {directory}: {error}") from error
    if entry.channels_last:
        use_channels_last(opened.model)
    stored = entry.preprocessing
    return Foreign(
        opened.model,
        entry.kind,
        entry.name,
        stored if stored is not None else opened.preprocessing,
        entry.declared if stored is not None else opened.declared,
        files={inner: directory / inner for inner in files_of(entry)},
        fixed_batch=opened.fixed_batch,
        least_batch=entry.least_batch,
        differentiable=opened.differentiable,
    )


def on_logits(foreign: Foreign, preprocessing: Preprocessing, images: Tensor) -> tuple[Foreign, Preprocessing] | None:
    """The classifier without its last softmax or sigmoid, which gives no gradient where it is saturated.

    Args:
        foreign: the classifier.
        preprocessing: of its input, and the meaning of its output.
        images: (N, C, H, W) in [0, 1], a sample of its input; N is its fixed batch size, if it has one.

    Returns:
        The classifier and the new meaning of its output; None if it has no gradients, its output is not the result of
        such an activation, or that cannot be told.
    """
    if not foreign.differentiable:
        return None
    with torch.no_grad():
        inputs = preprocessing.to_input(images)
    found = without_activation(foreign.model, inputs, lambda output: output_tensor(output, preprocessing.output_index))
    kind = None if found is None else LOGITS_OF.get((preprocessing.output, found.activation))
    if found is None or kind is None:
        return None
    return replace(foreign, model=found.model, activation=found.activation), replace(preprocessing, output=kind)


def code_of(entry: ForeignEntry) -> str:
    """What the code of an opened classifier is: the sha256 of the factory's module, or a library and its version.

    "" if the classifier's files contain everything that it computes.
    """
    if entry.kind == "factory":
        module = sys.modules.get(entry.name.partition(":")[0])
        file = getattr(module, "__file__", None)
        return "" if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
    library = {"hf": "transformers"}.get(entry.kind, entry.kind)
    return f"{library} {installed_version(library)}" if entry.kind in LIBRARIES else ""


def files_of(entry: ForeignEntry) -> list[str]:
    """The names of a classifier's files, starting with the model or its weights."""
    return [*([] if entry.file is None else [entry.file]), *entry.other_files]


def _reopened(entry: ForeignEntry, directory: Path) -> Foreign:
    kind, name, file = entry.kind, entry.name, entry.file
    if kind == "factory":
        return open_factory(name, directory / file if file else None)
    if kind in PROGRAMS and file:
        return PROGRAMS[kind](directory / file)
    if kind in LIBRARIES and file:
        return Foreign(rebuild(kind, name, directory, file), kind, name)
    known = ", ".join([*PROGRAMS, "factory", *LIBRARIES])
    raise UsageError(f"unknown kind of classifier {kind!r}: known are {known}")


def _kind(path: Path) -> str:
    """The kind of a program file, from its content. ONNX has no magic number and is recognised by its name.

    Raises:
        UsageError: the file is not a program; the message says what it is instead.
    """
    if path.suffix.lower() == ".onnx":
        return "onnx"
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise UsageError(f"{path}: could not be read ({reason_of(error)}); check its permissions") from error
    content = path.read_bytes() if start[:2] == b"PK" or start[:1] == b"\x80" or start[8:9] == b"{" else start
    names = names_of(content)
    if start[:2] == b"PK" and not names:
        again = "export it again with torch.export.save" if path.suffix.lower() == ".pt2" else "save it again"
        raise UsageError(f"{path}: is damaged or cut short; copy it again, or {again}")
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    if OLD_PROGRAM in names or any(name.startswith("models/") for name in names):
        return "pt2"
    if content is start or (names and "data.pkl" not in names):
        raise UsageError(f"{path}: is not a model; {BRING}")
    try:
        count = len(parse_weights(content, path))
    except PickledModel as error:
        raise UsageError(
            f"{path}: is a pickled model, which could run code; convert it, where its code is, with "
            "torch.export.save(torch.export.export(model.eval(), (images,)), 'model.pt2')"
        ) from error
    raise UsageError(
        f"{path}: contains {count} weights and no model; name the code that makes the model, package.module:factory, "
        "and give this file as its weights"
    )
