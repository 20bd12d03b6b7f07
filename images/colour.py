"""Colour profiles and transparent key colours: what a careful viewer shows."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any, cast

from PIL import Image, ImageCms

SPACES = {"RGB ": ("RGB",), "GRAY": ("L",), "CMYK": ("CMYK",)}
"""Colour space of a profile -> the modes of the pictures that it can describe."""


def to_srgb(picture: Image.Image, profile: bytes) -> tuple[Image.Image, str | None]:
    """Convert a picture from its ICC profile's colours to sRGB, which models are trained on.

    Args:
        picture: of 8 bits per channel, with or without alpha.
        profile: the ICC profile in its file.

    Returns:
        The picture, and a sentence if the conversion changed it or was not possible.
    """
    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    base = picture.convert(picture.mode[:-1]) if alpha is not None else picture
    try:
        transform, name = _transform(profile, base.mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        picture.info.pop("icc_profile", None)
        return picture, "its colour profile is damaged or of another kind of picture: it is ignored"
    if transform is None:
        return picture, None
    if base.mode == "L":
        converted = ImageCms.applyTransform(base, transform)
        result = converted.convert("L") if converted is not None else base
    else:
        result = ImageCms.applyTransform(base, transform) or base
    if result.tobytes() == base.tobytes():
        return picture, None
    if alpha is not None:
        result.putalpha(alpha)
    result.info["icc_profile"] = srgb_profile()
    return result, f"converted from the colours of its profile ({name}) to sRGB"


@lru_cache(maxsize=8)  # the images of one camera have one profile
def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The transform from a profile to sRGB, and the profile's name; no transform if the profile is sRGB itself."""
    opened = ImageCms.ImageCmsProfile(BytesIO(profile))
    space: str = cast(Any, opened.profile).xcolor_space
    name = " ".join((ImageCms.getProfileDescription(opened) or "unnamed").split()).rstrip("\x00")
    if mode not in SPACES.get(space, ()):
        raise ValueError(f"a profile of {space.strip()} for a picture of {mode}")
    if "srgb" in name.lower():
        return None, name
    target = ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    return ImageCms.buildTransform(opened, target, mode, "RGB", renderingIntent=intent, flags=flags), name


def srgb_profile() -> bytes:
    """The ICC profile of sRGB, for files whose originals had a profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def scaled_key(opened: Image.Image) -> int | tuple[int, ...] | None:
    """The transparent grey or colour of a PNG, scaled to the 8 bits that Pillow scales the pixels to.

    A PNG stores the key in its own depth (PNG specification, third edition, section 11.3.2.1), and Pillow keeps it so,
    while it scales pixels of 1, 2, 4 and 16 bits to 8. To be called before the pixels are loaded.

    Returns:
        The key; None if there is none, or Pillow's own is right.
    """
    key = opened.info.get("transparency")
    tiles: list[Any] = getattr(opened, "tile", [])
    if opened.format != "PNG" or key is None or not tiles:
        return None
    raw = tiles[0][3]
    raw = raw if isinstance(raw, str) else raw[0] if raw else ""
    depth = {"1": 1, "L;2": 2, "L;4": 4}.get(raw)
    if isinstance(key, int) and depth is not None:
        return key * 255 // (2**depth - 1)
    return tuple(value >> 8 for value in key) if isinstance(key, tuple) and raw == "RGB;16B" else None
