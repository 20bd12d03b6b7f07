"""A benchmark from its settings to its summary: the work of `cfx bench`, without the terminal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..answers.loop import AnswerLoop
from ..answers.pipeline import AnswerOptions
from ..answers.policies import LABEL, POLICIES
from ..answers.region import Allowed
from ..answers.style import typical_of
from ..answers.targets import EveryTarget, LabelTarget, ListedTargets, RandomTarget, RunnerUpTarget, TargetPolicy, Which
from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Engine
from ..errors import UsageError
from ..files import expanded
from ..metrics.catalogue import BY_NAME
from ..metrics.evaluate import requested
from ..metrics.metric import TRAINING
from ..metrics.perceptual import backbone_digest
from ..progress import SILENT, Progress
from ..reports.summary import Summary
from ..runs.directory import PAGE
from ..runs.identity import RunIdentity
from ..runs.inputs import FileInputs, Inputs, check_trained, open_inputs, own_inputs, read_targets
from ..training.recipe import shipped_test_images
from .controls import FROM_A_POOL, controls, is_control, nearest_accepted
from .finish import finish
from .questions import QuestionSampler, Sample
from .run import Run, questions_file, run_directory
from .runner import Runner, batch_size_for
from .settings import NEAREST_ACCEPTED, Settings
from .training_images import OfBundle

DEFAULT_COUNT = 1000


class Benchmark:
    """A benchmark of some engines on some images.

    Args:
        bundle: holds the models.
        engines: engines to compare, by name.
        settings: all other settings.
        command: the command as it was typed, for the manifest.

    Attributes:
        directory: of the run; `held` with `identity` locks it, and if the run was not begun before, call `sample`.
        identity: everything that the records depend on.

    Raises:
        UsageError, DataError, ImageError: the images, the data set or the targets are missing or unusable.
    """

    def __init__(
        self, bundle: Bundle, engines: dict[str, Engine], settings: Settings, command: Sequence[str] = ()
    ) -> None:
        self.bundle = bundle
        self.settings = settings
        self.command = list(command)
        self.listed: ListedTargets | None = None
        region = settings.region
        size = (bundle.shape[1], bundle.shape[2])
        self.within = None if region is None else Allowed(box=region).within(bundle.name, size, None)
        self.typical = typical_of(bundle, settings.style)
        self.inputs = self._open_inputs()
        needs_training = any(TRAINING in BY_NAME[name].needs for name in settings.metrics)
        self.training = OfBundle(bundle, settings.data) if needs_training else None
        self.engines = dict(engines)
        if settings.controls:
            self.engines |= controls(bundle, self.inputs, settings.confidence, settings.seed)
        if region is None and settings.nearest:
            self.engines.setdefault(
                NEAREST_ACCEPTED, nearest_accepted(bundle, self.inputs, settings.confidence, settings.seed)
            )
        else:  # what the classifier accepts is the whole image, not a part of it in another
            self.engines.pop(NEAREST_ACCEPTED, None)
        self.identity = self._identity()
        self.directory = run_directory(settings.out or Path("runs") / f"{bundle.name}-{self.identity.digest}")

    def sample(self, progress: Progress = SILENT) -> None:
        """Sample the questions, and write the manifest, which lists unreadable images.

        Raises:
            DataError, OutputError: as `QuestionSampler.sample`.
        """
        sampler = QuestionSampler(self.bundle, self.inputs, self.directory, self._wanted())
        with progress.task("reading", self.count) as task:
            sampler.sample(task)
        for note in (*self.inputs.notes, *sampler.notes):
            progress.note(note)
        self.directory.begin(
            self.identity,
            command=self.command,
            device=self.bundle.device.type,
            inputs=self._names(),
            unreadable=sampler.unreadable,
            batch_size=self.settings.batch_size or batch_size_for(self.bundle),
            batch_sizes={},
            questions=questions_file(self.directory.path),
        )

    def _wanted(self) -> Sample:
        """Which questions are asked."""
        name, labels, seed = self.settings.targets, self.inputs.labels, self.settings.seed
        policies: dict[str, TargetPolicy] = {
            "random": RandomTarget(seed),
            "runner-up": RunnerUpTarget(),
            "all": EveryTarget(),
        }
        if name == LABEL:
            assert labels is not None
            return Sample(targets=LabelTarget(labels), which="wrong", count=self.count, seed=seed)
        which: Which = "all" if labels is None else "right"
        return Sample(targets=self.listed or policies[name], which=which, count=self.count, seed=seed)

    def load(self) -> Run:
        """Read the run, with the answers so far.

        Raises:
            DataError: the run is damaged.
        """
        return Run.load(self.directory.path)

    def finished_summary(self, run: Run) -> Summary | None:
        """The summary of a run that needs no more work; None if there is none, or it is of other records."""
        if run.missing(self.engines) is not None or not (run.path / PAGE).exists():
            return None
        try:
            summary = Summary.read(run.path)
        except UsageError:  # the run was killed after the last record and before the summary
            return None
        return summary if summary.records == run.directory.records_digest() else None

    def answer(self, run: Run, progress: Progress = SILENT) -> Summary:
        """Answer the open questions, and return the summary, which `write_results` writes."""
        settings = self.settings
        options = AnswerOptions(
            seed=settings.seed,
            also=requested(lpips=settings.lpips, strokes=settings.strokes) | frozenset(settings.metrics),
            count=settings.answers,
            typical=self.typical,
            memory=True,
            training=self.training,
        )
        loop = AnswerLoop(self.bundle, self.engines, options, run.batch_size, progress.note)
        Runner(run, loop, progress, by_speed=settings.batch_size is None, within=self.within).go()
        pools = {name: len(each.pool()) for name, each in self.engines.items() if isinstance(each, FROM_A_POOL)}
        return finish(run, self.bundle, {name: is_control(name) for name in self.engines}, pools, self.inputs)

    @property
    def count(self) -> int | None:
        """Maximum number of images to ask about; None for all."""
        if self.settings.count is None and self.settings.images is None and self.listed is None:
            return DEFAULT_COUNT
        return self.settings.count

    def _open_inputs(self) -> Inputs:
        """The images; and the targets, where a file lists them."""
        wanted, images, window = self.settings.targets, self.settings.images, self.settings.window
        if wanted not in POLICIES:
            directory = None if images is None else expanded(images)
            paths, self.listed = read_targets(expanded(wanted), self.bundle.classes, directory)
            check_trained(self.listed, self.bundle, wanted)
            return FileInputs(paths, self.bundle, window)
        if images is None:
            return own_inputs(self.bundle, lambda: shipped_test_images(self.bundle, self.settings.data))
        recursive, labelled = self.settings.recursive, wanted == LABEL
        return open_inputs(self.bundle, images, recursive=recursive, window=window, labelled=labelled)

    def _names(self) -> dict[str, str]:
        """Where the images and the targets come from."""
        settings = self.settings
        images = f"{self.bundle.name} test"
        if isinstance(self.inputs, FileInputs):
            images = (
                "those of the targets file" if settings.images is None else str(expanded(settings.images).resolve())
            )
        listed = self.listed is not None
        return {"images": images, "targets": str(expanded(settings.targets).resolve()) if listed else settings.targets}

    def _identity(self) -> RunIdentity:
        """Everything that the records depend on."""
        settings = self.settings
        targets: str | dict[str, str] = settings.targets
        if self.listed is not None:
            targets = {"sha256": hashlib.sha256(expanded(settings.targets).read_bytes()).hexdigest()}
        return RunIdentity.of(
            self.bundle,
            self.inputs,
            engines=self.engines,
            count=self.count,
            targets=targets,
            seed=settings.seed,
            confidence=settings.confidence,
            **({} if settings.region is None else {"region": list(settings.region)}),
            **({} if settings.answers == 1 else {"answers": settings.answers}),
            **({} if settings.style == "minimal" else {"style": settings.style}),
            **({} if not settings.metrics else {"metrics": list(settings.metrics)}),
            **({} if self.training is None else {"training_images": self.training.digest}),
            batch_size=settings.batch_size or "auto",
            lpips=backbone_digest() if settings.lpips else None,
            strokes=settings.strokes,
        )
