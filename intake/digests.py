"""Checksums of a classifier's files in the description of a bundle."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from ..bundles.file import BundleFile
from ..classifiers.foreign.contract import Foreign


def with_digests(file: BundleFile, foreign: Foreign | None) -> BundleFile:
    """The description of a bundle with the checksums of its classifier's files."""
    if foreign is None or not foreign.files:
        return file
    digests = [hashlib.sha256(content_of(content)).hexdigest() for content in foreign.files.values()]
    entry = file.parts["classifier"]
    assert entry.foreign is not None
    described = replace(entry.foreign, sha256=digests[0], other_sha256=tuple(digests[1:]))
    return file.with_part("classifier", replace(entry, sha256=digests[0], foreign=described))


def content_of(content: bytes | Path) -> bytes:
    """The content of one of a classifier's files."""
    return content if isinstance(content, bytes) else content.read_bytes()
