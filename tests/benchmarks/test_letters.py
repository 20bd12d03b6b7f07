"""The letters are what they are labelled, are drawn from what the factors say, and are the same for a seed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cfx.benchmarks.studies import letter_fonts, letters
from cfx.benchmarks.studies.letter_fonts import PILLOWS_OWN, Face, cap_height, installed_faces
from cfx.benchmarks.studies.letters import CLASSES, LETTERS, Factors, contrast, draw_letters, write_letters
from cfx.errors import DataError, OutputError, UsageError
from cfx.images.sets.opening import open_images

SIZE = (40, 32)
Drawn = tuple[Tensor, Tensor, list[Factors]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw_letters(200, SIZE, 0, [PILLOWS_OWN])


def colour(text: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(text.lstrip("#"))), dtype=np.float64)


def coverage(image: Tensor, factors: Factors) -> np.ndarray:
    """How much of each pixel (H, W) is the letter's colour rather than the ground's, roughly in [0, 1]."""
    pixels = image.permute(1, 2, 0).numpy().astype(np.float64)
    ground = np.mean([colour(part) for part in factors.background.split(" to ")], axis=0)
    towards = colour(factors.foreground) - ground
    return ((pixels - ground) @ towards / (towards @ towards)).clip(0, 1)


def test_same_seed_same_letters(drawn: Drawn) -> None:
    again = draw_letters(200, SIZE, 0, [PILLOWS_OWN])
    assert torch.equal(drawn[0], again[0]) and torch.equal(drawn[1], again[1]) and drawn[2] == again[2]
    other = draw_letters(200, SIZE, 1, [PILLOWS_OWN])
    assert not torch.equal(drawn[0], other[0]) and not torch.equal(drawn[1], other[1])


def test_shapes_and_imbalance(drawn: Drawn) -> None:
    images, labels, factors = drawn
    assert images.shape == (200, 3, *SIZE) and images.dtype == torch.uint8
    assert labels.shape == (200,) and labels.dtype == torch.int64 and len(factors) == 200
    counts = dict(zip(CLASSES, torch.bincount(labels, minlength=len(CLASSES)).tolist(), strict=True))
    assert counts.pop("letter Q") == 3  # an eighth, rounded down
    assert counts.pop("letter G") == 10
    assert set(counts.values()) <= {31, 32}
    least = draw_letters(len(LETTERS), SIZE, 0, [PILLOWS_OWN])[1]
    assert sorted(least.tolist()) == list(range(len(LETTERS)))


def test_factors_keep_to_their_ranges(drawn: Drawn) -> None:
    rotations = np.array([factors.rotation for factors in drawn[2]])
    scales = np.array([factors.scale for factors in drawn[2]])
    assert rotations.min() < -8 and rotations.max() > 8 and abs(rotations).max() <= 10
    assert scales.min() >= 0.4 and scales.max() <= 0.75 and np.ptp(scales) > 0.2
    for factors in drawn[2]:
        for ground in factors.background.split(" to "):
            assert contrast(colour(factors.foreground), colour(ground)) >= 2.5


def test_contrast_of_known_colours() -> None:
    black, white, grey = np.zeros(3), np.full(3, 255), np.full(3, 0x77)
    assert contrast(black, white) == pytest.approx(21)
    assert contrast(grey, white) == contrast(white, grey) == pytest.approx(4.48, abs=0.01)  # WebAIM's contrast checker


def test_letters_stay_inside_the_frame(drawn: Drawn) -> None:
    edge = np.ones(SIZE, dtype=bool)
    edge[1:-1, 1:-1] = False
    for image, factors in zip(drawn[0], drawn[2], strict=True):
        # the ground's own gradient reaches some way towards the letter's colour, never to it
        assert coverage(image, factors)[edge].max() < 0.75
        assert coverage(image, factors).max() > 0.8


def test_scale_is_the_letters_height(drawn: Drawn) -> None:
    checked = 0
    for image, label, factors in zip(drawn[0], drawn[1].tolist(), drawn[2], strict=True):
        one, other = (colour(part) for part in factors.background.split(" to "))
        if LETTERS[label] != "E" or abs(factors.rotation) > 3 or abs(one - other).max() > 30:
            continue
        rows = np.flatnonzero((coverage(image, factors) > 0.5).any(axis=1))
        assert rows[-1] - rows[0] + 1 == pytest.approx(factors.scale * SIZE[0], abs=2.5)
        checked += 1
    assert checked >= 1


def test_each_letter_is_most_like_its_own_kind() -> None:
    """Undo place and size: a letter's own template fits it best."""
    images, labels, factors = draw_letters(160, SIZE, 3, [PILLOWS_OWN])
    templates = {}
    for letter in LETTERS:
        mask = letters._letter(PILLOWS_OWN, letter, 120, 0)
        templates[letter] = np.asarray(mask.resize((24, 32), Image.Resampling.BOX), dtype=np.float64) / 255
    right = 0
    for image, label, known in zip(images, labels.tolist(), factors, strict=True):
        upright = Image.fromarray((coverage(image, known) * 255).astype(np.uint8)).rotate(
            -known.rotation, Image.Resampling.BICUBIC
        )
        shown = Image.fromarray(np.where(np.asarray(upright) > 150, 255, 0).astype(np.uint8))
        box = shown.getbbox()
        assert box is not None
        found = np.asarray(shown.crop(box).resize((24, 32), Image.Resampling.BOX), dtype=np.float64) / 255
        nearest = min(templates, key=lambda letter: float(((templates[letter] - found) ** 2).sum()))
        right += nearest == LETTERS[label]
    assert right >= 0.85 * len(labels)


