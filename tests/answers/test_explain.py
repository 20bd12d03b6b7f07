"""`cfx.explain`: what `cfx explain` does, from Python."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cfx
from cfx.answers import explain as module
from cfx.bundles.bundle import Bundle
from cfx.metrics.catalogue import METRICS

FOUR = Path(__file__).parents[2] / "examples" / "four.png"


def picture() -> Image.Image:
    with Image.open(FOUR) as found:
        return found.copy()


@pytest.mark.parametrize(
    "given",
    [
        FOUR,
        str(FOUR),
        picture(),
        picture().convert("RGB"),
        np.asarray(picture()),
        np.asarray(picture())[None],
        np.asarray(picture(), dtype=np.float64) / 255,
        np.repeat(np.asarray(picture())[:, :, None], 3, axis=2),
        torch.from_numpy(np.array(picture()))[None, None],
        torch.from_numpy(np.array(picture()))[None, None].float() / 255,
    ],
    ids=["path", "string", "grey", "colour", "HW", "CHW", "floats", "HWC", "bytes", "batch"],
)
def test_one_image_however_it_is_given(bundle: Bundle, given: module.Given):
    (answer,) = cfx.explain(given, target=9, bundle=bundle, engine="vcnet")
    (expected,) = cfx.explain(FOUR, target="9", bundle=bundle, engine="vcnet")
    assert answer.valid and answer.factual.name == "4" and answer.counterfactual.name == "9"
    assert answer.target_confidence >= 0.9
    assert torch.equal(answer.pictures.counterfactual, expected.pictures.counterfactual)
    assert answer.metrics == expected.metrics and answer.metrics["judge_agrees"] is True


def test_it_does_what_the_command_does(bundle: Bundle, digits):
    """The runner-up class, auto, every metric but those on request."""
    answers = list(cfx.explain(digits[0][:3], bundle=bundle))
    assert [answer.question.source.name for answer in answers] == ["image 0", "image 1", "image 2"]
    for answer in answers:
        assert answer.engine == "auto" and answer.notes[0].startswith(f"auto: the answer of {bundle.engine}")
        assert answer.target != answer.factual.name
        of_images = [metric for metric in METRICS if metric.function is not None and not metric.of_set]
        assert list(answer.metrics) == [metric.name for metric in of_images if not metric.on_request]
        assert answer.missing == {"lpips": "not asked for (--lpips)"}


@pytest.mark.parametrize("wanted", [["l1", "looks_real"], []])
def test_only_the_metrics_asked_for(bundle: Bundle, wanted: list[str]):
    (answer,) = cfx.explain(FOUR, bundle=bundle, engine="vcnet", metrics=wanted)
    assert set(answer.metrics) == set(wanted) and not answer.missing
    assert answer.panel().width > 600


def test_an_answer_shows_itself_in_a_notebook(bundle: Bundle):
    (answer,) = cfx.explain(FOUR, target=9, bundle=bundle, engine="vcnet")
    with Image.open(io.BytesIO(answer._repr_png_())) as shown:
        assert shown.format == "PNG" and shown.size == answer.panel().size


def test_images_are_read_when_they_are_needed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cfx.answers.explanation.BATCH_SIZE", 2)
    read: list[int] = []

    def given() -> Iterator[Path]:
        for number in range(5):
            read.append(number)
            yield FOUR

    answers = cfx.explain(given(), target=9, bundle=bundle, engine="vcnet", metrics=[])
    assert read == []
    next(answers)
    assert read == [0, 1]
    assert len(list(answers)) == 4 and read == [0, 1, 2, 3, 4]


def test_an_image_that_cannot_be_read_raises_or_is_skipped(bundle: Bundle, tmp_path: Path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(FOUR.read_bytes()[:80])
    options = {"target": 9, "bundle": bundle, "engine": "vcnet", "metrics": []}
    with pytest.raises(cfx.InputError, match=r"broken\.png"):
        list(cfx.explain([FOUR, broken, FOUR], **options))
    with pytest.warns(UserWarning, match=r"broken\.png.*; skipped"):
        assert len(list(cfx.explain([FOUR, broken, FOUR], **options, on_unreadable="skip"))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "ten"}, "class 'ten'"),
        ({"engine": "lattent"}, "lattent.*latent"),
        ({"metrics": ["l3"]}, "metric 'l3'"),
        ({"on_unreadable": "ignore"}, "on_unreadable 'ignore'"),
        ({"bundle": "nowhere"}, "nowhere"),
        ({"confidence": 1.5}, "confidence 1.5"),
    ],
)
def test_a_wrong_option_raises_at_once(options: dict[str, object], message: str):
    with pytest.raises(cfx.CfxError, match=message):
        cfx.explain(FOUR, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.full((1, 28, 28), 2.0), "image 0: its values range from 2 to 2"),
        (np.full((28, 28), -1), "image 0: its values range from -1 to -1; expected 0 to 255"),
        (np.zeros((28, 28, 7), dtype=np.uint8), r"image 0: has shape \(28, 28, 7\); expected"),
    ],
)
def test_an_array_that_is_no_image(bundle: Bundle, given: module.Given, message: str):
    with pytest.raises(cfx.InputError, match=message):
        list(cfx.explain(given, bundle=bundle))


def test_an_array_gives_no_warning(bundle: Bundle):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_only = np.asarray(picture())
        assert not read_only.flags.writeable
        list(cfx.explain(read_only, target=9, bundle=bundle, engine="vcnet", metrics=[]))


def test_an_answer_never_contradicts_itself(bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    """What an answer says about its counterfactual and the ends of its path is what the search saw."""
    generator = torch.Generator().manual_seed(0)
    forward = type(bundle.classifier).forward

    def undecided(self: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        logits = forward(self, images)
        return logits + 4 * torch.randn(logits.shape, generator=generator)

    monkeypatch.setattr(type(bundle.classifier), "forward", undecided)
    answers = list(cfx.explain([FOUR] * 12, target=9, engine="vcnet"))
    assert len({answer.valid for answer in answers}) == 2, "some are valid and some are not"
    for answer in answers:
        seen = answer.counterfactual
        assert answer.valid == (seen.name == "9" and answer.target_confidence >= 0.9)
        assert seen.name != "9" or seen.confidence == answer.target_confidence
