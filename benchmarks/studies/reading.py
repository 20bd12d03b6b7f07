"""Asks a person what the answers show: sheets to read without names, and the count of what was read.

    python -m cfx.benchmarks.studies.reading --run RUN [RUN] --out DIR [--sheets 1] [--engines leap,latent] [--seed 0]

writes sheets of 40 valid answers of finished runs (`sheet-1.png`, ...) in random order, each with a number and nothing
else, as many of each engine as of the control `nearest-accepted`, which are real images. What each is stands in
`key.csv`, which whoever reads must not open; `classes.txt` has the names of the classes, one a line. Write what you
read into a file of `number,class` (? where it is no class or you cannot tell), and then

    python -m cfx.benchmarks.studies.reading --out DIR --answers answers.csv --reader NAME

prints how often each engine's answers were read as the target, beside how often both judges agree on the same images.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from PIL import Image

from ...answers.answer import Answer
from ...answers.pictures.sheet import INK, Sheet
from ...errors import DataError, UsageError
from ...files import write_text
from ...images.sets.class_lists import read_classes
from ...images.sets.labels import class_index
from ...images.sets.rows import read_rows
from ...images.writing import write_picture
from ...intervals import wilson
from ..compare import Finished, read_finished
from ..settings import NEAREST_ACCEPTED

ON_A_SHEET = 40
COLUMNS = 8
SIDE = 144  # least pixels of a picture's longer side
GAP, TITLE, SIZE = 20, 28, 18  # pixels between pictures, above one, and of its number
KEY, CLASSES = "key.csv", "classes.txt"
UNREAD = "?"


@dataclass(frozen=True)
class Item:
    """What one picture on a sheet is: a line of key.csv.

    Attributes:
        number: of the picture, from 1 over all sheets.
        engine: that answered.
        target: the class asked for.
        factual: the class that the classifier sees in the factual.
        pair: number of the question in its run.
        run: the directory.
        judges_agree: whether both judges see the target; "" if it was not computed.
    """

    number: int
    engine: str
    target: str
    factual: str
    pair: int
    run: str
    judges_agree: str


def choose(runs: Sequence[Finished], engines: Sequence[str], count: int, seed: int) -> list[tuple[Item, Answer]]:
    """Choose valid answers at random, as many of each engine as of the others, and mix them.

    Args:
        runs: finished runs.
        engines: names of the engines; empty for all that are compared, and the control `nearest-accepted`.
        count: number of answers; fewer where the runs have no more.
        seed: of the choice.

    Raises:
        UsageError: an engine has no valid answer.
    """
    rng = random.Random(seed)
    by_engine: dict[str, list[tuple[Finished, Answer]]] = {}
    for run in runs:
        shown = engines or (*run.summary.compared, NEAREST_ACCEPTED)
        for answer in run.run.answers:
            if answer.valid and answer.place == 1 and answer.engine in shown:
                by_engine.setdefault(answer.engine, []).append((run, answer))
    lost = [engine for engine in engines if engine not in by_engine]
    if lost or not by_engine:
        raise UsageError(f"no valid answers of {', '.join(lost) or 'any engine'} in the runs")
    chosen: list[tuple[Finished, Answer]] = []
    for answers in by_engine.values():
        rng.shuffle(answers)
    while len(chosen) < count and any(by_engine.values()):
        for engine in sorted(by_engine, key=lambda _: rng.random()):
            if by_engine[engine] and len(chosen) < count:
                chosen.append(by_engine[engine].pop())
    rng.shuffle(chosen)
    return [(_item(number, run, answer), answer) for number, (run, answer) in enumerate(chosen, start=1)]


def _item(number: int, run: Finished, answer: Answer) -> Item:
    agree, pair = answer.value("judge_agrees"), answer.question.number
    assert pair is not None
    return Item(
        number=number,
        engine=answer.engine,
        target=answer.question.target,
        factual=answer.factual.name,
        pair=pair,
        run=str(run.run.path),
        judges_agree="" if agree is None else str(int(agree)),
    )


def draw(pictures: Sequence[Image.Image], first: int) -> Image.Image:
    """Draw a sheet of pictures, each with its number, from `first`."""
    zoom = max(1, -(-SIDE // max(max(picture.size) for picture in pictures)))
    width, height = (zoom * max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    rows = -(-len(pictures) // COLUMNS)
    sheet = Sheet(GAP + COLUMNS * (width + GAP), GAP + rows * (TITLE + height + GAP))
    for place, picture in enumerate(pictures):
        left, top = GAP + place % COLUMNS * (width + GAP), GAP + place // COLUMNS * (TITLE + height + GAP)
        sheet.write((left, top), str(first + place), SIZE, INK, width)
        size = (picture.width * zoom, picture.height * zoom)
        sheet.place(picture.convert("RGB").resize(size, Image.Resampling.NEAREST), (left, top + TITLE))
    return sheet.picture


def write_sheets(runs: Sequence[Finished], chosen: Sequence[tuple[Item, Answer]], out: Path) -> list[Path]:
    """Write the sheets, the key and the names of the classes; return the sheets.

    Raises:
        OutputError: a file could not be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    sheets: list[Path] = []
    for start in range(0, len(chosen), ON_A_SHEET):
        some = chosen[start : start + ON_A_SHEET]
        pictures = [Image.open(Path(item.run) / answer.files["counterfactual"]) for item, answer in some]
        sheets.append(out / f"sheet-{len(sheets) + 1}.png")
        write_picture(sheets[-1], draw(pictures, start + 1))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Item)])
    writer.writerows([*vars(item).values()] for item, _ in chosen)
    write_text(out / KEY, text.getvalue())
    questions = [question for run in runs for question in run.run.questions]
    names = {question.target for question in questions} | {question.factual.name for question in questions}
    write_text(out / CLASSES, "".join(f"{name}\n" for name in sorted(names)))
    return sheets


