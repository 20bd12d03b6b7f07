"""A benchmark from its settings to its summary: the work of `cfx bench`, without the terminal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from ..answers.pipeline import AnswerOptions
from ..answers.policies import LABEL, POLICIES
from ..answers.region import Allowed
from ..answers.style import typical_of
from ..bundles.bundle import Bundle
from ..bundles.own_images import images_for_testing
from ..counterfactuals.engine import Engine
from ..counterfactuals.registry import engine_names, plugin_of
from ..errors import UsageError
from ..files import expanded
from ..images.sets.labelled import Labelled
from ..images.sets.torchvision_sets import name_in_torchvision
from ..metrics.evaluate import with_lpips
from ..metrics.perceptual import backbone_digest
from ..progress import SILENT, Progress
from ..reports.summary import Summary
from ..runs.directory import PAGE, RunDirectory
from ..runs.identity import code_digest, digest, package_of
from ..runs.inputs import DataSetInputs, FileInputs, Inputs, Listed, check_rows, open_inputs, read_targets
from ..runs.manifest import versions
from ..training.recipe import RECIPES
from .controls import controls, is_control
from .finish import finish
from .questions import QuestionSampler
from .run import Run, run_directory
from .runner import Runner, batch_size_for
from .settings import Settings

DEFAULT_COUNT = 1000


class Benchmark:
    """A benchmark of some engines on some images.

    Args:
        bundle: holds the models.
        engines: engines to compare, by name.
        settings: all other settings.
        command: the command as it was typed, for the manifest.

    Raises:
        UsageError, DataError, ImageError: the images, the data set or the targets are missing or unusable.
    """

    def __init__(
        self, bundle: Bundle, engines: dict[str, Engine], settings: Settings, command: Sequence[str] = ()
    ) -> None:
        self.bundle = bundle
        self.settings = settings
        self.command = list(command)
        self.targets = self._read_targets()
        region = settings.region
        size = (bundle.shape[1], bundle.shape[2])
        self.within = None if region is None else Allowed(box=region).within(bundle.name, size, None)
        self.typical = typical_of(bundle, settings.style)
        self.inputs = self._open_inputs()
        self.engines = dict(engines)
        if settings.controls:
            self.engines |= controls(bundle, self.inputs, settings.confidence, settings.seed)
        self.config = self._config()
        self.directory = settings.out or Path("runs") / f"{bundle.name}-{digest(self.config)}"

    def open(self) -> AbstractContextManager[bool]:
        """Lock the run's directory; yields whether the run was begun before. If not, call `sample`.

        Raises:
            UsageError, DataError, OutputError: as `RunDirectory.held`.
        """
        return self._run_directory.held(self.config, fresh=self.settings.fresh)

    @property
    def _run_directory(self) -> RunDirectory:
        return run_directory(self.directory)

    def sample(self, progress: Progress = SILENT) -> None:
        """Sample the questions, and write the manifest, which lists unreadable images.

        Raises:
            DataError, OutputError: as `QuestionSampler.sample`.
        """
        bundle = self.bundle
        sampler = QuestionSampler(bundle, self.inputs, self.directory, seed=self.settings.seed)
        with progress.task("reading", self.count) as task:
            sampler.sample(self.targets, self.count, task)
        about = self.inputs.notes if isinstance(self.inputs, FileInputs) else []
        for note in (*about, *sampler.notes):
            progress.note(note)
        size = self.settings.batch_size or batch_size_for(bundle)
        device = bundle.device.type
        self._run_directory.begin(
            self.config,
            command=self.command,
            batch_size=size,
            device=device,
            inputs=self._names(),
            unreadable=sampler.unreadable,
        )

    def load(self) -> Run:
        """Read the run, with the answers so far.

        Raises:
            DataError: the run is damaged.
        """
        return Run.load(self.directory)

    def finished_summary(self, run: Run) -> Summary | None:
        """The summary of a run that needs no more work; None if there is none, or it is of other records."""
        if run.missing(self.engines) is not None or not (run.directory / PAGE).exists():
            return None
        try:
            summary = Summary.read(run.directory)
        except UsageError:  # the run was killed after the last record and before the summary
            return None
        return summary if summary.records == self._run_directory.records_digest() else None

    def answer(self, run: Run, progress: Progress = SILENT) -> Summary:
        """Answer the open questions, and return the summary, which `write_results` writes."""
        metrics = with_lpips() if self.settings.lpips else None
        settings = self.settings
        options = AnswerOptions(
            seed=settings.seed, metrics=metrics, count=settings.answers, typical=self.typical, memory=True
        )
        how = {"by_speed": self.settings.batch_size is None, "within": self.within}
        Runner(run, self.bundle, self.engines, run.manifest.batch_size, options, progress, **how).go()
        return finish(run, self.bundle, {name: is_control(name) for name in self.engines})

    @property
    def count(self) -> int | None:
        """Maximum number of images to ask about; None for all."""
        if self.settings.count is None and self.settings.images is None and not isinstance(self.targets, Listed):
            return DEFAULT_COUNT
        return self.settings.count

    def _read_targets(self) -> str | Listed:
        wanted, images = self.settings.targets, self.settings.images
        if wanted in POLICIES:
            return wanted
        listed = read_targets(expanded(wanted), self.bundle.classes, None if images is None else expanded(images))
        bundle = self.bundle
        check_rows(
            {
                line: f"{wanted}: line {line}: bundle {bundle.name} was trained without images of "
                f"{bundle.classes[target]!r}"
                for rows in listed.asked
                for line, target in rows
                if target not in bundle.present
            }
        )
        return listed

    def _open_inputs(self) -> Inputs:
        if isinstance(self.targets, Listed):
            return FileInputs(self.targets.paths, self.bundle, self.settings.window)
        if self.settings.images is not None:
            settings = self.settings
            return open_inputs(
                self.bundle,
                self.settings.images,
                recursive=settings.recursive,
                window=settings.window,
                labelled=settings.targets == LABEL,
            )
        name = self.bundle.name
        own = images_for_testing(self.bundle)
        if own is not None:
            return DataSetInputs(Labelled(own.images, self.bundle.labelling.classes_of(own.labels)), f"{name} test")
        return DataSetInputs(shipped_test_images(self.bundle, self.settings.data), f"{name} test")

    def _names(self) -> dict[str, str]:
        """Where the images and the targets come from."""
        settings = self.settings
        images = f"{self.bundle.name} test"
        if isinstance(self.inputs, FileInputs):
            images = (
                "those of the targets file" if settings.images is None else str(expanded(settings.images).resolve())
            )
        listed = isinstance(self.targets, Listed)
        return {"images": images, "targets": str(expanded(settings.targets).resolve()) if listed else settings.targets}

    def _code_of(self, name: str) -> str | None:
        """The digest of the code of an engine of another package, whose version stays while its author works on it."""
        package = package_of(type(self.engines[name]))
        return None if package is None else code_digest(package)

    def _config(self) -> dict[str, object]:
        """Everything that the records depend on, except for the machine: contents, not the names of files."""
        settings, bundle = self.settings, self.bundle
        targets: str | dict[str, str] = settings.targets
        if isinstance(self.targets, Listed):
            targets = {"sha256": hashlib.sha256(expanded(settings.targets).read_bytes()).hexdigest()}
        needed = {name for engine in self.engines.values() for name in (*engine.needs, *engine.uses)}
        used = [name for name in bundle.parts if name == bundle.explained or name in needed or bundle.judges.has(name)]
        installed = {name: plugin_of(name) for name in self.engines if name in engine_names()}
        plugins = {name: plugin for name, plugin in installed.items() if plugin is not None}
        return {
            "versions": {name: versions()[name] for name in ("cfx", "torch")},
            "code": code_digest(),
            "plugins": plugins,
            "plugin_code": {name: self._code_of(name) for name in plugins},
            "bundle": {"name": bundle.name, "digest": bundle.digest},
            "parts": bundle.digests(used),
            "classifier": bundle.explained,
            "engines": {name: engine.settings() for name, engine in self.engines.items()},
            "images": {"count": len(self.inputs), "sha256": self.inputs.digest()},
            "scale": str(self.inputs.scale) if isinstance(self.inputs, FileInputs) and self.inputs.scale else None,
            "count": self.count,
            "targets": targets,
            "seed": settings.seed,
            "confidence": settings.confidence,
            **({} if settings.region is None else {"region": list(settings.region)}),
            **({} if settings.answers == 1 else {"answers": settings.answers}),
            **({} if settings.style == "minimal" else {"style": settings.style}),
            "batch_size": settings.batch_size or "auto",
            "device": bundle.device.type,
            "lpips": backbone_digest() if settings.lpips else None,
        }


def shipped_test_images(bundle: Bundle, data: Path | None) -> Labelled:
    """The test split of the data set that a shipped bundle was trained on.

    Args:
        bundle: a bundle with the name of a recipe.
        data: directory of torchvision's data sets.

    Raises:
        UsageError: there is no recipe of this name, or `data` is None.
        DataError: the data set is missing.
    """
    recipe = RECIPES.get(bundle.name)
    if recipe is None or recipe.images is None:
        raise UsageError(
            f"bundle {bundle.name}: cfx knows no data set of that name; give a directory of images with --images"
        )
    if data is None:
        raise UsageError(
            f"no images to ask about: give a directory of images (--images), or the directory of "
            f"{name_in_torchvision(recipe.images)} in torchvision's layout (--data, or CFX_DATA)"
        )
    images, split = recipe.open(data)
    return images.load(split.test, bundle.shape).data
