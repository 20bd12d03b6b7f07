"""Ends a command in good order on SIGTERM and when its time is up, as Ctrl-C does."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


class TimedOut(Exception):
    """The command's time is up."""


def _terminate(*_: object) -> None:
    raise Terminated


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM while the context lasts; only possible in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `TimedOut` when the context has lasted this long; None for no limit. Needs `ended_by_sigterm`."""
    if seconds is None:
        yield
        return
    is_up = threading.Event()

    def stop() -> None:
        is_up.set()
        _thread.interrupt_main(signal.SIGTERM)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Terminated:
        if not is_up.is_set():
            raise
        raise TimedOut from None
    finally:
        timer.cancel()
