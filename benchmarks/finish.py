"""What is computed once a run is complete: the metrics of whole sets, the summary, the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..judges.residual import ResidualNet
from ..metrics.sets import diversity, split_frechet
from .page import Entry, write_page
from .pairs import load_pictures, target_indices
from .run import PAGE, Run, image_file
from .summary import gather, summarise, write_summary

AT_ONCE = 500  # pictures


def finish(run: Run, bundle: Bundle, is_control: Mapping[str, bool]) -> dict[str, Any]:
    """Write summary.json and index.html of a run whose every question is answered; returns the summary.

    Args:
        run: the run.
        bundle: brings the judge whose features the Fréchet distance is taken in.
        is_control: by engine, in the order of the tables.
    """
    answers = gather(run.records(), len(run.pairs), is_control)
    notes = list(dict.fromkeys(note for record in run.records() for note in record.notes))
    distances, without = Frechet(run, bundle), dict[str, list[str]]()
    for name, about in answers.items():
        rows = torch.from_numpy(about.valid | about.control)
        about.sets["frechet"], why = distances.of(name, rows)
        about.sets["diversity"] = mean_diversity(run, bundle, name, rows)
        if why:
            without.setdefault(why, []).append(name)
    notes += [f"frechet: {why} ({', '.join(names)})" for why, names in without.items()]
    summary = summarise(answers, bundle={"name": bundle.name, "digest": bundle.digest}, notes=notes)
    # The page first: a run is finished once it has a summary.
    write_page(run.directory / PAGE, title=title(run), facts=facts(run), summary=summary, entries=entries(run))
    write_summary(run.directory, summary)
    return summary


class Frechet:
    """Fréchet distances of engines' counterfactuals to the run's own factuals, in the judge's features."""

    def __init__(self, run: Run, bundle: Bundle) -> None:
        self.run = run
        self.bundle = bundle
        images = list(dict.fromkeys(pair.factual_image for pair in run.pairs))
        places = {image: place for place, image in enumerate(images)}
        self.image_ids = torch.tensor([places[pair.factual_image] for pair in run.pairs])
        self.targets = target_indices(run.pairs, bundle.classes, torch.device("cpu"))
        names = {name: index for index, name in enumerate(bundle.classes)}
        self.classes = torch.tensor([names[pair.factual.name] for pair in run.pairs])
        self.factuals = self._features(images)[self.image_ids] if bundle.has("judge") else None

    def of(self, engine: str, rows: Tensor) -> tuple[float | None, str]:
        """The distance of one engine's answers `rows` (N,) bool, or None and why."""
        if self.factuals is None:
            return None, "the bundle has no judge"
        if not rows.any():
            return None, "it has no valid counterfactual"
        chosen = rows.nonzero().squeeze(1)
        features = self._features([image_file(engine, pair) for pair in chosen.tolist()])
        return split_frechet(
            features, self.targets[chosen], self.factuals[chosen], self.classes[chosen], self.image_ids[chosen]
        )

    @torch.inference_mode()
    def _features(self, files: Sequence[str]) -> Tensor:
        judge = self.bundle.judges.part("judge", ResidualNet)
        parts = [files[start : start + AT_ONCE] for start in range(0, len(files), AT_ONCE)]
        pictures = ([self.run.directory / name for name in part] for part in parts)
        return torch.cat([judge.embed(self.bundle.shrink(load_pictures(part, self.bundle))).cpu() for part in pictures])


def mean_diversity(run: Run, bundle: Bundle, engine: str, rows: Tensor) -> float | None:
    """How varied an engine's answers to one image are, averaged over the images that have several; None if none has."""
    groups: dict[str, list[int]] = {}
    for pair in run.pairs:
        if rows[pair.pair]:
            groups.setdefault(pair.factual_image, []).append(pair.pair)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return None
    directory = run.directory
    sets = (load_pictures([directory / image_file(engine, pair) for pair in group], bundle) for group in several)
    return sum(cast(float, diversity(images)) for images in sets) / len(several)


def title(run: Run) -> str:
    """What stands above the page."""
    return f"cfx bench: {run.config['bundle']['name']}, {len(run.pairs)} questions"


def facts(run: Run) -> dict[str, str]:
    """What the figures depend on, for people."""
    manifest, config, machine = run.manifest, run.config, run.manifest["machine"]
    return {
        "command": shlex.join(manifest["command"]),
        "begun": manifest["begun"],
        "images": str(config["images"] or "those of the targets file"),
        "targets": str(config["targets"]),
        "confidence": f"{config['confidence']:g}",
        "seed": str(config["seed"]),
        "bundle": f"{config['bundle']['name']}, sha256 {config['bundle']['digest'][:12]}",
        "versions": ", ".join(f"{name} {number}" for name, number in manifest["versions"].items()),
        "machine": ", ".join(f"{key} {value}" for key, value in machine.items() if value),
    }


def entries(run: Run) -> Iterator[Entry]:
    """Every answer, with its pictures, for the gallery."""
    for record in run.records():
        yield Entry(
            input=record.input,
            engine=record.engine,
            factual=record.factual.name,
            factual_confidence=record.factual.confidence,
            target=record.target,
            found=record.counterfactual.name,
            confidence=record.confidence,
            valid=record.valid,
            metrics=record.metrics,
            factual_png=(run.directory / record.factual_image).read_bytes(),
            counterfactual_png=(run.directory / record.image).read_bytes(),
        )
