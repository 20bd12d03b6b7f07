"""Any classifier that a user brings: what the words on the command line mean, and how a bundle finds it again.

| spec | what it is |
|---|---|
| `PATH.pt2` | a program of torch.export |
| `PATH.pt`, `PATH.torchscript` | a TorchScript archive, by its content |
| `PATH.onnx` | an ONNX model |
| `package.module:factory` | Python that makes the model; its weights may come in a file |
| `torchvision:NAME`, `timm:NAME`, `hf:DIRECTORY-or-ID` | a model of a library; also `NAME@none` for random weights |
| `DIRECTORY` with a config.json | a Hugging Face model |
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.errors import BundleError, UsageError, reason_of
from .archives import OLD_PROGRAM, names_of
from .checkpoints import PickledModel, parse_weights
from .factories import FACTORY, check_trust, open_factory, trust
from .foreign import Foreign
from .libraries import open_hf, open_timm, open_torchvision, rebuild
from .preprocessing import Preprocessing
from .programs import open_onnx, open_program, open_script

__all__ = ["Foreign", "describe", "open_classifier", "reopen", "trust"]

LIBRARIES = {"torchvision": open_torchvision, "timm": open_timm, "hf": open_hf}
PROGRAMS = {"pt2": open_program, "torchscript": open_script, "onnx": open_onnx}
BRING = "bring a .pt2, TorchScript or .onnx file, package.module:factory, torchvision:NAME, timm:NAME or hf:NAME"


def open_classifier(spec: str, weights: Path | None = None) -> Foreign:
    """The classifier that `spec` names (see above), with `weights` from a file where it takes some.

    Raises:
        UsageError: what is named is missing, damaged, no model, or could only be read by running it.
    """
    prefix, _, rest = spec.partition(":")
    if prefix in LIBRARIES and rest:
        return LIBRARIES[prefix](rest, weights)
    path = Path(spec)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"{spec}: a directory without a config.json is no classifier; {BRING}")
        return open_hf(spec, weights)
    if path.is_file():
        opened = PROGRAMS[_kind(path)](path)
        if weights is not None:
            raise UsageError(f"{spec}: has its weights inside; leave {weights} out")
        return opened
    if FACTORY.fullmatch(spec):
        return open_factory(spec, weights)
    if path.suffix or "/" in spec or "\\" in spec:
        raise UsageError(f"{spec}: there is no such file; {BRING}")
    raise UsageError(f"{spec}: is no classifier that cfx knows; {BRING}")


def describe(foreign: Foreign) -> dict[str, Any]:
    """What bundle.toml says of the classifier, and what `reopen` reads: strings, numbers, lists, one flat table."""
    entry: dict[str, Any] = {
        "kind": foreign.kind,
        "name": foreign.name,
        "differentiable": foreign.differentiable,
    }
    first, *others = [*foreign.files, None]
    if first is not None:
        entry["file"] = first
        if len(others) > 1:
            entry["other_files"] = others[:-1]
    if foreign.fixed_batch is not None:
        entry["fixed_batch"] = foreign.fixed_batch
    if foreign.preprocessing is not None:
        entry["declared"] = list(foreign.declared)
        entry["preprocessing"] = foreign.preprocessing.as_dict()
    return entry


def reopen(entry: Mapping[str, Any], directory: Path) -> Foreign:
    """The classifier of a bundle, from its entry and the files in its directory; nothing is downloaded.

    What the entry says of preprocessing stands, for the user may have corrected what the source declares.

    Raises:
        BundleError: it is missing, damaged, of an unknown kind, or code that the user has not allowed.
    """
    kind, name, file = entry.get("kind"), entry.get("name"), entry.get("file")
    if not isinstance(kind, str) or not isinstance(name, str):
        raise BundleError(f"bundle {directory}: its classifier has no kind or no name; make the bundle again")
    for inner in [file, *entry.get("other_files", [])]:
        if inner is not None and (not isinstance(inner, str) or Path(inner).name != inner):
            raise BundleError(f"bundle {directory}: its classifier's file {inner!r} must lie in the bundle itself")
        if inner is not None and not (directory / inner).is_file():
            raise BundleError(f"bundle {directory}: its classifier's file {inner} is missing; restore it")
    if file is None and kind != "factory":
        raise BundleError(f"bundle {directory}: its classifier names no file; make the bundle again")
    if kind == "factory":
        if not FACTORY.fullmatch(name):
            raise BundleError(f"bundle {directory}: its classifier {name!r} is no package.module:factory")
        check_trust(directory, name)
    try:
        return _reopened(kind, name, file, entry, directory)
    except UsageError as error:
        raise BundleError(f"bundle {directory}: {error}") from error


def _reopened(kind: str, name: str, file: str | None, entry: Mapping[str, Any], directory: Path) -> Foreign:
    if kind == "factory":
        opened = open_factory(name, directory / file if file else None)
    elif kind in PROGRAMS and file:
        opened = PROGRAMS[kind](directory / file)
    elif kind in LIBRARIES and file:
        opened = Foreign(rebuild(kind, name, directory, file), kind, name)
    else:
        known = ", ".join([*PROGRAMS, "factory", *LIBRARIES])
        raise UsageError(f"unknown kind of classifier {kind!r}: known are {known}")
    said = entry.get("preprocessing")
    return Foreign(
        opened.model,
        kind,
        name,
        Preprocessing.from_dict(said) if said is not None else opened.preprocessing,
        tuple(entry.get("declared", ())) if said is not None else opened.declared,
        files={inner: directory / inner for inner in [file, *entry.get("other_files", [])] if inner},
        fixed_batch=opened.fixed_batch,
        differentiable=opened.differentiable,
    )


def _kind(path: Path) -> str:
    """What a file is, by its content; ONNX alone has no mark of its own and goes by its name.

    Raises:
        UsageError: it is no program; says what it is instead.
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
            f"{path}: is a pickled model, which could run code; where its code is, convert it with "
            "torch.export.save(torch.export.export(model.eval(), (images,)), 'model.pt2')"
        ) from error
    raise UsageError(
        f"{path}: holds {count} weights and no model; name the code that makes the model, package.module:factory, "
        "and give this file as its weights"
    )
