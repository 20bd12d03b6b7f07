"""From a folder of images and a classifier to a counterfactual, in the three commands that a user types."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cfx.benchmarks.studies.letter_fonts import PILLOWS_OWN
from cfx.benchmarks.studies.letters import CLASSES, draw_letters, write_letters
from cfx.bundles.bundle import Bundle
from cfx.images.sets.labelled import Labelled
from cfx.images.writing import write_png

Run = Callable[..., Any]  # a command line -> conftest's Result


def records(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.slow
def test_2000_files_and_a_program(run: Run, read_set: Callable[[str, str], Labelled], bundle: Bundle, tmp_path: Path):
    """Three commands in a minute and a half, most of which is training."""
    data = read_set("mnist", "train")
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(1))
    for index in chosen[:2000].tolist():
        folder = tmp_path / "train" / f"digit {data.labels[index]}"
        folder.mkdir(parents=True, exist_ok=True)
        write_png(folder / f"{index}.png", data.images[index].float() / 255)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(bundle.classifier, (torch.rand(4, 1, 28, 28),), dynamic_shapes={"images": batch})
    torch.export.save(program, tmp_path / "model.pt2")
    begun = run("init", "mine", "--classifier", "model.pt2", "--images", "train")
    assert begun.code == 0, begun.stderr
    assert "2000 in grey, read as 28x28" in begun.stdout and "digit 0" in begun.stdout

    trained = run("train", "mine", "--budget", "50s")
    assert trained.code == code_of(tmp_path / "mine"), trained.stderr
    assert "good: right on" in trained.stdout
    assert not (tmp_path / "mine" / "checkpoints").exists()
    with Image.open(tmp_path / "mine" / "contact-sheet.png") as sheet:
        assert sheet.width > 500
    parts = tomllib.loads((tmp_path / "mine" / "bundle.toml").read_text())["parts"]
    assert {"judge", "vae", "conditional_vae", "flow", "autoencoders"} <= set(parts)
    assert parts["judge"]["verdict"] != "useless" and parts["vae"]["because"]  # good, where both cores are free
    assert parts["judge"]["trained"]["seconds"] < 25, "half of the budget at most"

    photos = tmp_path / "photos"
    photos.mkdir()
    for index in chosen[3000:3020].tolist():
        write_png(photos / f"{index}.png", data.images[index].float() / 255)
    engines = "latent,projection,vcnet"
    found = run("explain", photos, "--bundle", "mine", "--target", "digit 7", "--engine", engines, "--format", "json")
    assert found.code in (0, 1), found.stderr
    for engine, least in {"latent": 0.4, "projection": 0.4, "vcnet": 0.2}.items():
        of_engine = [record for record in records(found) if record["engine"] == engine]
        assert len(of_engine) >= 15 and all(record["target"] == "digit 7" for record in of_engine)
        # How much is learnt in the time depends on the machine; of a weak part nothing can be expected.
        weak = any(parts[name]["verdict"] != "good" for name in ("vae", "conditional_vae"))
        assert sum(record["valid"] for record in of_engine) >= (0 if weak else least) * len(of_engine), engine
    assert {record["metrics"]["robust_retrained"] for record in records(found)} == {None}
    assert "cannot retrain" in records(found)[0]["missing"]["robust_retrained"]


def code_of(directory: Path) -> int:
    """The exit code of a training: 1 if a part is useless."""
    parts = tomllib.loads((directory / "bundle.toml").read_text())["parts"]
    return int(any(part.get("verdict") == "useless" for part in parts.values()))


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """480 coloured letters of 40x32, eight classes with spaces in their names, one of them rare."""
    root = tmp_path_factory.mktemp("letters") / "images"
    write_letters(root, *draw_letters(480, (40, 32), 0, [PILLOWS_OWN]))
    return root


@pytest.mark.slow
def test_colour_that_is_not_square_with_no_classifier(run: Run, letters: Path, tmp_path: Path):
    begun = run("init", "mine", "--images", letters, "--format", "json")
    assert begun.code == 0, begun.stderr
    assert json.loads(begun.stdout)["bundle"]["shape"] == [3, 40, 32]
    assert json.loads(begun.stdout)["bundle"]["classes"] == list(CLASSES)
    trained = run("train", "mine", "--budget", "8s")
    assert trained.code == code_of(tmp_path / "mine"), trained.stderr
    assert "cut short: " in trained.stdout
    made = Bundle(tmp_path / "mine")
    made.verify()
    assert "retrained" in made.parts and not made.is_foreign
    photo = next((letters / "letter E").glob("*.png"))
    iterating = ("latent", "revise", "dive", "diffeo", "deduce", "jsma", "svce", "pixel")
    briefly = [text for name in iterating for text in ("--set", f"{name}.max_steps=20")] + ["--set", "auto.within=2"]
    found = run(
        "explain", photo, "--bundle", "mine", "--target", "auto", "--engine", "all", *briefly, "--format", "json"
    )
    assert found.code in (0, 1), found.stderr
    names = {record["engine"] for record in records(found)}
    of_donors = {"swap", "deduce"}
    others = {"auto", "latent", "revise", "dive", "diffeo", "vcnet", "projection", "jsma", "svce", "pixel"}
    assert others <= names <= others | of_donors
    if "swap" not in names:  # a classifier of a few steps may take no image for the target
        assert "engine swap is left out: the classifier takes none of" in found.stderr
    for record in records(found):
        with Image.open(record["files"]["counterfactual"]) as picture:
            assert picture.size == (32, 40) and picture.mode == "RGB"
    (tmp_path / "mine" / "contact-sheet.png").unlink()
    assert run("train", "mine", "--budget", "8s").code == code_of(tmp_path / "mine")
    assert (tmp_path / "mine" / "contact-sheet.png").exists(), "what is missing is drawn again"
    again = run("train", "mine")
    assert again.code == code_of(tmp_path / "mine")
    done = "note: mine: every part is trained; retrain one with --only PART, or go on with --more TIME\n"
    assert again.stderr == done


@pytest.mark.slow
def test_a_classifier_of_224_pixels_and_1000_classes(run: Run, tmp_path: Path):
    """torchvision's architecture with random weights: the mechanics, with the change carried to the photo's size."""
    rng = np.random.default_rng(0)
    images, labels, _ = draw_letters(60, (60, 60), 0, [PILLOWS_OWN])
    for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        name = ("goldfish", "volcano")[label % 2]
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((300, 240 + int(rng.integers(0, 60))))
        picture.save(folder / f"{index}.jpg")
    (tmp_path / "classes.txt").write_text(
        "\n".join(
            "goldfish" if place == 1 else "volcano" if place == 980 else f"thing {place}" for place in range(1000)
        )
    )
    classifier = "torchvision:shufflenet_v2_x0_5@none"
    begun = run("init", "mine", "--classifier", classifier, "--images", "photos", "--classes", "classes.txt")
    assert begun.code == 1, "untrained, it is right by chance only"
    assert "no better than always predicting the most common class" in begun.stderr
    made = Bundle(tmp_path / "mine")
    assert made.labels == ["goldfish", "volcano", "(anything else)"] and len(made.classes) == 1000
    foreign = made.parts["classifier"].foreign
    assert foreign is not None and foreign.columns == (1, 980)
    assert max(made.shape) > max(made.working) == 64
    assert run("train", "mine", "--budget", "4s").code == code_of(tmp_path / "mine")
    photo = next((tmp_path / "photos" / "goldfish").glob("*.jpg"))
    options = ("--target", "volcano", "--engine", "projection", "--format", "json")
    found = run("explain", photo, "--bundle", "mine", *options)
    assert found.code == 1, found.stderr  # of 1,000 classes none is ever 90 % sure
    (record,) = records(found)
    with Image.open(photo) as before, Image.open(record["files"]["full"]) as after:
        assert before.size == after.size
        changed = np.abs(np.asarray(before, dtype=int) - np.asarray(after, dtype=int)).max()
    # Generators of seconds may draw hardly anything; what they draw is in the photo, too.
    assert changed > 0 or record["metrics"]["linf"] < 3 / 255
    assert any("no longer valid" in note for note in record["notes"])
    part = run("explain", photo, "--bundle", "mine", *options, "--region", "0,0,150,100")
    (record,) = records(part)
    with Image.open(photo) as before, Image.open(record["files"]["full"]) as after:
        differs = (np.asarray(before) != np.asarray(after)).any(axis=2)
    assert not differs[100:].any() and not differs[:, 150:].any(), "at the photo's own size, too"
    asked = run("explain", photo, "--bundle", "mine", "--target", "thing 7")
    assert asked.code == 2 and "was trained without images of it" in asked.error
