"""The loop of a run: batch by batch, engine by engine, search, score, write pictures, append records."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Counterfactuals, Engine
from ..images.writing import write_png
from ..memory import available, peak, restart_peak
from ..metrics.evaluate import evaluate
from .pairs import Pair, load_factuals, target_indices
from .records import Record, Seen, Value
from .run import Run, image_file

LARGEST = 256  # images; larger batches are not faster on a CPU
FLOATS_A_VALUE = 400  # measured: what a search holds for each value of an image, as a multiple of that value


def batch_size_for(bundle: Bundle) -> int:
    """A power of two that fits into half of the free memory, by what a search was measured to hold."""
    free = available(bundle.device)
    if free is None:
        return LARGEST // 4
    fitting = free // 2 // (4 * FLOATS_A_VALUE * prod(bundle.shape))
    return max(1, min(LARGEST, 2 ** max(0, int(fitting).bit_length() - 1)))


class Watcher(Protocol):
    """Who is told how a run goes on."""

    def done(self, engine: str, records: Sequence[Record], seconds: float) -> None:
        """An engine has answered these questions in so many seconds, scoring and writing included."""
        ...

    def note(self, text: str) -> None:
        """Something a user should know."""
        ...


@dataclass
class Runner:
    """Answers every question of a run that has no answer yet.

    Attributes:
        run: the run's directory and what it holds.
        bundle: the models.
        engines: what answers, by name; controls among them.
        batch_size: questions at once.
        seed: of whatever an engine draws at random.
        lpips: whether LPIPS is computed.
        watcher: told of every batch.
    """

    run: Run
    bundle: Bundle
    engines: Mapping[str, Engine]
    batch_size: int
    seed: int
    lpips: bool
    watcher: Watcher

    def go(self) -> None:
        """Answer what is missing. Batches begin where they would in a run that was never killed.

        Raises:
            OutputError: the disk is full; what was appended before stays.
            MemoryError, torch.OutOfMemoryError: not even one image fits.
        """
        warm: set[str] = set()
        start = 0
        while start < len(self.run.pairs):
            batch = self.run.pairs[start : start + self.batch_size]
            missing = [name for name in self.engines if not self._answered(name, batch)]
            try:
                if missing:
                    images = load_factuals(self.run.directory, batch, self.bundle)
                    targets = target_indices(batch, self.bundle.classes, self.bundle.device)
                    for name in missing:
                        if name not in warm:  # the first search pays for what later ones find ready
                            self.engines[name].search(self.bundle.classifier, images[:2], targets[:2], seed=self.seed)
                            warm.add(name)
                        self._answer(name, batch, images, targets)
            except Exception as error:
                if not is_out_of_memory(error) or self.batch_size == 1:
                    raise
                self.batch_size = max(1, self.batch_size // 2)
                self.watcher.note(f"out of memory; going on with --batch-size {self.batch_size}")
            else:
                start += len(batch)
                continue
            # Outside of the handler, whose traceback holds on to the tensors that did not fit.
            gc.collect()
            if self.bundle.device.type == "cuda":
                torch.cuda.empty_cache()

    def _answered(self, engine: str, batch: Sequence[Pair]) -> bool:
        return self.run.answered.get(engine, set()).issuperset(pair.pair for pair in batch)

    def _answer(self, name: str, batch: Sequence[Pair], images: Tensor, targets: Tensor) -> None:
        """Search, score and record a batch; of one that was half recorded, only the rest."""
        restart_peak(self.bundle.device)
        began = perf_counter()
        found = self.engines[name].search(self.bundle.classifier, images, targets, seed=self.seed)
        found.valid.tolist()  # waits for the device, which may still be at work
        seconds = perf_counter() - began
        highest = peak(self.bundle.device)
        count = len(batch)
        cost = {key: getattr(found, key).tolist() for key in ("steps", "forward_calls", "backward_calls")}
        cost["seconds"] = [seconds / count] * count
        cost["peak_memory_mb"] = [None if highest is None else highest / 1e6] * count
        records = record_batch(self.run, self.bundle, name, batch, images, found, cost, lpips=self.lpips)
        answered = self.run.answered.get(name, set())
        new = [record for record in records if record.pair not in answered]
        self.run.append(new)
        self.watcher.done(name, new, perf_counter() - began)


def record_batch(
    run: Run,
    bundle: Bundle,
    name: str,
    batch: Sequence[Pair],
    images: Tensor,
    found: Counterfactuals,
    cost: Mapping[str, Sequence[Value]],
    *,
    lpips: bool,
) -> list[Record]:
    """Score a batch of answers and write their pictures; the records are the caller's to append.

    Args:
        run: where the pictures go.
        bundle: brings the classifier and the judges.
        name: of the engine.
        batch: the questions.
        images: (N, C, H, W), their factuals.
        found: the answers.
        cost: by name, one value an answer; None where it is not known.
        lpips: whether LPIPS is computed.
    """
    scores = evaluate(bundle, images, found.targets, found, lpips=lpips)
    with torch.inference_mode():
        seen = bundle.classifier(found.images).softmax(dim=1).max(dim=1)
    classes, sure = seen.indices.tolist(), seen.values.tolist()
    records = []
    for row, (pair, values) in enumerate(zip(batch, scores.rows(), strict=True)):
        relative = image_file(name, pair.pair)
        write_png(run.directory / relative, found.images[row])
        records.append(
            Record(
                pair=pair.pair,
                engine=name,
                input=pair.input,
                factual=pair.factual,
                target=pair.target,
                counterfactual=Seen(bundle.classes[classes[row]], sure[row]),
                valid=bool(found.valid[row]),
                confidence=float(found.confidence[row]),
                metrics=values,
                cost={key: column[row] for key, column in cost.items()},
                factual_image=pair.factual_image,
                image=relative,
                notes=scores.notes,
            )
        )
    return records


def is_out_of_memory(error: Exception) -> bool:
    """Whether a search failed for want of memory; torch says so in a different way on each device."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in said or "out of memory" in said)
    )
