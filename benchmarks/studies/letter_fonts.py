"""The fonts of installed font packages, and Pillow's built-in font."""

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
    """One font in one weight and slope: a file, or Pillow's built-in font if `path` is None."""

    name: str
    path: Path | None

    def at(self, size: int) -> ImageFont.FreeTypeFont:
        """Load the face at `size` pixels per em."""
        if self.path is not None:
            return ImageFont.truetype(str(self.path), size, layout_engine=ImageFont.Layout.BASIC)
        built_in = ImageFont.load_default(size)
        if not isinstance(built_in, ImageFont.FreeTypeFont):
            raise UsageError("this Pillow was built without FreeType; install Pillow from its wheel")
        return built_in


PILLOWS_OWN = Face("Aileron Regular", None)


def installed_faces(letters: str) -> list[Face]:
    """Find the faces of installed font packages that have these letters, sorted by name.

    Raises:
        DataError: there are none.
    """
    found: dict[str, Face] = {}
    for group in FONT_GROUPS:  # if a face has both formats, the first is used
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
    """Whether a face has all letters. For a missing letter, fonts draw nothing, or the same box for each."""
    font = face.at(40)
    drawn: list[bytes] = []
    for letter in (*letters, "\uffff"):
        picture = Image.new("L", (80, 80))
        ImageDraw.Draw(picture).text((10, 10), letter, fill=255, font=font)
        drawn.append(picture.tobytes())
    return all(map(any, drawn[:-1])) and len(set(drawn)) == len(drawn)


@cache
def cap_height(face: Face) -> float:
    """Height of the letter E, in ems."""
    _, top, _, bottom = face.at(200).getbbox("E")
    return (bottom - top) / 200
