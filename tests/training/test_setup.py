"""`set_up` on real digits: what fits is found out, what does not is said in a sentence, and nothing half-made stays."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle, load_bundle
from cfx.bundles.own_images import images_for_testing, own_images
from cfx.errors import BundleError, DataError, UsageError
from cfx.images.writing import write_png
from cfx.intake.checking import other_order
from cfx.intake.class_matching import ELSE
from cfx.intake.init_options import InitOptions
from cfx.training.opening import reopen_session
from cfx.training.setup import set_up

NAMES = [f"digit {place}" for place in range(10)]


@pytest.fixture(scope="module")
def folder(digits: tuple[Tensor, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 400 digits, a folder a class."""
    root = tmp_path_factory.mktemp("images")
    for index, (image, label) in enumerate(zip(*digits, strict=True)):
        directory = root / NAMES[int(label)]
        directory.mkdir(exist_ok=True)
        write_png(directory / f"{index}.png", image)
    return root


class Brought(nn.Module):
    """The shipped classifier as somebody else might have trained it: other input, other output, more classes."""

    def __init__(self, *, scale: float = 1.0, mean: float = 0.0, extra: int = 0, channels: int = 1) -> None:
        super().__init__()
        self.inner = load_bundle("mnist").part("classifier")
        self.scale, self.mean, self.extra, self.channels = scale, mean, extra, channels

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.shape[1] != self.channels:
            raise RuntimeError(f"expected {self.channels} channels, got {inputs.shape[1]}")
        logits = self.inner((inputs.mean(dim=1, keepdim=True) * self.scale + self.mean).clamp(0, 1))
        return torch.cat([logits, logits.new_full((len(logits), self.extra), -5.0)], dim=1)


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that makes a module with a factory in it, and returns its name for `InitOptions.classifier`."""

    def make(body: str) -> str:
        name = f"brought_{abs(hash((str(tmp_path), body)))}"
        (tmp_path / f"{name}.py").write_text(body)
        monkeypatch.syspath_prepend(tmp_path)
        return f"{name}:make"

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return make


FACTORY = "import sys\ndef make():\n    return sys.modules['{module}'].Brought({arguments})\n"


def factory(brought: Callable[..., str], **arguments: float) -> str:
    import sys

    sys.modules["cfx_test_setup"] = sys.modules[__name__]
    return brought(
        FACTORY.format(module="cfx_test_setup", arguments=", ".join(f"{k}={v}" for k, v in arguments.items()))
    )


def test_a_classifier_that_fits_is_written_down_and_opens_again(folder: Path, tmp_path: Path, brought):
    checked = set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=factory(brought)))
    assert checked.accuracy is not None and checked.accuracy > 0.95
    assert not checked.warnings
    bundle = Bundle(tmp_path / "b")
    assert bundle.classes == NAMES and bundle.shape == (1, 28, 28) and bundle.light_on_dark
    assert bundle.is_foreign and bundle.differentiable and not bundle.is_lowres
    images = own_images(bundle.file.images)
    data = images.load(torch.arange(64), bundle.shape).data
    expected = load_bundle("mnist").classifier(data.floats())
    assert torch.allclose(bundle.classifier(data.floats()), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"scale": 1 / 255}, {"scale": 255.0}),
        ({"scale": 0.5, "mean": 0.5}, {"mean": (0.5,), "std": (0.5,)}),
    ],
)
def test_the_normalisation_with_which_the_labels_are_likeliest_is_found(
    folder: Path, tmp_path: Path, brought, arguments, expected
):
    checked = set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=factory(brought, **arguments)))
    assert checked.accuracy is not None and checked.accuracy > 0.95
    foreign = checked.file.parts["classifier"].foreign
    assert foreign is not None
    assert {name: getattr(foreign.preprocessing, name) for name in expected} == expected
    assert any("used, because it fits the labels better than normalisation 'none'" in note for note in checked.notes)


def test_a_declared_normalisation_that_is_wrong_is_warned_of(folder: Path, tmp_path: Path, brought):
    options = InitOptions(images=str(folder), classifier=factory(brought), preprocessing={"mean": (-0.9,)})
    checked = set_up(tmp_path / "b", options)
    (warning,) = (warning for warning in checked.warnings if "is the declaration right?" in warning)
    assert "normalisation 'none': fits the labels better than normalisation mean -0.9, std 1: NLL" in warning


def test_grey_images_go_to_a_classifier_of_three_channels(folder: Path, tmp_path: Path, brought):
    checked = set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=factory(brought, channels=3)))
    foreign = checked.file.parts["classifier"].foreign
    assert foreign is not None and foreign.preprocessing is not None and foreign.preprocessing.channels == 3
    assert checked.file.shape == (1, 28, 28)
    assert checked.accuracy is not None and checked.accuracy > 0.95


def test_classes_that_the_images_do_not_have_are_one_label_of_the_parts(folder: Path, tmp_path: Path, brought):
    names = tmp_path / "classes.txt"
    names.write_text("\n".join([*NAMES, *(f"other {place}" for place in range(90))]))
    options = InitOptions(images=str(folder), classifier=factory(brought, extra=90), classes=names)
    checked = set_up(tmp_path / "b", options)
    bundle = Bundle(tmp_path / "b")
    assert bundle.classes == names.read_text().split("\n") and bundle.present == list(range(10))
    assert bundle.labels == [*NAMES, ELSE] and bundle.labelling.columns == tuple(range(10))
    assert checked.accuracy is not None and checked.accuracy > 0.95
    assert bundle.classifier(torch.zeros(1, 1, 28, 28)).shape == (1, 100)
    mine = set_up(tmp_path / "mine", dataclasses.replace(options, among=True))
    bundle = Bundle(tmp_path / "mine")
    assert mine.file.classes == tuple(NAMES) and bundle.classes == bundle.labels == NAMES
    assert bundle.classifier(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    assert bundle.notes == ("probabilities are among these 10 classes of the classifier only (--among-mine)",)


def test_a_bundle_of_an_earlier_version_has_single_classes_too(folder: Path, tmp_path: Path, brought):
    names = tmp_path / "classes.txt"
    names.write_text("\n".join([*NAMES, *(f"other {place}" for place in range(90))]))
    set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=factory(brought, extra=90), classes=names))
    file = Bundle(tmp_path / "b").file
    entry = file.parts["classifier"]
    assert entry.foreign is not None and entry.foreign.classes is not None
    old = dataclasses.replace(entry, foreign=dataclasses.replace(entry.foreign, classes=None))
    file.with_part("classifier", old).write(tmp_path / "b")
    bundle = Bundle(tmp_path / "b")
    assert bundle.classes == [*NAMES, *(f"class {place}" for place in range(10, 100))]
    assert bundle.classifier(torch.zeros(1, 1, 28, 28)).shape == (1, 100)


def test_more_classes_than_images_show_need_names(folder: Path, tmp_path: Path, brought):
    with pytest.raises(
        UsageError, match=r"has 15 classes and the images 10 \(digit 0 40, .*\); name the classifier's classes with"
    ):
        set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=factory(brought, extra=5)))
    assert not (tmp_path / "b").exists()
    names = tmp_path / "classes.txt"
    names.write_text("\n".join([*NAMES, "ten"]))
    with pytest.raises(UsageError, match=r"--classes names 11 classes and the classifier .* has 15; give one name for"):
        set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=factory(brought, extra=5), classes=names))


def test_an_untrained_classifier_is_warned_of(folder: Path, tmp_path: Path, brought):
    make = brought(
        "import torch\nfrom torch import nn\ndef make():\n    torch.manual_seed(4)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    checked = set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=make))
    assert any("no better than always predicting the most common class" in warning for warning in checked.warnings)


def test_a_constant_classifier_is_warned_of(folder: Path, tmp_path: Path, brought):
    make = brought(
        "import torch\nfrom torch import nn\nclass C(nn.Module):\n"
        "    def forward(self, x):\n        return torch.ones(len(x), 10) * x.mean() * 0\ndef make():\n    return C()\n"
    )
    checked = set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=make))
    assert any("the classifier's output is the same for every image" in warning for warning in checked.warnings)
    assert Bundle(tmp_path / "b").differentiable is False


def test_a_black_box_is_noted_and_refused_by_engines_that_need_gradients(folder: Path, tmp_path: Path, brought):
    make = brought(
        "import numpy as np\nfrom cfx import load_bundle\ninner = load_bundle('mnist').classifier\n"
        "def make():\n    return lambda x: inner(x.detach()).detach().numpy().astype(np.float64)\n"
    )
    checked = set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=make))
    assert any("engines that need them, such as latent and diffeo, cannot explain it" in note for note in checked.notes)
    bundle = Bundle(tmp_path / "b")
    assert not bundle.differentiable and checked.accuracy is not None and checked.accuracy > 0.95
    from cfx.counterfactuals.registry import load_engine

    for name in ("latent", "diffeo", "pixel"):
        with pytest.raises(BundleError, match=f"engine {name} needs gradients of the classifier, which is a black box"):
            load_engine(name).from_bundle(bundle)
    shipped = load_bundle("mnist")
    data = own_images(bundle.file.images).load(torch.arange(8), bundle.shape).data
    targets = (data.labels + 1) % 10
    for name in ("projection", "vcnet"):  # the models of the shipped bundle, asking the black box
        found = load_engine(name).from_bundle(shipped).search(bundle.classifier, data.floats(), targets)
        assert found.valid.float().mean() > 0.8


def test_a_classifier_that_fails_on_the_images_says_what_to_declare(folder: Path, tmp_path: Path, brought):
    make = brought("from torch import nn\ndef make():\n    return nn.Linear(5, 10)\n")
    with pytest.raises(UsageError, match=r"it fails on images of 1 channels and 28x28 pixels .* --input-size"):
        set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=make))
    assert not (tmp_path / "b").exists()


def test_rare_and_missing_classes_are_named_and_are_no_targets(folder: Path, tmp_path: Path, brought):
    import shutil

    few = tmp_path / "few"
    shutil.copytree(folder, few)
    for path in sorted((few / "digit 3").iterdir())[2:]:
        path.unlink()
    shutil.rmtree(few / "digit 4")
    names = tmp_path / "classes.txt"
    names.write_text("\n".join(NAMES))
    checked = set_up(tmp_path / "b", InitOptions(images=str(few), classifier=factory(brought), classes=names))
    assert any(
        warning.startswith("classes with too few images, which cannot be targets (8 are needed, 4 of them outside")
        and warning.endswith(": digit 3")
        for warning in checked.warnings
    )
    assert "classes without images, which cannot be targets: digit 4" in checked.warnings
    assert Bundle(tmp_path / "b").present == [0, 1, 2, 5, 6, 7, 8, 9]


def test_large_images_are_worked_on_in_a_smaller_size(digits: tuple[Tensor, Tensor], tmp_path: Path, brought):
    root = tmp_path / "large"
    for index, (image, label) in enumerate(zip(*digits, strict=True)):
        if index % 4 == 0:
            directory = root / NAMES[int(label)]
            directory.mkdir(exist_ok=True, parents=True)
            write_png(directory / f"{index}.png", nn.functional.interpolate(image[None], (280, 210))[0])
    make = brought(
        "import torch\nfrom torch import nn\nfrom cfx import load_bundle\n"
        "class C(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.inner = load_bundle('mnist').classifier\n"
        "    def forward(self, x):\n        return self.inner(nn.functional.adaptive_avg_pool2d(x, 28))\n"
        "def make():\n    return C()\n"
    )
    checked = set_up(tmp_path / "b", InitOptions(images=str(root), classifier=make))
    bundle = Bundle(tmp_path / "b")
    assert bundle.shape == (1, 256, 192) and bundle.working == (64, 48) and bundle.is_lowres
    assert checked.accuracy is not None and checked.accuracy > 0.9
    assert any("models work at 64x48, and changes are carried back" in note for note in checked.notes)
    smaller = set_up(tmp_path / "smaller", InitOptions(images=str(root), classifier=make, size=(140, 105), working=40))
    assert smaller.file.shape == (1, 140, 105) and smaller.file.working == (40, 30)


def test_transparent_images_are_laid_on_one_ground_everywhere(folder: Path, tmp_path: Path, brought):
    for path in folder.glob("*/*.png"):
        grey = np.asarray(Image.open(path).convert("L"))
        to = tmp_path / "alpha" / path.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.dstack([grey] * 3 + [np.where(grey > 0, 255, 0).astype(np.uint8)])).save(to)
    opaque = set_up(tmp_path / "opaque", InitOptions(images=str(folder), classifier=factory(brought)))
    checked = set_up(tmp_path / "b", InitOptions(images=str(tmp_path / "alpha"), classifier=factory(brought)))
    assert checked.accuracy == opaque.accuracy and checked.file.light_on_dark
    assert checked.notes[0] == (
        "transparent pictures: laid on black, because what is visible in them is light (200 of 200 looked at are "
        "transparent)"
    )
    assert checked.file.images is not None and checked.file.images.ground == "black"
    bundle, plain = Bundle(tmp_path / "b"), Bundle(tmp_path / "opaque")
    trained, expected = reopen_session(tmp_path / "b"), reopen_session(tmp_path / "opaque")
    assert torch.equal(trained.context.split.train.images, expected.context.split.train.images)
    tested, wanted = images_for_testing(bundle), images_for_testing(plain)
    assert tested is not None and wanted is not None and torch.equal(tested.images, wanted.images)
    one = next((tmp_path / "alpha").glob("*/*.png"))
    read = bundle.read(one)
    assert torch.equal(read.pixels, plain.read(folder / one.relative_to(tmp_path / "alpha")).pixels)
    assert read.notes == ("transparent: laid on black, as the images that the bundle was made from",)


def test_a_bundle_is_not_overwritten(folder: Path, tmp_path: Path, brought):
    make = factory(brought)
    set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=make))
    before = (tmp_path / "b" / "bundle.toml").read_bytes()
    with pytest.raises(BundleError, match=r"already holds a bundle; add --overwrite to replace it"):
        set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=make))
    assert (tmp_path / "b" / "bundle.toml").read_bytes() == before


def trained(directory: Path) -> Path:
    """A bundle in which two parts look as if they had been trained."""
    bundle = Bundle(directory)
    for name in ("vae", "anchors"):
        shipped = load_bundle("mnist")
        bundle.save_part(name, shipped.part(name), shipped.parts[name])
    return directory


def test_overwriting_keeps_the_parts_that_are_still_right(
    folder: Path, tmp_path: Path, brought, monkeypatch: pytest.MonkeyPatch
):
    options = InitOptions(images=str(folder), classifier=factory(brought), overwrite=True)
    set_up(tmp_path / "b", options)
    before = trained(tmp_path / "b")
    (before / "contact-sheet.png").touch()
    settings = {"latent": {"max_steps": 60}}
    Bundle(before).update(settings=settings)

    again = set_up(before, options)
    assert Bundle(before).file.settings == settings
    assert "kept: vae, anchors" in again.notes and {"vae", "anchors"} <= set(Bundle(before).parts)
    assert (before / "contact-sheet.png").exists()
    with monkeypatch.context() as patched:  # the time that the classifier takes may differ from time to time
        patched.setattr("cfx.intake.probe.prefers_channels_last", lambda *_: True)
        assert "kept: vae, anchors" in set_up(before, options).notes
    foreign = Bundle(before).parts["classifier"].foreign
    assert foreign is not None and foreign.channels_last and (before / "contact-sheet.png").exists()

    other = set_up(before, dataclasses.replace(options, classifier=factory(brought, scale=0.9)))
    assert "kept: vae" in other.notes
    assert "to be trained anew, because the classifier or the images changed: anchors" in other.notes
    assert not (before / "anchors.safetensors").exists() and not (before / "contact-sheet.png").exists()
    Bundle(before).verify()

    smaller = set_up(before, dataclasses.replace(options, size=(20, 20)))
    assert not any(note.startswith("kept") for note in smaller.notes)
    assert sorted(path.name for path in before.iterdir()) == ["bundle.toml", "classifier.safetensors"]


def test_overwriting_needs_no_readable_bundle_and_a_refusal_leaves_it(folder: Path, tmp_path: Path, brought):
    options = InitOptions(images=str(folder), classifier=factory(brought), overwrite=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "bundle.toml").write_text("damaged = [")
    set_up(tmp_path / "b", options)
    before = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    with pytest.raises(UsageError, match="looks like units of 0 to 255"):
        set_up(tmp_path / "b", dataclasses.replace(options, preprocessing={"mean": (72.9,)}))
    assert {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()} == before


def test_a_changed_classifier_file_is_refused(folder: Path, tmp_path: Path, bundle: Bundle):
    scripted = torch.jit.trace(bundle.classifier, torch.rand(2, 1, 28, 28))
    torch.jit.save(scripted, tmp_path / "model.pt")
    set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=str(tmp_path / "model.pt")))
    made = Bundle(tmp_path / "b")
    file = tmp_path / "b" / made.parts["classifier"].file
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(BundleError, match=r"is not the file that bundle\.toml describes"):
        _ = Bundle(tmp_path / "b").classifier


@pytest.mark.parametrize("output", ["softmax", "log_softmax"])
def test_a_bundle_opens_its_classifier_without_the_last_activation(
    folder: Path, tmp_path: Path, brought, output: str, digits: tuple[Tensor, Tensor]
):
    make = brought(
        "import cfx\nfrom torch import nn\nclass C(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.inner = cfx.load_bundle('mnist').part('classifier')\n"
        f"    def forward(self, x):\n        return self.inner(x).{output}(1)\n"
        "def make():\n    return C()\n"
    )
    set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=make))
    made = Bundle(tmp_path / "b")
    assert made.parts["classifier"].foreign.activation == output.replace("_", "-")
    expected = load_bundle("mnist").classifier(digits[0][:20])
    assert torch.allclose(made.classifier(digits[0][:20]), expected, atol=1e-4), "the logits, not their softmax"
    assert made.notes == ()


def test_images_without_a_classifier_begin_a_bundle_too(folder: Path, tmp_path: Path):
    checked = set_up(tmp_path / "b", InitOptions(images=str(folder)))
    assert checked.accuracy is None
    description = tomllib.loads((tmp_path / "b" / "bundle.toml").read_text())
    assert description["images"]["source"] == str(folder.resolve()) and "parts" not in description


def test_images_that_have_changed_since_are_refused(folder: Path, tmp_path: Path, brought):
    import shutil

    images = tmp_path / "images"
    shutil.copytree(folder, images)
    set_up(tmp_path / "b", InitOptions(images=str(images), classifier=factory(brought)))
    assert images_for_testing(Bundle(tmp_path / "b")) is not None
    (images / "aardvark").mkdir()
    shutil.copy(next((images / "digit 1").iterdir()), images / "aardvark")
    for use in (lambda: images_for_testing(Bundle(tmp_path / "b")), lambda: reopen_session(tmp_path / "b")):
        with pytest.raises(DataError, match=r"has changed since cfx init \(400 images then, 401 of 11 classes now\)"):
            use()


def test_numbered_classes_in_the_order_of_imagefolder_are_warned_of(tmp_path: Path):
    names = [str(place) for place in range(12)]
    labels = torch.arange(12).repeat(30)
    as_text = torch.tensor([sorted(names).index(name) for name in names])
    accuracy = float((as_text[labels] == labels).float().mean())
    (warning,) = other_order(as_text[labels], labels, names, accuracy)
    assert "100.0% right" in warning and "0, 1, 10, 11, ..." in warning and "--classes FILE" in warning
    assert other_order(labels, labels, names, 1.0) == []
    assert other_order(labels, labels, [*NAMES, "x", "y"], 1.0) == []


def test_of_very_many_images_a_sample_is_used_and_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    set_up(tmp_path / "b", InitOptions(images=str(folder)))
    whole = reopen_session(tmp_path / "b")
    monkeypatch.setattr("cfx.bundles.own_images.MOST_IMAGES", 100)
    session = reopen_session(tmp_path / "b")
    split, present = session.context.split, session.context.present
    assert len(whole.context.split.train) > 140 and whole.notes == ()
    assert len(split.train) == len(split.judge_train) == 100 and present == list(range(10))
    assert len(split.test) == len(whole.context.split.test)
    (note,) = session.notes
    assert note.endswith("of 400 images are used, sampled at random: at most 100 in each subset")


def test_a_brought_classifier_is_never_trained_over(folder: Path, tmp_path: Path, brought):
    set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=factory(brought)))
    before = (tmp_path / "b" / "bundle.toml").read_bytes()
    session = reopen_session(tmp_path / "b")
    with pytest.raises(UsageError, match="--only classifier: the classifier is your own"):
        session.make(only=["classifier"])
    with pytest.raises(UsageError, match="--only retrained: cfx cannot retrain a classifier of your own"):
        session.make(only=["retrained"])
    with pytest.raises(BundleError, match=r"is not trained yet; `cfx train .*b` trains it"):
        session.make(only=["vae"])
    assert (tmp_path / "b" / "bundle.toml").read_bytes() == before


def test_a_full_disk_has_its_sentence(folder: Path, tmp_path: Path, brought, monkeypatch: pytest.MonkeyPatch):
    usage = dataclasses.make_dataclass("Usage", ["free"])
    monkeypatch.setattr("cfx.files.shutil.disk_usage", lambda _path: usage(free=1000))
    make = brought("from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n")
    with pytest.raises(DataError, match=r"the classifier needs 0 MB, but only 0 MB are free there"):
        set_up(tmp_path / "b", InitOptions(images=str(folder), classifier=make))


def test_code_whose_trust_cannot_be_kept_is_refused_before_the_work(
    folder: Path, tmp_path: Path, brought, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    make = brought("from cfx import load_bundle\ndef make():\n    return load_bundle('mnist').classifier\n")
    options = InitOptions(images=str(folder), classifier=make)
    with pytest.raises(UsageError, match=f"set XDG_STATE_HOME to a directory .* or set CFX_TRUST_CODE={make}"):
        set_up(tmp_path / "b", options)
    assert not (tmp_path / "b").exists(), "the next init is not refused"
    monkeypatch.setenv("CFX_TRUST_CODE", make)
    set_up(tmp_path / "b", options)
    assert Bundle(tmp_path / "b").classifier is not None


@pytest.mark.parametrize("copied", [False, True], ids=["other digits", "two frames of each"])
def test_near_copies_on_both_sides_of_the_split_are_named(tmp_path: Path, digits, copied: bool):
    images, labels = digits
    draw = np.random.default_rng(0)
    for number in range(0, 400, 2):
        levels = (images[number, 0].numpy() * 255).round()
        other = levels + draw.normal(0, 3, levels.shape) if copied else (images[number + 1, 0].numpy() * 255).round()
        for frame, values in enumerate((levels, other)):
            path = tmp_path / "images" / str(int(labels[number])) / f"{number}-{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path)
    checked = set_up(tmp_path / "b", InitOptions(images=str(tmp_path / "images")))
    said = [note for note in checked.notes if "near-copies on both sides of the split" in note]
    assert len(said) == copied
    if copied:
        assert "with --group or a CSV column group" in said[0]
        grouped = InitOptions(images=str(tmp_path / "images"), group=r"(\d+)-\d")
        checked = set_up(tmp_path / "c", grouped)
        assert not any("near-copies" in note for note in checked.notes)
        assert any("200 groups of images" in note for note in checked.notes)
        assert Bundle(tmp_path / "c").file.images == dataclasses.replace(
            Bundle(tmp_path / "b").file.images, group=r"(\d+)-\d"
        )
