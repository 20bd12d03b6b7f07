"""What is drawn: pictures in the terminal, cards, tables, panels, strips."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cfx.answers.answer import Answer
from cfx.answers.question import Source
from cfx.answers.seen import Seen
from cfx.cli.naming import file_names, stems
from cfx.cli.terminal import answers
from cfx.cli.terminal import pictures as half

EXAMPLES = Path(__file__).parents[2] / "examples"


def asking(answer: Answer, **changes: object) -> Answer:
    """The same answer to another question."""
    return replace(answer, question=replace(answer.question, **changes))


def console(width: int = 100, color_system: str | None = "truecolor", **others) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=width, color_system=color_system, highlight=False, **others
    )  # pyright: ignore[reportArgumentType]


def text_of(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


# Pictures in the terminal


def test_half_blocks_hold_every_pixel(pictures):
    four, nine = pictures
    drawn = half.half_blocks(console(), [("factual", four), ("counterfactual", nine)])
    assert drawn is not None
    heading, *rows = drawn.plain.split("\n")
    assert heading.split() == ["factual", "counterfactual"] and len(rows) == 14
    assert all(row == "▀" * 28 + "  " + "▀" * 28 for row in rows)
    blocks = [span for span in drawn.spans if drawn.plain[span.start] == "▀"]
    assert len(blocks) == 2 * 14 * 28
    for number, block in enumerate(blocks):
        row, column = divmod(number, 56)
        picture = four if column < 28 else nine
        style = block.style
        assert not isinstance(style, str) and style.color and style.bgcolor
        upper, lower = (picture.getpixel((column % 28, 2 * row + half)) for half in (0, 1))
        assert (style.color.get_truecolor()[0], style.bgcolor.get_truecolor()[0]) == (upper, lower)


def test_pictures_shrink_to_eighty_columns(pictures):
    drawn = half.half_blocks(console(80), [("a", pictures[0])] * 3)
    assert drawn is not None
    rows = drawn.plain.split("\n")[1:]
    assert all(len(row) <= 80 for row in rows) and len(rows[0]) > 70 and len(rows) in (12, 13)


@pytest.mark.parametrize(
    "screen",
    [
        console(color_system=None),
        console(color_system="standard"),
        console(no_color=True),
        console(width=30),
        Console(file=io.StringIO(), color_system="truecolor", width=100),
    ],
    ids=["no colour", "sixteen colours", "NO_COLOR", "narrow", "no terminal"],
)
def test_no_pictures_where_they_cannot_be_shown(screen, pictures):
    assert half.half_blocks(screen, [("a", pictures[0])] * 3) is None


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, answer):
    monkeypatch.setenv("NO_COLOR", "1")
    screen = console()
    answers.print_card(screen, answer)
    assert "\x1b[32m" not in text_of(screen) and "38;2" not in text_of(screen)


# Cards, lines, tables


def test_the_card_says_everything(answer):
    screen = console(color_system=None)
    answers.print_card(screen, answer)
    card = " ".join(text_of(screen).split())
    for words in (
                  "four.png: the model sees a 4 (99.8 %)", "what would make it a 9? engine vcnet",
                  "valid: the model now sees a 9 (95.3 %), 90 % needed", "agree: classifiers", "98.0 %",
                  "looks real; more typical than 62 % of real images of 9, sharper than 41 %",
                  "196 pixels (25.0 %), L1 23.4, L2 3.2",
                  "LPIPS not asked for (--lpips)", "IM1, IM2 0.83, 0.021",
                  "3 steps, 24 classifier calls (20 forward, 4 backward), 0.0123 s",
                  "cfx-out/four.vcnet.9.png"):  # fmt: skip
        assert words in card


def test_the_card_of_an_invalid_one(answer):
    screen = console(color_system=None)
    scores = {**answer.metrics} | {"judge_agrees": False, "looks_real": False, "realism_percentile": 0.4}
    scores["sharpness_percentile"] = 0.2
    failed = replace(
        answer, valid=False, target_confidence=0.41, counterfactual=Seen("4", 0.55), metrics=scores, missing={}
    )
    answers.print_card(screen, failed)
    card = " ".join(text_of(screen).split())
    for words in ("not valid: the model sees a 4 (55.0 %); 41.0 % for 9, 90 % needed", "disagree: classifiers",
                  "does not look real: untypical, blurred; more typical than 0 %",
                  "LPIPS not available (see cfx info)"):  # fmt: skip
        assert words in card


def test_markup_in_a_file_name_is_shown_as_it_is(answer):
    screen = console(color_system=None)
    odd = asking(answer, source=Source(name="[red]four[/red].png"))
    answers.print_card(screen, odd)
    answers.print_row(screen, odd)
    assert text_of(screen).count("[red]four[/red].png: ") == 2


def test_one_line_each(answer):
    screen = console(width=40, color_system=None)
    answers.print_row(screen, answer)
    line = "four.png: 4 to 9, vcnet, valid 95.3 %, judges agree, realism 62, L1 23.4, 0.0123 s\n"
    assert text_of(screen) == line


def test_the_table_averages_over_the_valid(answer):
    tally = answers.RunningMeans()
    for confidence, l1 in ((0.95, 10.0), (0.92, 20.0), (0.1, 1000.0)):
        scores = {**answer.metrics} | {"l1": l1, "judge_agrees": l1 == 10}
        told = replace(answer, valid=confidence > 0.9, target_confidence=confidence, metrics=scores)
        tally.add(told, alone=False)
    assert (tally.images, tally.valid) == (3, 2)
    assert tally.mean("l1") == 15 and tally.mean("judge_agrees") == 0.5 and tally.mean("lpips") is None
    screen = console(color_system=None)
    answers.print_comparison(screen, {"vcnet": tally, "pixel (control)": answers.RunningMeans(3, 0)})
    rows = {tuple(line.split()) for line in text_of(screen).splitlines()}
    assert ("↑", "valid", "66.7", "%", "0.0", "%") in rows
    assert ("↑", "judges", "agree", "50.0", "%", "-") in rows and ("↓", "L1", "15", "-") in rows
    assert "LPIPS" not in text_of(screen)


def test_the_table_of_five_engines_fits_eighty_columns(answer):
    tally = answers.RunningMeans()
    tally.add(answer, alone=True)
    screen = console(width=80, color_system=None)
    answers.print_comparison(
        screen, dict.fromkeys(("latent", "diffeo", "vcnet", "projection", "pixel (control)"), tally)
    )
    lines = text_of(screen).splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in text_of(screen)
    assert sum(line.startswith("↑ judges agree") for line in lines) == 1


# Names of files


def test_file_names_of_classes_are_safe_and_different():
    assert file_names(["4", "Ankle boot", "T-shirt/top", "../..", "été"]) == [
        "4", "Ankle-boot", "T-shirt-top", "class-3", "été"
    ]  # fmt: skip
    assert file_names(["a b", "A/b"]) == ["a-b-0", "A-b-1"]


def test_stems_are_different():
    names = ["a/x.png", "b/X.jpg", "x-2.png", "c/y.tar.png"]
    assert stems([(name, name) for name in names], Path("nowhere")) == ["x", "X-2", "x-2-2", "y.tar"]
