"""Progress: silent, or a line a minute."""

from __future__ import annotations

import io

from cfx.progress import SILENT, Lines


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_a_minute_and_one_at_the_end():
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock=clock).task("vae", total=100, done=10) as task:
        for _ in range(18):
            clock.now += 10
            task.advance(5, reconstruction_error=0.25)
    assert out.getvalue().splitlines() == [
        "vae: 40 of 100, reconstruction error 0.25",
        "vae: 70 of 100, reconstruction error 0.25",
        "vae: 100 of 100, reconstruction error 0.25",
        "vae: done",
    ]


def test_what_takes_less_than_a_minute_is_not_worth_a_line():
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock=clock).task("loading the models") as task:
        clock.now += 59
        task.advance()
    assert out.getvalue() == ""


def test_silence(capsys):
    with SILENT.task("anything", 3) as task:
        task.advance(2, loss=0.5)
    SILENT.note("nothing")
    assert capsys.readouterr() == ("", "")
