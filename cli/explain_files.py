"""What `cfx explain` writes for an answer: pictures, an animation, and last the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..answers.answer import SCHEMA, Answer
from ..answers.carried import can_be_carried, write_full
from ..answers.overview import draw_overview
from ..answers.panel import draw_frames, draw_strip
from ..bundles.bundle import Bundle
from ..files import write_text
from ..images.writing import to_picture, write_gif, write_picture, write_png

FRAME = 150  # milliseconds that a frame of the animation stands
HOLD = 8  # frames for which the animation rests at its end
KINDS = ("counterfactual", "panel", "record", "path", "gif", "full")


def record_of(answer: Answer) -> dict[str, object]:
    """The documented JSON object of an answer with all its files; docs/record.md."""
    notes = list(answer.notes)
    if "path" not in answer.files:
        notes.append("files.path, files.gif: not asked for (--path)")
    if "full" not in answer.files:
        notes.append("files.full: only where models work in a smaller size than the images, and without --invert")
    said = answer.as_json()
    files = {kind: answer.files.get(kind) for kind in KINDS}
    return {"schema": SCHEMA, **said, "files": files, "notes": notes, **answer.given_envelope.as_json()}


def as_line(answer: Answer) -> str:
    """The record on one line."""
    return json.dumps(record_of(answer), ensure_ascii=False, allow_nan=False, default=str)


class AnswerFiles:
    """Where answers go.

    Args:
        out: the directory.
        bundle: whose answers they are.
        targets: each class as it stands in a file name.
        carry: whether changes may be carried back to photos.
    """

    def __init__(self, out: Path, bundle: Bundle, targets: Sequence[str], *, carry: bool) -> None:
        self.out = out
        self.bundle = bundle
        self.carry = carry
        self._targets = dict(zip(bundle.classes, targets, strict=True))

    def path(self, stem: str, engine: str, target: str, ending: str) -> Path:
        """The file of one kind."""
        return self.out / f"{stem}.{engine}.{self._targets[target]}.{ending}"

    def write(self, answer: Answer, stem: str) -> Answer:
        """Write the files of one answer, the record last; returns the answer with them.

        Args:
            answer: to be written.
            stem: of the image's name.

        Raises:
            OutputError: one could not be written.
        """

        def path(ending: str) -> Path:
            return self.path(stem, answer.engine, answer.target, ending)

        images = answer.given_images
        files = {"counterfactual": path("png"), "panel": path("panel.png"), "record": path("json")}
        write_png(files["counterfactual"], images.counterfactual)
        write_picture(files["panel"], answer.panel())
        if images.path is not None:
            files |= {"path": path("path.png"), "gif": path("gif")}
            frames = [to_picture(frame) for frame in images.path]
            write_picture(files["path"], draw_strip(answer, frames, images.path_seen))
            animation = draw_frames(answer, frames, images.path_seen)
            write_gif(files["gif"], [*animation, *animation[-1:] * HOLD], FRAME)
        if self.carry and can_be_carried(answer, self.bundle):
            files["full"] = path("full.png")
            answer = replace(answer, notes=(*answer.notes, write_full(files["full"], answer, self.bundle)))
        written = answer.with_files({kind: str(file) for kind, file in files.items()})
        write_text(files["record"], as_line(written) + "\n")
        return written

    def write_overview(self, answers: Sequence[Answer], stem: str) -> Path:
        """Write one picture with a row for each engine's answer to a question; returns where."""
        path = self.path(stem, "engines", answers[0].target, "panel.png")
        write_picture(path, draw_overview(answers))
        return path
