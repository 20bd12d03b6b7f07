"""What is drawn: pictures in the terminal, cards, tables, panels, strips."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageChops
from rich.console import Console

from cfx.answers import panel
from cfx.answers.answer import Answer, Cost, Envelope, Images
from cfx.answers.pipeline import AnswerOptions, answer_batch
from cfx.answers.question import Question, Source, ask
from cfx.answers.seen import Seen
from cfx.answers.wording import percent, rounded, with_article
from cfx.cli.naming import file_names, stems
from cfx.cli.terminal import answers
from cfx.cli.terminal import pictures as half
from cfx.counterfactuals.vcnet import VCNet
from cfx.metrics import proximity, realism

EXAMPLES = Path(__file__).parents[2] / "examples"
SCORES = {
    "judge_agrees": True, "judge_confidence": 0.98, "looks_real": True, "realism_percentile": 62.0,
    "l0": 0.25, "l1": 23.4, "l2": 3.2, "linf": 0.9, "lpips": None, "im1": 0.83, "im2": 0.021,
}  # fmt: skip


@pytest.fixture
def pictures() -> tuple[Image.Image, Image.Image]:
    """A real four and a real nine."""
    with Image.open(EXAMPLES / "four.png") as four, Image.open(EXAMPLES / "nine.png") as nine:
        return four.copy(), nine.copy()


@pytest.fixture
def answer() -> Answer:
    image = torch.zeros(1, 28, 28)
    return Answer(
        question=Question(source=Source(name="four.png"), factual=Seen("4", 0.998), target="9"),
        engine="vcnet",
        counterfactual=Seen("9", 0.953),
        valid=True,
        target_confidence=0.953,
        metrics=SCORES,
        cost=Cost(steps=3, forward_calls=20, backward_calls=4, seconds=0.0123),
        envelope=Envelope(
            bundle="mnist", digest="00ff", settings={"confidence": 0.9}, confidence=0.9, device="cpu", seed=0
        ),
        images=Images(image, image),
        files={"counterfactual": "cfx-out/four.vcnet.9.png"},
        missing={"lpips": "not asked for (--lpips)"},
    )


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
                  "looks real: more typical than 62 %", "196 pixels (25.0 %), L1 23.4, L2 3.2",
                  "LPIPS not asked for (--lpips)", "IM1, IM2 0.83, 0.021",
                  "3 steps, 24 classifier calls (20 forward, 4 backward), 0.0123 s",
                  "cfx-out/four.vcnet.9.png"):  # fmt: skip
        assert words in card


def test_the_card_of_an_invalid_one(answer):
    screen = console(color_system=None)
    scores = SCORES | {"judge_agrees": False, "looks_real": False, "realism_percentile": 0.4}
    failed = replace(
        answer, valid=False, target_confidence=0.41, counterfactual=Seen("4", 0.55), metrics=scores, missing={}
    )
    answers.print_card(screen, failed)
    card = " ".join(text_of(screen).split())
    for words in ("not valid: the model sees a 4 (55.0 %); 41.0 % for 9, 90 % needed", "disagree: classifiers",
                  "does not look real: more typical than 0 %", "LPIPS not available (see cfx info)"):  # fmt: skip
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
        scores = SCORES | {"l1": l1, "judge_agrees": l1 == 10}
        told = replace(answer, valid=confidence > 0.9, target_confidence=confidence, metrics=scores)
        tally.add(told, alone=False)
    assert (tally.images, tally.valid) == (3, 2)
    assert tally.mean("l1") == 15 and tally.mean("judge_agrees") == 0.5 and tally.mean("lpips") is None
    screen = console(color_system=None)
    answers.print_comparison(screen, {"vcnet": tally, "pixel (control)": answers.RunningMeans(3, 0)})
    rows = {tuple(line.split()) for line in text_of(screen).splitlines()}
    assert ("valid", "66.7", "%", "0.0", "%") in rows
    assert ("judges", "agree", "50.0", "%", "-") in rows and ("L1", "15", "-") in rows
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
    assert sum(line.startswith("judges agree") for line in lines) == 1


# Panels and strips


def test_the_change_is_red_where_light_was_added_and_blue_where_it_was_removed():
    before = Image.new("L", (4, 1))
    before.putdata([0, 0, 100, 255])
    after = Image.new("L", (4, 1))
    after.putdata([0, 200, 0, 255])
    change, limit = panel.change_picture(before, after)
    still, added, removed, bright = (change.getpixel((column, 0)) for column in range(4))
    assert still == bright == panel.WHITE and added == panel.ADDED and limit == pytest.approx(200 / 255)
    assert isinstance(removed, tuple) and removed[2] > removed[0]  # half as blue as it could be
    assert panel.change_picture(before, before)[1] == 0


@pytest.mark.parametrize("size", [(28, 28), (64, 48), (28, 14), (300, 200)])
def test_a_panel_shows_every_pixel_crisply(answer, size):
    picture = Image.effect_noise(size, 80)
    drawn = panel.draw_panel(answer, picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    large = panel.enlarge(picture, panel.PANEL_SIDE)
    assert max(large.size) >= 224 and large.width % size[0] == 0 and large.width // size[0] == large.height // size[1]
    left = panel.MARGIN + (max(panel.PANEL_SIDE, large.width) - large.width) // 2
    box = (left, panel.MARGIN + 92, left + large.width, panel.MARGIN + 92 + large.height)
    assert ImageChops.difference(drawn.crop(box), large).getbbox() is None


def test_a_panel_of_nothing_changed_and_of_long_names(answer, pictures):
    same = panel.draw_panel(answer, pictures[0], pictures[0])
    long = asking(answer, target="a class of a very long name " * 4)
    long = replace(long, counterfactual=Seen("another " * 9, 0.5))
    assert panel.draw_panel(long, *pictures).size == same.size


def test_no_line_leaves_its_room():
    sheet = panel.Sheet(300, 40)
    sheet.write_seen((150, 10), Seen("an extraordinarily long class name", 0.5), 16, panel.INK, 200)
    inked = ImageChops.difference(sheet.picture, Image.new("RGB", sheet.picture.size, panel.WHITE)).getbbox()
    assert inked is not None and inked[0] >= 48 and inked[2] <= 252


def test_strip_and_frames(answer, pictures):
    four, nine = pictures
    frames = [Image.blend(four, nine, place / 8) for place in range(9)]
    seen = [Seen("4", 0.9)] * 5 + [Seen("9", 0.95)] * 4
    strip = panel.draw_strip(answer, frames, seen)
    assert strip.width >= 9 * 112 and strip.height < 300
    animation = panel.draw_frames(answer, frames, seen)
    assert len(animation) == 9 and len({frame.size for frame in animation}) == 1


# The record's small parts


def test_numbers_that_are_none_become_null_and_say_why(bundle, digits, monkeypatch):
    monkeypatch.setattr(proximity, "l2", lambda scene: torch.full((len(scene.targets),), torch.inf))
    monkeypatch.setattr(realism, "im2", lambda scene: torch.full((len(scene.targets),), torch.nan))
    batch = ask(bundle, digits[0][:2], [Source(name="a"), Source(name="b")], 9)
    for told in answer_batch(bundle, "vcnet", VCNet.from_bundle(bundle), batch, AnswerOptions()):
        record = json.loads(json.dumps(told.as_json(), allow_nan=False))
        assert record["metrics"]["im2"] is None and record["metrics"]["l2"] is None
        assert record["missing"]["im2"] == record["missing"]["l2"] == "not a finite number"


def test_words():
    assert percent(0.99841) == "99.8 %" and rounded(1 / 3) == 0.333333
    assert [with_article(name) for name in ("4", "8", "Ankle boot", "Bag")] == ["a 4", "an 8", "an Ankle boot", "a Bag"]


def test_file_names_of_classes_are_safe_and_different():
    assert file_names(["4", "Ankle boot", "T-shirt/top", "../..", "été"]) == [
        "4", "Ankle-boot", "T-shirt-top", "class-3", "été"
    ]  # fmt: skip
    assert file_names(["a b", "A/b"]) == ["a-b-0", "A-b-1"]


def test_stems_are_different():
    paths = [Path("a/x.png"), Path("b/X.jpg"), Path("x-2.png"), Path("c/y.tar.png")]
    assert stems(paths) == ["x", "X-2", "x-2-2", "y.tar"]
