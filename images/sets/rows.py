"""One reader for every CSV file that a user gives: lists of labelled images, and of targets."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from ...errors import DataError
from .labels import read_text

DELIMITERS = (",", ";", "\t")
SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # which Excel reads and writes


@dataclass(frozen=True)
class Row:
    """A row that is not empty: its line number, and its cells without surrounding blanks."""

    line: int
    cells: tuple[str, ...]


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a CSV or TSV file in UTF-8, the heading among them.

    Cells are separated by commas, by semicolons (in countries with a decimal comma) or by tabs: by what a first line
    `sep=;` says, or else by what is most frequent in the first line.

    Raises:
        DataError: the file cannot be read, or is not CSV in UTF-8.
    """
    text, first = read_text(path), 1
    said = SEPARATOR_LINE.match(text)
    if said is not None:
        text, first = text[said.end() :], 2
    head = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    delimiter = said[1] if said is not None else max(DELIMITERS, key=head.count)
    reader = csv.reader(StringIO(text), delimiter=delimiter)
    rows: list[Row] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(reader.line_num + first - 1, tuple(cell.strip() for cell in cells)))
    except csv.Error as error:
        line = reader.line_num + first - 1
        raise DataError(f"{path}: line {line} is not CSV ({error}); export it again") from error
    return rows
