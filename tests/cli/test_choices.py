"""The values of options, which are checked before torch is imported."""

from __future__ import annotations

import pytest

from cfx.cli.options.choices import batch_size, numbers, seconds, sides
from cfx.errors import UsageError


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("0.5h", 1800)])
def test_times_are_read(text: str, expected: float):
    assert seconds("--budget", text) == expected


@pytest.mark.parametrize("text", ["", "20", "m", "0m", "20m later", "1d", "\uff12\uff10m", "1_0m"])
def test_what_is_no_time_is_refused(text: str):
    with pytest.raises(UsageError, match="not a time; write it as 90s, 20m, 2h or 1h30m"):
        seconds("--budget", text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [(batch_size, "\uff11\uff12"), (batch_size, "1_000")]
    + [(lambda text: sides("--size", text), text) for text in ("\uff12\uff18x28", "1_0x28")]
    + [(lambda text: numbers("--mean", text), text) for text in ("1_000", "0.5\uff10", "nan", "inf", "0.5,")],
)
def test_only_ascii_digits_are_numbers(parse, text):
    with pytest.raises(UsageError, match=text):
        parse(text)
    assert numbers("--mean", "0.485, .456,4e-1") == (0.485, 0.456, 0.4)