def read_key(path: Path) -> dict[int, Item]:
    """Read key.csv: what each picture is, by number.

    Raises:
        DataError: the file is missing or damaged.
    """
    names = tuple(field.name for field in fields(Item))
    rows = read_rows(path)
    if not rows or rows[0].cells != names or any(len(row.cells) != len(names) for row in rows):
        raise DataError(f"{path}: not a key of sheets; write the sheets anew with --run")
    items: dict[int, Item] = {}
    for row in rows[1:]:
        number, engine, target, factual, pair, run, agree = row.cells
        items[int(number)] = Item(int(number), engine, target, factual, int(pair), run, agree)
    return items


def read_answers(path: Path, key: Mapping[int, Item], classes: Sequence[str]) -> dict[int, str]:
    """Read what was read: the class of each picture, or "?", by number. Pictures may be missing.

    Raises:
        DataError: a line is not `number,class`, or its number or class is unknown or repeated.
    """
    found: dict[int, str] = {}
    for row in read_rows(path):
        where = f"{path}: line {row.line}"
        if row.line == 1 and not row.cells[0].isdecimal():  # the heading
            continue
        if len(row.cells) != 2 or not row.cells[0].isdecimal():
            raise DataError(f"{where}: expected number,class")
        number, said = int(row.cells[0]), row.cells[1]
        if number not in key or number in found:
            raise DataError(f"{where}: picture {number} is {'there twice' if number in found else 'on no sheet'}")
        index = None if said == UNREAD else class_index(said, classes)
        if index is None and said != UNREAD:
            raise DataError(f"{where}: {said!r} is no class; {CLASSES} has the names, and {UNREAD} is for none")
        found[number] = UNREAD if index is None else classes[index]
    if not found:
        raise DataError(f"{path}: no lines of number,class")
    return found


def count(key: Mapping[int, Item], read: Mapping[int, str], reader: str) -> str:
    """What was read, by engine, as Markdown."""
    lines = [
        "| engine | images | read as the target | read as the factual's class | judges agree |",
        "|---|---|---|---|---|",
    ]
    by_engine: dict[str, list[int]] = {}
    for number in sorted(read):
        by_engine.setdefault(key[number].engine, []).append(number)
    for engine in sorted(by_engine):
        items = [(key[number], read[number]) for number in by_engine[engine]]
        judged = [item.judges_agree == "1" for item, _ in items if item.judges_agree]
        shares = [
            _share([said == item.target for item, said in items]),
            _share([said == item.factual for item, said in items]),
            _share(judged),
        ]
        name = f"`{engine}`" + (" (real images)" if engine == NEAREST_ACCEPTED else "")
        lines.append(f"| {name} | {len(items)} | {' | '.join(shares)} |")
    return "\n".join([*lines, "", f"Read by {reader}: {len(read)} of {len(key)} images."])


def _share(values: Sequence[bool]) -> str:
    """The share that is true, with its 95 % interval."""
    if not values:
        return "n/a"
    low, high = wilson(sum(values), len(values))
    return f"{sum(values) / len(values):.1%} ({low:.1%} - {high:.1%})"


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.studies.reading", description=__doc__)
    parser.add_argument("--run", type=Path, nargs="+", default=[], help="finished runs of cfx bench, to write sheets")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the sheets and their key")
    parser.add_argument("--sheets", type=int, default=1)
    parser.add_argument("--engines", default="", help="default: all that are compared, and nearest-accepted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--answers", type=Path, help="what was read, to be counted")
    parser.add_argument("--reader", help="who read")
    options = parser.parse_args()
    if bool(options.run) == bool(options.answers) or bool(options.answers) != bool(options.reader):
        parser.error("give --run to write sheets, or --answers and --reader to count what was read")
    if options.answers:
        key = read_key(options.out / KEY)
        read = read_answers(options.answers, key, read_classes(options.out / CLASSES))
        print(count(key, read, options.reader))
        return
    runs = [read_finished(run) for run in options.run]
    engines = [name for name in options.engines.split(",") if name]
    chosen = choose(runs, engines, ON_A_SHEET * options.sheets, options.seed)
    for sheet in write_sheets(runs, chosen, options.out):
        print(sheet)


if __name__ == "__main__":
    main()
