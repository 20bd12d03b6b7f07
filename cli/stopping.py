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


@contextmanager
def ended_by_sigterm() -> Iterator[threading.Event]:
    """Raise `Terminated` on SIGTERM while the context lasts; only possible in the main thread.

    Yields:
        An event that is set by SIGTERM. (Typer turns every KeyboardInterrupt into the exit code of Ctrl-C.)
    """
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def terminate(*_: object) -> None:
        received.set()
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield received
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
