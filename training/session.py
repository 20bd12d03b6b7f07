"""Makes a bundle from images, part by part; a killed session can be resumed.

A part is done once bundle.toml lists it. Checkpoints of unfinished fits are in `checkpoints/` beside it, and the same
command resumes from them. They are removed when every part is done.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..bundles.entries import PartEntry, Trained
from ..bundles.file import BundleFile
from ..bundles.finding import NAME
from ..bundles.weights import round_to_stored
from ..errors import DataError, UsageError, unknown_name
from ..files import locked, make_directory
from ..images.sets.labelled import Labelled
from ..images.sets.split import Split
from ..progress import SILENT, Progress
from .context import Names, Photos, TrainingContext
from .part import Part, Verdict
from .parts import parts_of, wanted_by, wanted_parts
from .recipe import Recipe
from .schedule import SPENT, Schedule
from .sheet import NAME as SHEET
from .sheet import draw_sheet

SPACE = 400 * 2**20  # bytes of disk that a bundle and its checkpoints need at most


class TrainingSession:
    """Makes the parts of a recipe in one directory.

    Args:
        recipe: what to make.
        split: the images at the working resolution; judges never share images with the models that they score.
        directory: of the bundle; if it has a bundle.toml with a classifier, that one is explained.
        command: recorded in bundle.toml as the way to remake it.
        progress: receives every fit as a task.
        joint: train classifier and conditional VAE in one loss.
        budget: seconds for all parts; None runs each fit for as long as the recipe says.
        began: start of the budget's time, on `time.monotonic`'s clock; now, if None.
        device, photos, names: as in `TrainingContext`.
        notes: what the user should know about the images.
    """

    def __init__(
        self,
        recipe: Recipe,
        split: Split[Labelled],
        directory: Path,
        *,
        command: str,
        progress: Progress = SILENT,
        joint: bool = False,
        budget: float | None = None,
        began: float | None = None,
        device: str = "cpu",
        photos: Photos | None = None,
        names: Names | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.context = TrainingContext(
            recipe, split, directory, progress=progress, photos=photos, names=names, device=device
        )
        self.parts = parts_of(recipe, joint=joint)
        self.directory = directory
        self.command = command
        self.seconds = budget
        self.began = time.monotonic() if began is None else began
        self.notes = notes

    @property
    def bundle(self) -> Bundle:
        """The bundle with the parts made so far."""
        return self.context.bundle

    @property
    def seconds_left(self) -> float | None:
        """Seconds of the budget that are left; None without one."""
        budget = self.context.budget
        return None if budget is None else budget.left

    def held_out_photos(self, count: int = 60) -> Tensor:
        """Images on which no part was trained, (N, C, H, W) in [0, 1], at the classifier's resolution."""
        return torch.cat([*self.context.photos("held_out", count)])[:count]

    def make(self, only: Sequence[str] = (), *, more: bool = False) -> Bundle:
        """Make every missing part; with `only`, remake these parts and those that they invalidate.

        Args:
            only: names of parts.
            more: go on training the weak and useless parts, of those that `only` names if it does, from their weights.

        Raises:
            UsageError: `only` names an unknown part, or one that cannot be made for this bundle; or another process
            trains the bundle, or it is one of another recipe.
            BundleError: one of them needs a part that is missing.
            DataError: there are fewer than two classes, or not enough disk space.
            OutputError: the directory cannot be written to.
            FitError: a loss is NaN or infinite.
        """
        context = self.context
        check_is_of(context.recipe, self.directory)
        self._check(only)
        if len(context.present) < 2:
            raise DataError(f"{context.recipe.name}: images of one class only; a counterfactual needs at least two")
        self._make_room()
        # What a part draws at random or counts up is made on the device; the CPU's default costs nothing this way.
        on_device = nullcontext() if context.device.type == "cpu" else context.device
        with locked(context.checkpoints / ".lock"), on_device:
            return self._make_all(only, more=more)

    def _make_all(self, only: Sequence[str], *, more: bool) -> Bundle:
        context = self.context
        if not context.has_bundle:
            self._new_file().write(self.directory)
        self._want(only)
        command = " ".join(["more"] * more + sorted(only))
        parts = self._parts_to_go_on_with(only) if more else self._parts_to_make(only)
        made: set[str] = set()
        for part in parts:
            for needed in part.needs:
                if needed not in made:
                    context.bundle.must_have(needed)
            made |= set(part.makes)
        if self.seconds is not None:
            schedule = Schedule(context, self.seconds, self.began)
            if not command:
                parts = schedule.affordable(parts)
            context.budget = schedule.budget(parts, command)
            context.seconds_per_weight = schedule.seconds_per_weight
        if more:
            names = [name for part in parts for name in part.makes if self.bundle.has(name)]
            context.earlier = {name: self.bundle.part(name) for name in names}
        for part in parts:
            self._make(part)
        for part in self.parts:  # a verdict may depend on a part that was made later, or on another classifier
            known = [context.bundle.parts[name] for name in part.makes if context.bundle.has(name)]
            if part in parts or any(entry.verdict for entry in known):
                self._update_verdict(part)
        self._note_left_out()
        bundle = context.bundle
        bundle.verify()
        if bundle.has("classifier"):
            draw_sheet(context, self.parts)
        (context.checkpoints / SPENT).unlink(missing_ok=True)  # the command is done
        if not any(self._is_wanted(part) for part in self.parts):
            shutil.rmtree(context.checkpoints, ignore_errors=True)
        return bundle

    def _check(self, only: Sequence[str]) -> None:
        by_name = {name: part for part in self.parts for name in part.makes}
        for name in only:
            if name not in by_name:
                raise unknown_name("part", name, by_name)
            why_not = by_name[name].left_out(self.context)
            if why_not is not None:
                raise UsageError(f"--only {name}: {why_not}")

    def _want(self, only: Sequence[str]) -> None:
        """Add optional parts named in `only` to the parts that the bundle needs to be complete."""
        wanted = wanted_by(self.bundle.file)
        optional = tuple(name for name in only if name not in wanted)
        if optional:
            self.bundle.update(wanted=(*wanted, *optional))

    def _parts_to_make(self, only: Sequence[str]) -> list[Part]:
        """The parts in the order in which they are made."""
        if not only:
            return [part for part in self.parts if self._is_wanted(part)]
        named = [part for part in self.parts if not {*part.makes}.isdisjoint(only)]
        # A part that an interrupted command has invalidated has a file, but no entry in bundle.toml any more.
        stale = {
            name
            for part in named
            for name in part.invalidates
            if self.bundle.has(name) or (self.directory / f"{name}.safetensors").exists()
        }
        return [part for part in self.parts if part in named or not stale.isdisjoint(part.makes)]

    def _parts_to_go_on_with(self, only: Sequence[str]) -> list[Part]:
        """The weak and useless parts, of those that `only` names if it does, and those that they invalidate."""
        found = [name for name, entry in self.bundle.parts.items() if entry.verdict in ("weak", "useless")]
        chosen = [name for name in found if not only or name in only]
        return self._parts_to_make(chosen) if chosen else []

    def _make(self, part: Part) -> None:
        context = self.context
        if part.in_trial and (context.bundle.file.trial or context.bundle.file.reach):
            context.bundle.update(trial={}, reach=None)
        for name, made in part.make(context).items():
            round_to_stored(made.model)  # measure the model as it will be stored
            measured = part.measure(context, name, made.model)
            entry = PartEntry(
                architecture=type(made.model).__name__,
                arguments=made.arguments,
                measured=measured,
                trained=None if context.budget is None else trained_in(context, part),
            )
            entry = with_verdict(entry, part.verdict(context, name, measured))
            context.bundle.save_part(name, made.model, entry, instead_of=part.invalidates)
        for label in part.fits(context.present):
            (context.checkpoints / f"{label}.ckpt").unlink(missing_ok=True)

    def _update_verdict(self, part: Part) -> None:
        """Write the verdict on a part to bundle.toml if it has changed since the part was made."""
        bundle = self.bundle
        for name in part.makes:
            entry = bundle.parts[name]
            if entry.foreign is not None:
                continue
            updated = with_verdict(entry, part.verdict(self.context, name, dict(entry.measured)))
            if updated != entry:
                bundle.update(parts={**bundle.parts, name: updated})

    def _note_left_out(self) -> None:
        context, bundle = self.context, self.context.bundle
        if context.bundle.labelling.classes_of(torch.tensor(context.present)).tolist() != bundle.present:
            bundle.update(present=tuple(context.present))
        reasons = {name: part.left_out(context) for part in self.parts for name in part.makes}
        left_out = {name: why for name, why in reasons.items() if why and not bundle.has(name)}
        if dict(bundle.file.left_out) != left_out:
            bundle.update(left_out=left_out)

    def _make_room(self) -> None:
        free = make_directory(self.context.checkpoints)
        if free < SPACE:
            raise DataError(
                f"{self.directory}: only {free // 2**20} MB free, but models and checkpoints need up to "
                f"{SPACE // 2**20} MB; free some space or choose a directory on another disk"
            )

    def _new_file(self) -> BundleFile:
        recipe, sizes = self.context.recipe, self.context.sizes
        return BundleFile(
            name=recipe.name,
            classes=recipe.classes,
            shape=(sizes["channels"], *sizes["size"]),
            light_on_dark=recipe.light_on_dark,
            recipe=self.command,
            engine=recipe.engine,
            settings=recipe.settings,
            wanted=(*wanted_parts(), *recipe.also),
        )

    def _is_wanted(self, part: Part) -> bool:
        """Whether the bundle wants a model of this part, does not have it, and it can be made."""
        wanted = wanted_by(self.bundle.file)
        missing = any(name in wanted and not self.bundle.has(name) for name in part.makes)
        return missing and part.left_out(self.context) is None


