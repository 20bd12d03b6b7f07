"""The fonts of installed font packages, and the one that Pillow carries within it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ...errors import DataError, UsageError

# The groups in which Pimoroni's font packages (https://github.com/pimoroni/fonts-python) register their files.
FONT_GROUPS = ("fonts_ttf", "fonts_otf")


@dataclass(frozen=True)
class Face:
    """One font in one weight and slope: a file, or (None) the one that Pillow carries within it."""

    name: str
    path: Path | None

    def at(self, size: int) -> ImageFont.FreeTypeFont:
        """The face at `size` pixels an em."""
        if self.path is not None:
            return ImageFont.truetype(str(self.path), size, layout_engine=ImageFont.Layout.BASIC)
        built_in = ImageFont.load_default(size)
        if not isinstance(built_in, ImageFont.FreeTypeFont):
            raise UsageError("this Pillow was built without FreeType; install Pillow from its wheel")
        return built_in


PILLOWS_OWN = Face("Aileron Regular", None)


def installed_faces(letters: str) -> list[Face]:
    """Every face that installed font packages bring and that has these letters, sorted by name.

    Raises:
        DataError: there is none; says what to install.
    """
    found: dict[str, Face] = {}
    for group in FONT_GROUPS:  # of a face in both formats, the first
        for entry in entry_points(group=group):
            for path in sorted(map(Path, entry.load().values())):
                family, style = ImageFont.truetype(str(path), 10).getname()
                face = Face(f"{family} {style}", path)
                if face.name not in found and _has_letters(face, letters):
                    found[face.name] = face
    if not found:
        raise DataError("no font packages are installed; install some with: pip install 'cfx-toolkit[letters]'")
    return [found[name] for name in sorted(found)]


def _has_letters(face: Face, letters: str) -> bool:
    """Whether all letters are there and differ; a symbol font draws a box, or nothing, for each."""
    font = face.at(40)
    drawn: list[bytes] = []
    for letter in (*letters, "\uffff"):
        picture = Image.new("L", (80, 80))
        ImageDraw.Draw(picture).text((10, 10), letter, fill=255, font=font)
        drawn.append(picture.tobytes())
    return all(map(any, drawn[:-1])) and len(set(drawn)) == len(drawn)


@cache
def cap_height(face: Face) -> float:
    """Height of an E, in ems."""
    _, top, _, bottom = face.at(200).getbbox("E")
    return (bottom - top) / 200
