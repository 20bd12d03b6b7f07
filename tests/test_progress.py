"""Progress: silent, or a line a minute."""

from __future__ import annotations

import io
import time

from cfx.progress import SILENT, Lines


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(clock: Clock) -> tuple[Lines, io.StringIO]:
    """Lines whose thread sleeps, so that the test decides when it is time."""
    out = io.StringIO()
    return Lines(out, every_s=60, clock=clock), out


def test_a_line_a_minute_with_what_is_done_and_what_is_left():
    clock = Clock()
    progress, out = lines(clock)
    with progress.task("vae", total=100, done=10) as task:
        for _ in range(17):
            clock.now += 10
            task.advance(5, reconstruction_error=0.25)
            progress.print_due()
    assert out.getvalue().splitlines() == [
        "vae: 40 of 100, 2:00 left, reconstruction error 0.25",
        "vae: 70 of 100, 1:00 left, reconstruction error 0.25",
    ]


def test_a_line_also_while_nothing_advances():
    clock = Clock()
    progress, out = lines(clock)
    with progress.task("searching", total=8), progress.task("loading the models"):
        clock.now = 61
        progress.print_due()
    with progress.task("searching", total=8):
        clock.now += 4000
        progress.print_due()
    assert out.getvalue().splitlines() == [
        "loading the models: 1:01 so far",
        "searching: 0 of 8, 1:06:40 so far",
    ]


def test_what_takes_less_than_a_minute_is_not_worth_a_line():
    clock = Clock()
    progress, out = lines(clock)
    with progress.task("loading the models") as task:
        clock.now += 59
        task.advance()
        progress.print_due()
    assert out.getvalue() == ""


def test_the_lines_come_by_themselves():
    out = io.StringIO()
    with Lines(out, every_s=0.01).task("searching", total=2):
        deadline = time.monotonic() + 20
        while not out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert out.getvalue().startswith("searching: 0 of 2")


def test_names_cannot_speak_to_whoever_reads_the_log():
    out = io.StringIO()
    for name in ("a\n::error::b", "::error::c", "\x1b[2Jd", "caf\udce9", "##vso[task]e", "\u202egnp.f"):
        Lines(out).note(name)
    assert out.getvalue().splitlines() == [
        r"a\n::error::b", r"\::error::c", r"\x1b[2Jd", r"caf\udce9", r"\##vso[task]e", r"\u202egnp.f",
    ]  # fmt: skip


def test_silence(capsys):
    with SILENT.task("anything", 3) as task:
        task.advance(2, loss=0.5)
    SILENT.note("nothing")
    assert capsys.readouterr() == ("", "")