def with_verdict(entry: PartEntry, verdict: Verdict | None) -> PartEntry:
    """A part's entry in bundle.toml with a verdict added."""
    if verdict is None:
        return entry
    return replace(entry, verdict=verdict.grade, because=verdict.because)


def trained_in(context: TrainingContext, part: Part) -> Trained | None:
    """How the fits of a part went, together; None if it has none."""
    fits = [context.trained[label] for label in part.fits(context.present) if label in context.trained]
    if not fits:
        return None
    return Trained(
        steps=sum(fit.steps for fit in fits),
        planned=sum(fit.planned for fit in fits),
        seconds=round(sum(fit.seconds for fit in fits), 1),
        cut_short=any(fit.cut_short for fit in fits),
    )


def check_is_of(recipe: Recipe, directory: Path) -> None:
    """Raise a UsageError if the directory holds a bundle of another recipe, whose parts must not be mixed with it."""
    if not (directory / NAME).exists():
        return
    file = BundleFile.read(directory)
    if (file.name, file.classes) != (recipe.name, recipe.classes):
        raise UsageError(
            f"{directory}: holds the bundle {file.name!r}, not one of the recipe {recipe.name!r}; "
            "choose another directory"
        )


def is_finished(directory: Path) -> bool:
    """Whether the bundle in a directory has its contact sheet and every wanted part that can be made."""
    if (directory / "checkpoints").exists() or not all((directory / name).exists() for name in (NAME, SHEET)):
        return False
    bundle = Bundle(directory)
    return all(bundle.has(name) or name in bundle.file.left_out for name in wanted_by(bundle.file))
