"""An answer's own pictures, the words beside them, and the small parts of its record."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image, ImageChops

from cfx.answers.asking import ask
from cfx.answers.pictures import panel
from cfx.answers.pipeline import AnswerOptions, answer_batch
from cfx.answers.question import Source
from cfx.answers.seen import Seen
from cfx.answers.wanted import Wanted
from cfx.answers.wording import percent, rounded, with_article
from cfx.counterfactuals.engines.vcnet import VCNet
from cfx.metrics import proximity, realism

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
    long = replace(answer, question=replace(answer.question, target="a class of a very long name " * 4))
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
    batch = ask(bundle, digits[0][:2], [Source(name="a"), Source(name="b")], [Wanted("target", (9,))] * 2)
    for told in answer_batch(bundle, "vcnet", VCNet.from_bundle(bundle), batch, AnswerOptions()):
        record = json.loads(json.dumps(told.as_json(), allow_nan=False))
        assert record["metrics"]["im2"] is None and record["metrics"]["l2"] is None
        assert record["missing"]["im2"] == record["missing"]["l2"] == "not a finite number"


def test_words():
    assert percent(0.99841) == "99.8 %" and rounded(1 / 3) == 0.333333
    assert [with_article(name) for name in ("4", "8", "Ankle boot", "Bag")] == ["a 4", "an 8", "an Ankle boot", "a Bag"]


def test_only_a_noun_of_ours_has_an_article():
    """A user's class may be an adjective, a plural or a proper name."""
    ours = (
        *("a 4", "an 8", "an 11", "an 18", "an 80", "a 2024", "an A", "a b", "an F", "a U", "a digit 8", "a letter E"),
        *("an Ankle boot", "a T-shirt/top", "a cat", "an automobile"),
    )
    assert tuple(with_article(words.partition(" ")[2]) for words in ours) == ours
    for name in ("other", "not blurred", "Egyptian cat", "ok", "scissors", "digit", "letter EE", "Cat", "", "été"):
        assert with_article(name) == name