def test_a_seed_draws_other_colours_for_each_image(drawn: Drawn) -> None:
    assert len({factors.foreground for factors in drawn[2]}) > 190


@pytest.mark.parametrize(
    ("count", "size", "fonts", "said"),
    [
        (7, SIZE, [PILLOWS_OWN], "7 letters"),
        (8, (15, 32), [PILLOWS_OWN], "15x32 pixels"),
        (8, SIZE, [], "in 0 fonts"),
    ],
)
def test_requests_refused(count: int, size: tuple[int, int], fonts: list[Face], said: str) -> None:
    with pytest.raises(UsageError, match="at least 8 letters, 16x16 pixels and one font are needed") as caught:
        draw_letters(count, size, 0, fonts)
    assert said in str(caught.value)


def test_written_letters_are_read_back(tmp_path: Path, drawn: Drawn) -> None:
    out = tmp_path / "letters"
    out.mkdir()  # empty, so it may be filled
    write_letters(out, *drawn)
    found = open_images(str(out))
    assert found.classes == CLASSES
    survey = found.survey()
    assert survey.size == SIZE and survey.same_size and survey.channels == 3
    data = found.load(torch.arange(200), (3, *SIZE)).data
    order = drawn[1].argsort(stable=True)
    assert torch.equal(data.images, drawn[0][order]) and torch.equal(data.labels, drawn[1][order])
    with open(out / "factors.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "class", "font", "foreground", "background", "rotation", "scale"]
    assert [row["class"] for row in rows] == [CLASSES[label] for label in drawn[1].tolist()]
    assert [float(row["rotation"]) for row in rows] == [factors.rotation for factors in drawn[2]]
    assert all((out / row["file"]).is_file() for row in rows)
    assert open_images(str(out / "factors.csv")).labels.tolist() == drawn[1].tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


def test_what_is_there_is_kept(tmp_path: Path, drawn: Drawn) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists and is not an empty directory; choose another, or remove it"):
        write_letters(tmp_path, *drawn)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="could not be written \\(no space left on device\\)"):
        write_letters(tmp_path / "letters", *drawn)
    assert list(tmp_path.iterdir()) == []


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(letters, "installed_faces", lambda wanted: [PILLOWS_OWN])
    arguments = [str(tmp_path / "out"), "--count", "20", "--seed", "4", "--height", "24", "--width", "20"]
    assert letters.main(arguments) == 0
    said = capsys.readouterr()
    assert "20 images in 1 fonts (letter C 3" in said.out and "fonts: Aileron Regular" in said.out
    assert said.err == ""
    assert open_images(str(tmp_path / "out")).survey().size == (24, 20)
    assert letters.main(arguments) == 2
    assert "exists and is not an empty directory" in capsys.readouterr().err


def test_no_fonts_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(letter_fonts, "entry_points", lambda group: [])
    with pytest.raises(DataError, match="no font packages are installed; install some with: pip install"):
        installed_faces(LETTERS)
    assert letters.main([str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: no font packages are installed")
    assert not (tmp_path / "out").exists()


def test_installed_fonts() -> None:
    try:
        faces = installed_faces(LETTERS)
    except DataError:
        pytest.skip("no font packages are installed; pip install 'cfx-toolkit[letters]'")
    names = [face.name for face in faces]
    assert names == sorted(set(names))
    assert all(0.4 < cap_height(face) < 1 for face in faces)
    images, _, factors = draw_letters(80, SIZE, 0, faces)
    assert len({known.font for known in factors}) > min(len(faces), 80) / 3
    # thin strokes are lighter than a pixel, but must stand out from the ground all the same
    assert all(coverage(image, known).max() > 0.5 for image, known in zip(images, factors, strict=True))
