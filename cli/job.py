"""The work of `cfx explain`: batch by batch, read, search, score, write, print, forget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..counterfactuals.registry import DEFAULT_ENGINE
from ..files import make_directory
from .inputs import Batch, Inputs, look
from .naming import file_names, stems
from .options import class_index, load_engines, pick_device
from .request import Request

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from ..benchmarks.page import Entry
    from ..bundles.bundle import Bundle
    from ..counterfactuals.engine import Counterfactuals
    from ..metrics.evaluate import Scores
    from .answers import Tally
    from .record import Explanation
    from .render import Screen

    Compared = tuple[Explanation, Image, Image]
    """An answer, the factual and the counterfactual as pictures."""

CARDS = 4  # images up to which each gets a card; more get a line each
FRAME = 150  # milliseconds that a frame of the animation stands
HOLD = 8  # frames for which the animation rests at its end

DONE, ANSWERED_NO, UNREADABLE = 0, 1, 2


class Job:
    """One invocation: batch by batch, read, search, score, write, print, forget."""

    def __init__(self, request: Request, engine_names: Sequence[str], screen: Screen) -> None:
        self.request = request
        self.screen = screen
        self.names = list(engine_names)
        self.inputs = Inputs(request.images, request.invert, screen)
        self.all_valid = True
        self.stems: list[str] = []
        self.tallies: dict[str, Tally] = {}
        self.entries: list[Entry] = []

    def run(self) -> int:
        """Do it; returns the exit code."""
        request, screen = self.request, self.screen
        with screen.busy("loading torch"):
            self.inputs.find()
        paths = self.inputs.paths
        if not paths:
            return UNREADABLE
        self.stems = stems(paths)
        for path, stem in zip(paths, self.stems, strict=True):
            if stem != path.stem:
                screen.note(f"{path}: an earlier image is called {path.stem}, too; its results are named {stem}")
        with screen.busy("loading the models"):
            from ..bundles.bundle import load_bundle
            from ..memory import keep_freed_memory
            from ..metrics.evaluate import load_scoring

            keep_freed_memory()
            self.bundle: Bundle = load_bundle(request.bundle, pick_device(request.device))
            wanted = class_index(request.target, self.bundle)
            self.target_names = file_names(self.bundle.classes)
            everything = "all" in (request.engine or "").split(",")
            self.engines = load_engines(
                self.names or [self.bundle.engine or DEFAULT_ENGINE],
                self.bundle,
                request.confidence,
                leave_out=everything,
                note=screen.note,
            )
            load_scoring(self.bundle)
        for batch in self.inputs.batches(self.bundle, wanted, request.batch_size, len(self.engines)):
            make_directory(request.out)
            compared: list[list[Compared]] = [[] for _ in batch.places]
            for number, name in enumerate(self.engines):
                done = len(self.engines) * batch.places[0] + number * len(batch.places)
                for rows, compared_row in zip(self.answer(batch, name, done), compared, strict=True):
                    compared_row.append(rows)
            if len(self.engines) > 1:
                self.write_overviews(compared)
        if self.entries:
            from .html import write_answers

            page = write_answers(request, self.bundle, self.entries)
            screen.note(f"{page}: all answers, to look at")
        self.close()
        return UNREADABLE if self.inputs.unreadable else DONE if self.all_valid else ANSWERED_NO

    def answer(self, batch: Batch, name: str, done: int) -> list[Compared]:
        """One engine's answers for a batch: found, scored, written, then printed.

        Args:
            done: how many answers there were before, for the progress bar.

        Returns:
            For each image what the overview of all engines shows.
        """
        from time import perf_counter

        from ..images.writing import to_picture
        from ..metrics.evaluate import evaluate
        from .html import page_entry

        request, bundle = self.request, self.bundle
        total = len(self.inputs.paths) * len(self.engines)
        with self.screen.busy(f"searching with {name}", total=total, done=done) as advance:
            start = perf_counter()
            found = self.engines[name].search(
                bundle.classifier, batch.images, batch.targets, path=request.path, seed=request.seed
            )
            found.valid.tolist()  # waits for the device, which may still be at work
            seconds = (perf_counter() - start) / len(found)
            scores = evaluate(bundle, batch.images, batch.targets, found, lpips=request.lpips)
            answers = []
            for answer in self.explanations(batch, name, found, scores, seconds):
                answer = self.carried(answer, batch, found, len(answers))
                self.write(answer, batch, found, len(answers))
                if request.html:
                    self.entries.append(page_entry(answer, to_picture(batch.images[len(answers)])))
                answers.append(answer)
                advance()
        for row, answer in enumerate(answers):
            self.show(answer, batch.images[row], found.images[row])
        return [
            (answer, to_picture(batch.images[row]), to_picture(found.images[row])) for row, answer in enumerate(answers)
        ]

    def write_overviews(self, compared: Sequence[Sequence[Compared]]) -> None:
        """For each image of a batch one picture with a row an engine."""
        from ..images.writing import write_picture
        from .overview import draw_overview

        for rows in compared:
            panel = rows[0][0].files["panel"]
            stem, _, rest = panel.name.partition(f".{rows[0][0].engine}.")
            path = panel.with_name(f"{stem}.engines.{rest}")
            write_picture(path, draw_overview(rows))
            self.screen.note(f"{path}: all engines in one picture")

    def explanations(
        self, batch: Batch, name: str, found: Counterfactuals, scores: Scores, seconds: float
    ) -> Iterator[Explanation]:
        """What is to be said of each image of a batch."""
        from .record import Cost, Explanation

        request, bundle = self.request, self.bundle
        sights, _ = look(self.bundle, found.images)
        height, width = bundle.shape[1:]
        for row, values in enumerate(scores.rows()):
            place, target = batch.places[row], int(batch.targets[row])
            yield Explanation(
                input=self.inputs.paths[place],
                factual=batch.sights[row],
                target=bundle.classes[target],
                engine=name,
                settings=self.engines[name].settings(),
                counterfactual=sights[row],
                valid=bool(found.valid[row]),
                confidence=float(found.confidence[row]),
                threshold=request.confidence,
                pixels=height * width,
                scores=values,
                cost=Cost(
                    int(found.steps[row]),
                    int(found.forward_calls[row]),
                    int(found.backward_calls[row]),
                    seconds,
                ),
                bundle=bundle.name,
                digest=bundle.digest,
                device=str(bundle.device),
                seed=request.seed,
                files=self.names_of_files(self.stems[place], name, self.target_names[target]),
                notes=(*batch.notes[row], *scores.notes),
            )

    def names_of_files(self, stem: str, engine: str, target: str) -> dict[str, Path]:
        """Where the results of one image and engine go, by kind."""
        kinds = {"counterfactual": "png", "panel": "panel.png", "record": "json"}
        if self.request.path:
            kinds |= {"path": "path.png", "gif": "gif"}
        return {kind: self.request.out / f"{stem}.{engine}.{target}.{ending}" for kind, ending in kinds.items()}

    def carried(self, explanation: Explanation, batch: Batch, found: Counterfactuals, row: int) -> Explanation:
        """The same answer, with the photo's own size written beside it where models see less than all of it."""
        placement = batch.placements[row]
        if not (self.bundle.is_carried and placement.shrinks) or self.request.invert:
            return explanation
        from .full import write_full

        path = self.request.out / f"{explanation.files['counterfactual'].stem}.full.png"
        note = write_full(
            path,
            explanation.input,
            found.images[row] - batch.images[row],
            placement,
            self.bundle,
            target=int(batch.targets[row]),
            confidence=self.request.confidence,
        )
        files = {**explanation.files, "full": path}
        return replace(explanation, files=files, notes=(*explanation.notes, note))

    def write(self, explanation: Explanation, batch: Batch, found: Counterfactuals, row: int) -> None:
        """Write the files of one answer, the record last."""
        from ..files import write_text
        from ..images.writing import to_picture, write_gif, write_picture, write_png
        from .panel import draw_frames, draw_panel, draw_strip

        files = explanation.files
        write_png(files["counterfactual"], found.images[row])
        panel = draw_panel(explanation, to_picture(batch.images[row]), to_picture(found.images[row]))
        write_picture(files["panel"], panel)
        if found.path is not None:
            frames = [to_picture(frame) for frame in found.path[row]]
            sights, _ = look(self.bundle, found.path[row])
            write_picture(files["path"], draw_strip(explanation, frames, sights))
            animation = draw_frames(explanation, frames, sights)
            write_gif(files["gif"], [*animation, *animation[-1:] * HOLD], FRAME)
        write_text(files["record"], explanation.as_json() + "\n")

    def show(self, explanation: Explanation, factual: Tensor, found: Tensor) -> None:
        """Print one answer, and remember what the end of the output and the exit code need."""
        from .answers import Tally, print_card, print_row

        self.all_valid &= explanation.valid
        self.tallies.setdefault(explanation.label, Tally()).add(explanation, alone=len(self.inputs.paths) == 1)
        if self.request.format == "json":
            self.screen.line(explanation.as_json())
        elif len(self.inputs.paths) > CARDS:
            print_row(self.screen.out, explanation)
        else:
            from ..images.writing import to_picture
            from .panel import change_picture

            before, after = to_picture(factual), to_picture(found)
            change, _ = change_picture(before, after)
            self.screen.pictures(("factual", before), ("counterfactual", after), ("change", change))
            print_card(self.screen.out, explanation)

    def close(self) -> None:
        """What stands at the end: the comparison, and how things were measured."""
        from .answers import MEASURED, print_comparison

        if self.request.format == "json" or not self.tallies:
            return
        if len(self.tallies) > 1 or len(self.inputs.paths) > 1:
            print_comparison(self.screen.out, self.tallies)
        self.screen.out.print(MEASURED, style="dim")
