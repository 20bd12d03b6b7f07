"""Finishes a run: computes the metrics of whole sets, and writes the summary and the page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from ..answers.question import indices_of, targets_of
from ..bundles.bundle import Bundle
from ..judges.residual import ResidualNet
from ..memory import return_freed_memory
from ..metrics.evaluate import in_sentences, score_set
from ..metrics.scene import SetScene
from ..reports.figures import figures
from ..reports.gallery import GalleryItem
from ..reports.page import Page
from ..reports.sections.engines import glossary_of
from ..reports.sections.gallery import Gallery
from ..reports.summary import BundleName, Summary
from ..runs.directory import PAGE, SUMMARY
from ..runs.inputs import Inputs
from .nearest import against_nearest
from .questions import load_pictures
from .run import Run, image_file
from .summary import gather, summarise
from .unasked import Unasked

BATCH_SIZE = 500  # images in a batch


def finish(
    run: Run,
    bundle: Bundle,
    is_control: Mapping[str, bool],
    pools: Mapping[str, int] | None = None,
    inputs: Inputs | None = None,
) -> Summary:
    """Summarise a run whose questions are all answered. `write_results` writes the summary.

    Args:
        run: the run.
        bundle: holds the judge whose features the Fréchet distance is computed with.
        is_control: whether each engine is a control, in the order of the tables.
        pools: for controls that choose from real images, how many there are.
        inputs: the images that the questions were sampled from, if these are to be tested on; None: nothing is.
    """
    columns = gather(run.answers, len(run.questions), is_control, run.failed)
    for name, count in (pools or {}).items():
        columns[name].pool = count
    notes = [*against_nearest(columns), *missing_notes(run)]
    sets = Sets(run, bundle, inputs)
    return_freed_memory()
    without: dict[tuple[str, str], list[str]] = {}
    for name, each in columns.items():
        values, missing = score_set(sets.of(name, torch.from_numpy(each.valid | (each.control & each.answered))))
        each.sets |= values
        return_freed_memory()
        for metric, why in missing.items():
            without.setdefault((metric, why), []).append(name)
    notes += [f"{metric}: {why} ({', '.join(names)})" for (metric, why), names in without.items()]
    return replace(
        summarise(columns, bundle=BundleName(name=bundle.name, digest=bundle.digest), notes=notes),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        records=run.directory.records_digest(),
    )


def write_results(run: Run, summary: Summary) -> None:
    """Write index.html and summary.json of a finished run.

    Raises:
        OutputError: one of them could not be written.
        DataError: a picture of the run could not be read.
    """
    items = (GalleryItem.of_run(answer, run.path) for answer in run.answers)
    gallery = Gallery.of(items, controls=summary.controls, elsewhere="the figures are over all answers")
    glossary = glossary_of(summary.engines)
    page = Page(title=title(run), facts=facts(run), sections=[glossary, *figures(summary), gallery])
    run.directory.list_files((PAGE, SUMMARY))
    # The page is written first, because a run with a summary counts as finished.
    page.write(run.path / PAGE)
    summary.write(run.path)


LISTED = 10  # different notes of answers; more are counted


def missing_notes(run: Run) -> list[str]:
    """The reasons why metrics have no value, and the answers' first notes, each once."""
    reasons = in_sentences(pair for answer in run.answers for pair in answer.missing.items())
    notes = [*dict.fromkeys(note for answer in run.answers for note in answer.notes)]
    failed = [
        f"{name}: no attempt at {len(failures)} of {len(run.questions)} questions, such as "
        f"{failures[0].question.source.name}: {failures[0].reason}"
        for name, failures in run.failures.items()
    ]
    rest = [f"{len(notes) - LISTED} more notes are in the records"] if len(notes) > LISTED else []
    return [*failed, *dict.fromkeys(reasons), *notes[:LISTED], *rest]


class Sets:
    """The counterfactuals of whole engines as sets, with the run's factuals to compare them with."""

    def __init__(self, run: Run, bundle: Bundle, inputs: Inputs | None = None) -> None:
        self.run = run
        self.bundle = bundle
        files = list(dict.fromkeys(str(question.file) for question in run.questions))
        places = {file: place for place, file in enumerate(files)}
        self.image_ids = torch.tensor([places[str(question.file)] for question in run.questions])
        factual_classes = indices_of((question.factual.name for question in run.questions), bundle)
        self.targets = bundle.labelling.labels_of(targets_of(run.questions, bundle)).cpu()
        self.factual_labels = bundle.labelling.labels_of(factual_classes).cpu()
        self.factuals = self._features(files)[self.image_ids] if bundle.judges.usable("judge") else None
        self.unasked = Unasked(bundle, inputs, run.questions)

    def of(self, engine: str, rows: Tensor) -> SetScene:
        """The set of one engine's answers; `rows` (N,) bool selects them."""
        chosen = rows.nonzero().squeeze(1)
        files = [image_file(engine, number) for number in chosen.tolist()]

        def features() -> tuple[Tensor, Tensor]:
            assert self.factuals is not None
            return self._features(files), self.factuals[chosen]

        def images(some: Sequence[int]) -> Tensor:
            return load_pictures([self.run.path / files[row] for row in some], self.bundle)

        return SetScene(
            targets=self.targets[chosen],
            factual_labels=self.factual_labels[chosen],
            image_ids=self.image_ids[chosen],
            features=None if self.factuals is None else features,
            images=images,
            reals=lambda: self.unasked.tests(chosen),
        )

    @torch.inference_mode()
    def _features(self, files: Sequence[str]) -> Tensor:
        judge = self.bundle.judges.part("judge", ResidualNet)
        batches = [files[start : start + BATCH_SIZE] for start in range(0, len(files), BATCH_SIZE)]
        paths = ([self.run.path / Path(name) for name in batch] for batch in batches)
        return torch.cat([judge.embed(self.bundle.shrink(load_pictures(batch, self.bundle))).cpu() for batch in paths])


def title(run: Run) -> str:
    """The title of the page."""
    bundle = BundleName.from_json(run.manifest.settings.need_table("bundle"))
    return f"cfx bench: {bundle.name}, {len(run.questions)} questions"


def facts(run: Run) -> dict[str, str]:
    """What the figures depend on, as text by name."""
    manifest, config = run.manifest, run.manifest.settings
    bundle = BundleName.from_json(config.need_table("bundle"))
    return {
        "command": shlex.join(manifest.command),
        "begun": manifest.begun,
        **manifest.inputs,
        "confidence": f"{config.need('confidence', float):g}",
        "seed": str(config.need("seed", int)),
        "bundle": f"{bundle.name}, sha256 {bundle.digest[:12]}",
        "versions": ", ".join(f"{name} {number}" for name, number in manifest.versions.items()),
        "machine": ", ".join(f"{key} {value}" for key, value in manifest.machine.items() if value),
    }
