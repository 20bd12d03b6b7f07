"""Where a bundle is made from images, part by part, resumable after a kill.

A part is done once bundle.toml lists it. Unfinished work lies in `checkpoints/` beside it and is picked up
by the same command; when every part is done the checkpoints are removed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.datasets import SPLIT_PARTS, Labelled, Split, in_parts, load_torchvision, split_in_two
from ..data.errors import BundleError, DataError, UsageError, unknown_name
from ..data.files import make_directory
from ..data.fitting import Fit, FitError, length_of
from ..data.sources import Loaded
from .budget import Budget
from .bundle import PARTS, SCHEMA, Bundle, round_to_stored, save_part, write_description
from .making import HOLD, MAKERS, NEEDS, fits_of
from .measuring import MEASURES, VERDICTS
from .recipe import Recipe, find_recipe, recipe_for
from .setup import MOST_IMAGES, images_of
from .sheet import NAME as SHEET
from .sheet import draw_sheet

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called as progress(what is being fitted, steps done, steps in all, latest losses)."""

MOST_AUTOENCODERS = 60  # classes, beyond which IM1 and IM2 are done without
PHOTOS_AT_ONCE = 64
SHEET_CHOICE = 200  # images from which those on the contact sheet are taken
SPACE = 400 * 2**20  # bytes of disk that a bundle and its checkpoints need at most


