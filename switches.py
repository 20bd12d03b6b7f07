"""What is set for the whole process: held at one value while cfx works, and then put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock


@dataclass(eq=False)
class Switch:
    """One value that all threads share. The first that holds it sets it, and the last one puts it back.

    Attributes:
        read, write: get and set the value.
        wanted: the value while it is held.
    """

    read: Callable[[], object]
    write: Callable[[object], None]
    wanted: object
    _holders: int = field(default=0, init=False)
    _before: object = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the value, whatever the program has set."""
        with self._lock:
            if not self._holders:
                self._before = self.read()
                self._set(self.wanted)
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._set(self._before)

    def _set(self, value: object) -> None:
        if self.read() != value:
            self.write(value)
