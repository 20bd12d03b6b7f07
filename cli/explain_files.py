"""Writes the files of `cfx explain`: for each answer the pictures, the animation, and last the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..answers.answer import SCHEMA, Answer
from ..answers.full_resolution import has_larger_photo, write_full_resolution
from ..answers.pictures.overview import draw_overview
from ..answers.pictures.panel import draw_frames, draw_strip
from ..answers.pictures.regions_panel import draw_regions
from ..bundles.bundle import Bundle
from ..documents import to_json
from ..errors import OutputError
from ..files import remove, write_text
from ..images.writing import to_picture, write_gif, write_picture, write_png

FRAME = 150  # milliseconds that each frame of the animation is shown
HOLD = 8  # extra copies of the last frame, so that the animation pauses at its end
ENDINGS = {
    "counterfactual": "png",
    "panel": "panel.png",
    "record": "json",
    "path": "path.png",
    "gif": "gif",
    "full": "full.png",
    "mask": "mask.png",
    "regions": "regions.png",
}
"""The kinds of files of an answer, and how their names end."""


def record_of(answer: Answer) -> dict[str, object]:
    """The JSON record of an answer with all its files; docs/record.md describes it."""
    notes = list(answer.notes)
    if "path" not in answer.files:
        notes.append("files.path, files.gif: not asked for (--path)")
    if "mask" not in answer.files:
        notes.append("files.mask: written only with --region or --mask")
    if "regions" not in answer.files:
        notes.append("files.regions: not asked for (--explain-regions)")
    if "full" not in answer.files:
        notes.append("files.full: written only if the models work at a smaller size than the image, without --invert")
    said = answer.as_json()
    files = {kind: answer.files.get(kind) for kind in ENDINGS}
    said = {"input": said.pop("input"), "input_sha256": answer.question.source.sha256, **said}
    return {"schema": SCHEMA, **said, "files": files, "notes": notes, **answer.envelope.as_json()}


class AnswerFiles:
    """Writes the files of answers to a directory.

    Args:
        out: the directory.
        bundle: the bundle that the questions were asked with.
        targets: each class as it is written in file names.
        carry: whether to apply changes to the original photos, too.
    """

    def __init__(self, out: Path, bundle: Bundle, targets: Sequence[str], *, carry: bool) -> None:
        self.out = out
        self.bundle = bundle
        self.carry = carry
        self._targets = dict(zip(bundle.classes, targets, strict=True))

    def path(self, stem: str, engine: str, target: str, ending: str, place: int = 1) -> Path:
        """The path of one file of an answer; the second one to a question is numbered, and those after it."""
        number = f"-{place}" if place > 1 else ""
        return self.out / f"{stem}.{engine}.{self._targets[target]}{number}.{ending}"

    def write(self, answer: Answer, stem: str) -> Answer:
        """Write the files of one answer, the record last.

        Args:
            answer: the answer to write.
            stem: the first part of the file names, from the image's name.

        Returns:
            The answer with the paths of its files.

        Raises:
            OutputError: a file could not be written; then none of them stays.
        """
        own = (stem, answer.engine, answer.target)
        names = {kind: self.path(*own, ending, answer.place) for kind, ending in ENDINGS.items()}
        try:
            return self._write(answer, names)
        except OutputError:
            remove(names.values())
            raise

    def _write(self, answer: Answer, names: Mapping[str, Path]) -> Answer:
        images = answer.pictures
        files = {kind: names[kind] for kind in ("counterfactual", "panel", "record")}
        write_png(files["counterfactual"], images.counterfactual)
        write_picture(files["panel"], answer.panel())
        if images.path is not None:
            files |= {kind: names[kind] for kind in ("path", "gif")}
            frames = [to_picture(frame) for frame in images.path]
            write_picture(files["path"], draw_strip(answer, frames, images.path_seen))
            animation = draw_frames(answer, frames, images.path_seen)
            write_gif(files["gif"], [*animation, *animation[-1:] * HOLD], FRAME)
        if answer.which_regions is not None:
            files["regions"] = names["regions"]
            write_picture(files["regions"], draw_regions(answer, answer.which_regions))
        if answer.question.within is not None:
            files["mask"] = names["mask"]
            write_png(files["mask"], answer.question.within.mask.float())
        if self.carry and has_larger_photo(answer, self.bundle):
            files["full"] = names["full"]
            answer = replace(answer, notes=(*answer.notes, write_full_resolution(files["full"], answer, self.bundle)))
        written = answer.with_files({kind: str(file) for kind, file in files.items()})
        write_text(files["record"], to_json(record_of(written)) + "\n")
        return written

    def write_overview(self, answers: Sequence[Answer], stem: str) -> Path:
        """Write one picture that compares the engines' answers to a question, and return its path."""
        several = len({answer.engine for answer in answers}) > 1
        path = self.path(stem, "engines" if several else "answers", answers[0].target, "panel.png")
        write_picture(path, draw_overview(answers))
        return path