class Workshop:
    """One directory in which a recipe is being followed.

    Args:
        recipe: what to make.
        split: the data at the size that models work in, cut so that judges and judged never share an image.
        directory: where the bundle grows; if it has a bundle.toml, its classifier is the one that is explained.
        command: recorded in bundle.toml as the way to remake it.
        progress: told of every twentieth step.
        joint: train classifier and conditional VAE in one loss, as VCNet's paper does.
        budget: seconds for all of it; without it, each part gets the recipe's work.
        began: when that time began to run, on `time.monotonic`'s clock; now, if None.
        photos: photos(name of a part of the split, how many) -> its first images at the size that the classifier
            takes, in batches; needed where that is not the size of `split`.
        notes: what the user should know of the images.
    """

    def __init__(
        self,
        recipe: Recipe,
        split: Split,
        directory: Path,
        *,
        command: str,
        progress: Progress | None = None,
        joint: bool = False,
        budget: float | None = None,
        began: float | None = None,
        photos: Callable[[str, int], Iterator[Tensor]] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.recipe = recipe
        self.split = split
        self.directory = directory
        self.command = command
        self.progress = progress
        self.joint = joint
        self.seconds = budget
        self.began = time.monotonic() if began is None else began
        self.photos = photos
        self.notes = notes
        shape = tuple(split.fit.images.shape[1:])
        self.sizes: dict[str, Any] = {"channels": shape[0], "size": list(shape[1:])}
        self.count = len(recipe.classes)
        # A class counts where every part has images of it: one broken file may have been the only one.
        counts = [getattr(split, name).labels.bincount(minlength=self.count) for name in SPLIT_PARTS]
        self.present = torch.stack(counts).amin(dim=0).nonzero().flatten().tolist()
        self.checkpoints = directory / "checkpoints"
        self.budget: Budget | None = None
        sample = split.fit.floats(slice(0, 5000))
        self.pixels: dict[str, Any] = {
            "mean": round(float(sample.mean()), 4),
            "std": round(max(0.01, float(sample.std())), 4),
        }

    def make(self, only: Sequence[str] = ()) -> Bundle:
        """Make every part that is not there yet; with `only`, make these parts anew, and those that hold their results.

        Raises:
            UsageError: `only` names an unknown part, or one that cannot be made here.
            BundleError: one of them needs a part that is not there.
            DataError: there is nothing to tell apart, or no room.
            OutputError: the directory cannot be written to.
            FitError: a loss is no longer a finite number.
        """
        for name in only:
            if name not in MAKERS:
                raise unknown_name("part", name, MAKERS)
            why_not = self.why_not(name)
            if why_not is not None:
                raise UsageError(f"--only {name}: {why_not}")
        if len(self.present) < 2:
            raise DataError(f"{self.recipe.name}: images of one class only; a counterfactual needs at least two")
        self._make_room()
        if not (self.directory / "bundle.toml").exists():
            write_description(self.directory, self._description())
        stale = {name for part in only for name in HOLD.get(part, ()) if self.bundle.has(name)}
        names = [name for name in MAKERS if name in {*only, *stale} or (not only and self._is_wanted(name))]
        for place, name in enumerate(names):
            for needed in NEEDS.get(name, ()):
                if needed not in names[:place]:
                    self.bundle.must_have(needed)
        if self.seconds is not None:
            fits = [fit for name in names for fit in fits_of(name, self.present)]
            spent = self.checkpoints / "spent.json"
            if only:  # time of its own
                spent.unlink(missing_ok=True)
            self.budget = Budget(self.seconds, fits, spent, self.began)
        for name in names:
            self._make(name)
        self._note_left_out()
        bundle = self.bundle
        bundle.verify()
        if bundle.has("classifier"):
            test = self.split.test[:SHEET_CHOICE]
            probabilities = self.probabilities("test", len(test))
            draw_sheet(bundle, test.floats(), test.labels, probabilities, self.present)
        if not any(self._is_wanted(name) for name in PARTS):
            shutil.rmtree(self.checkpoints, ignore_errors=True)
        return bundle

    def _make(self, name: str) -> None:
        model, architecture, arguments = MAKERS[name](self)
        entry: dict[str, Any] = {"architecture": architecture, "arguments": arguments}
        round_to_stored(model)  # what is measured is what a user gets
        if name in MEASURES:
            entry["measured"] = MEASURES[name](self, model)
        if name in VERDICTS:
            good, because = VERDICTS[name](self, entry["measured"])
            entry |= {"verdict": "good" if good else "weak", "because": because}
        save_part(self.directory, name, model, entry, instead_of=HOLD.get(name, ()))
        for checkpoint in [f"{name}.ckpt", *(p.name for p in self.checkpoints.glob(f"{name}-*.ckpt"))]:
            (self.checkpoints / checkpoint).unlink(missing_ok=True)

    def _note_left_out(self) -> None:
        description = self.bundle.description
        if self.present != self.bundle.present:
            write_description(self.directory, {**description, "present": self.present})
            description = self.bundle.description
        left_out = {name: why for name in PARTS if (why := self.why_not(name)) and not self.bundle.has(name)}
        if left_out and description.get("left_out") != left_out:
            write_description(self.directory, {**description, "left_out": left_out})

    def _make_room(self) -> None:
        free = make_directory(self.checkpoints)
        if free < SPACE:
            raise DataError(
                f"{self.directory}: {free // 2**20} MB free, and models and checkpoints need up to "
                f"{SPACE // 2**20} MB; make room or choose a directory on another disk"
            )

    def _description(self) -> dict[str, Any]:
        engine = {} if self.recipe.engine is None else {"engine": self.recipe.engine}
        return {
            "schema": SCHEMA,
            "name": self.recipe.name,
            "classes": list(self.recipe.classes),
            "shape": [self.sizes["channels"], *self.sizes["size"]],
            "light_on_dark": self.recipe.light_on_dark,
            "recipe": self.command,
            **engine,
        }

    def _is_wanted(self, name: str) -> bool:
        return not self.bundle.has(name) and self.why_not(name) is None

    def why_not(self, name: str) -> str | None:
        """Why a part cannot be made here at all, or None."""
        if not (self.directory / "bundle.toml").exists():
            return None
        if name == "classifier" and self.bundle.is_foreign:
            return "the classifier is your own; begin another bundle with cfx init to explain another"
        if name == "retrained" and self.bundle.is_foreign:
            return "a classifier of your own cannot be trained again by cfx"
        if name == "autoencoders" and len(self.present) > MOST_AUTOENCODERS:
            return f"it takes one autoencoder a class, and {len(self.present)} classes are too many"
        return None

    @property
    def bundle(self) -> Bundle:
        """The bundle as far as it has been made."""
        return Bundle(self.directory)

    def fit(self, label: str, fit: Fit, *, judges: bool = False, of_class: int | None = None) -> None:
        """Run a fit with this workshop's checkpoints, progress and budget.

        Args:
            label: a part, or PART-something.
            fit: what to run.
            judges: whether its images are the judges'.
            of_class: the class that it is about, if it is about one.
        """
        held_out = self.split.judge_held_out if judges else self.split.held_out
        fit.held_out = held_out if of_class is None else held_out.of_class(of_class)
        if not len(fit.held_out):
            fit.held_out = None
        checkpoint = self.checkpoints / f"{label}.ckpt"
        begun = length_of(checkpoint)
        if begun is not None:
            fit.total_steps = begun
        elif self.budget is not None:
            fit.total_steps = self.budget.allot(label, fit)

        def report(done: int, total: int, losses: dict[str, float]) -> None:
            if self.budget is not None:
                self.budget.save()
            if self.progress is not None:
                self.progress(label, done, total, losses)

        try:
            fit.run(checkpoint, report)
        except FitError as error:
            raise FitError(f"{label}: {error}") from error
        if self.budget is not None:
            self.budget.done(label)

    @torch.no_grad()
    def probabilities(self, name: str, most: int | None = None) -> Tensor:
        """What the explained classifier says of the images, or the first `most`, of a part of the split, (N, K)."""
        data: Labelled = getattr(self.split, name)[:most]
        if self.photos is not None:
            classifier = self.bundle.classifier
            return torch.cat([classifier(images).softmax(dim=1) for images in self.photos(name, len(data))])
        return torch.cat([self.probabilities_of(part.floats()) for part in data.batches(1000)])

    @torch.no_grad()
    def probabilities_of(self, images: Tensor) -> Tensor:
        """What the explained classifier says of images (N, C, H, W) at the size that models work in, (N, K)."""
        bundle = self.bundle
        classifier = bundle.classifier
        return in_parts(lambda part: classifier(bundle.enlarge(part)).softmax(dim=1), images)


def is_finished(directory: Path) -> bool:
    """Whether the bundle in a directory has every part that can be made for it, and its contact sheet."""
    if (directory / "checkpoints").exists() or not all((directory / name).exists() for name in ("bundle.toml", SHEET)):
        return False
    bundle = Bundle(directory)
    left_out = bundle.description.get("left_out", {})
    return all(bundle.has(name) or name in left_out for name in PARTS)


def open_workshop(
    name: str,
    data: Path,
    directory: Path,
    *,
    progress: Progress | None = None,
    joint: bool = False,
    budget: float | None = None,
) -> Workshop:
    """Read the data set of a recipe of `RECIPES` and set up the directory in which it is followed.

    Raises:
        UsageError: no such recipe.
        DataError: the data set is not below `data`.
    """
    began = time.monotonic()
    recipe = find_recipe(name)
    assert recipe.images is not None
    train, test = (load_torchvision(recipe.images, data, train) for train in (True, False))
    split = split_in_two(train, test, share=recipe.share)
    command = f"cfx train DIR --recipe {name} --data DATA" + (" --joint" if joint else "")
    return Workshop(
        recipe, split, directory, command=command, progress=progress, joint=joint, budget=budget, began=began
    )


def reopen_workshop(directory: Path, *, progress: Progress | None = None, budget: float | None = None) -> Workshop:
    """Read the images that a bundle names (`cfx init`) and go on with it.

    Raises:
        BundleError: it names none.
        DataError: they are not there any more, do not fit in memory, or too many are broken.
    """
    began = time.monotonic()
    bundle = Bundle(directory)
    if bundle.is_foreign:
        _ = bundle.classifier  # what is wrong with it is better known before an hour of training than after
    own = images_of(bundle)
    if own is None:
        raise BundleError(
            f"bundle {directory}: names no images to train on; begin with `cfx init`, or give the --recipe of it"
        )
    images, parts = own
    shape = (bundle.shape[0], *bundle.working)
    loaded: dict[str, Loaded] = {}
    for name in SPLIT_PARTS:

        def report(done: int, total: int, name: str = name) -> None:
            if progress is not None:
                progress(f"reading images ({name.replace('_', ' ')})", done, total, {})

        loaded[name] = images.load(parts[name], shape, fit=bundle.fit, report=report)
    split = Split(**{name: part.data for name, part in loaded.items()})
    recipe = recipe_for(
        bundle.name,
        bundle.classes,
        shape,
        len(split.fit),
        light_on_dark=bundle.light_on_dark,
        flip=bundle.description["images"].get("flip", False),
    )

    def photos(name: str, count: int) -> Iterator[Tensor]:
        for indices in loaded[name].indices[:count].split(PHOTOS_AT_ONCE):
            yield images.load(indices, bundle.shape, fit=bundle.fit).data.floats()

    notes = [f"left out: {sentence}" for part in loaded.values() for sentence in part.broken]
    used, too_few = sum(len(parts[name]) for name in SPLIT_PARTS), int(images.counts()[parts["too_few"]].sum())
    if used + too_few < len(images):
        notes.append(f"{used} of {len(images)} images are used, drawn at random: no more than {MOST_IMAGES} for a part")
    return Workshop(
        recipe,
        split,
        directory,
        command="cfx train DIR",
        progress=progress,
        budget=budget,
        began=began,
        photos=photos if bundle.is_carried else None,
        notes=tuple(notes),
    )
