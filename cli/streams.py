"""stdout and stderr that survive whatever they are connected to: a closed pipe, a full disk, an old encoding."""

from __future__ import annotations

import codecs
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOBase
from typing import Any, TextIO

PLAIN = {"↑": "^", "↓": "v", "…": "...", "─": "-", "│": "|", "▀": "#", "\u2013": "-"}
"""What is written instead of characters that an encoding such as cp1252 does not have."""


def _plainly(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    bad = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in bad), error.end


codecs.register_error("cfx-plain", _plainly)


class Output(TextIOBase):
    """A text stream that stops writing, instead of raising, when it cannot be written to any more.

    Attributes:
        failure: the first error; None as long as everything was written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str, /) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Any) -> None:
        if self.failure is not None:
            return
        try:
            action()
        except OSError as error:
            self.failure = error
            self._discard()

    def _discard(self) -> None:
        """Connect the stream to nothing, so that what is buffered raises no second error when Python exits."""
        try:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)
        except OSError:  # a stream without a file descriptor
            pass

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._stream.encoding

    @property
    def buffer(self) -> Any:
        """The binary stream, for libraries that ask for it."""
        return self._stream.buffer


@contextmanager
def without_native_messages() -> Iterator[None]:
    """Discard what C libraries write to descriptor 2, such as libtiff's "tempfile.tif: ...", while the context lasts.

    `sys.stderr` gets a descriptor of its own. Nothing is changed where it is not a file on descriptor 2.
    """
    before: Any = sys.stderr
    try:
        native = before.fileno() == 2
    except (OSError, ValueError, AttributeError):  # closed, or not a file
        native = False
    if not native:
        yield
        return
    before.flush()
    own = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    how = {"encoding": before.encoding, "errors": before.errors, "closefd": False}
    sys.stderr = open(own, "w", buffering=1, **how)  # noqa: SIM115  # line by line, as Python's own
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        os.dup2(own, 2)
        os.close(own)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence the warnings and the logging of libraries; what matters in them, cfx says itself."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextmanager
def lasting_streams() -> Iterator[Output]:
    """Replace stdout and stderr by an `Output` each while the context lasts; yields stdout's."""
    before = sys.stdout, sys.stderr
    opened: list[TextIO] = []

    def lasting(stream: TextIO | None) -> Output:
        if stream is None:  # closed by the shell with >&-
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # closed below
            opened.append(stream)
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="cfx-plain")
        return Output(stream)

    sys.stdout, sys.stderr = stdout, _ = lasting(before[0]), lasting(before[1])
    try:
        yield stdout
    finally:
        stdout.flush()
        sys.stdout, sys.stderr = before
        for stream in opened:
            stream.close()
