"""Which files an ONNX model names for its weights, read from the model without the package onnx.

The fields are those of onnx.proto3: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ...errors import UsageError, few
from ...files import is_inner
from .contract import STEM

# Message -> number of a field -> the message in it. Tensors are in graphs, and these in models and in attributes.
MESSAGES = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
OF_A_BUNDLE = (f"{STEM}.onnx", "bundle.toml")
KEY, VALUE = 1, 2  # fields of an entry of a tensor's external data
LOCATION = b"location"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # how a field is encoded


def data_files(path: Path) -> dict[str, Path]:
    """The files with the weights of a model, by their names in it, which are relative to the model's folder.

    Raises:
        UsageError: one does not exist, or is outside of the folder.
    """
    try:
        names = [*dict.fromkeys(_locations(memoryview(path.read_bytes()), "model"))]
    except (IndexError, ValueError):  # it is damaged, or no ONNX model, and onnxruntime says so
        return {}
    found: dict[str, Path] = {}
    missing: list[str] = []
    for name in names:
        file = path.parent / name
        # Of a downloaded model, the file itself may be a link to where downloads are kept, and its data another.
        folders = (path.parent.resolve(), path.resolve().parent)
        if not is_inner(name) or not any(file.resolve().is_relative_to(folder) for folder in folders):
            raise UsageError(
                f"{path}: names {name!r} for its weights, which is outside of the model's folder; save it again with "
                "its data beside it (onnx.save_model)"
            )
        inner = str(PurePosixPath(name))
        if inner.lower() in OF_A_BUNDLE:
            raise UsageError(
                f"{path}: keeps its weights in {name!r}, a name that a bundle needs; save it under another"
            )
        found[inner] = file
        missing += [] if file.is_file() else [name]
    if missing:
        raise UsageError(f"{path}: its weights are in {few(missing, 3)}, which is not there; copy it beside the model")
    return found


def _locations(content: memoryview, message: str) -> Iterator[str]:
    """The names of files in a message, in their order."""
    if message == "entry":
        fields = {number: bytes(value) for number, value in _fields(content)}
        if fields.get(KEY) == LOCATION:
            yield fields.get(VALUE, b"").decode("utf-8")
        return
    for number, value in _fields(content):
        inner = MESSAGES[message].get(number)
        if inner is not None:
            yield from _locations(value, inner)


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The numbers and values of the fields of bytes in a message of protobuf."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, encoding = tag >> 3, tag & 7
        if encoding == VARINT:
            _, at = _varint(content, at)
        elif encoding == BYTES:
            length, at = _varint(content, at)
            if at + length > len(content):
                raise ValueError("cut short")
            yield number, content[at : at + length]
            at += length
        elif encoding in (FIXED64, FIXED32):
            at += 8 if encoding == FIXED64 else 4
        else:
            raise ValueError(f"unknown encoding {encoding}")


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
