"""Writes the CSV with which `cfx init` keeps the photographs of one person together.

    python examples/signs_csv.py signs > signs.csv && cfx init hands --images signs.csv

For the Sign Language Digits Dataset (Mavi 2020, arXiv 2011.08927): a folder for each digit with files IMG_NUMBER.JPG.
Each person was photographed digit by digit with numbers in a row, so a new person begins where the digit falls or the
numbers jump.
"""

import csv
import re
import sys
from pathlib import Path

JUMP = 20  # numbers that a camera does not skip between two photographs of one person


def rows(directory: Path) -> list[tuple[str, str, int]]:
    """Path, digit and person of every photograph, in the order in which they were taken."""
    taken = sorted(
        (int(match[1]), folder.name, path)
        for folder in directory.iterdir()
        for path in folder.glob("*")
        if (match := re.fullmatch(r"IMG_(\d+)\.JPG", path.name, re.IGNORECASE))
    )
    found, person, before = [], 0, (0, "")
    for number, digit, path in taken:
        person += digit < before[1] or number - before[0] > JUMP
        found.append((str(path.resolve()), digit, person))
        before = number, digit
    return found


if __name__ == "__main__":
    writer = csv.writer(sys.stdout)
    writer.writerow(["path", "label", "group"])
    writer.writerows(rows(Path(sys.argv[1])))
