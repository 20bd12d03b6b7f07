"""Converting images to pictures and writing them to files atomically."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..errors import UsageError
from ..files import write_bytes


def to_picture(image: Tensor) -> Image.Image:
    """Convert an image (C, H, W) in [0, 1], with C = 1 or 3, to a Pillow picture with 8 bits per channel.

    Raises:
        UsageError: the image has another shape.
    """
    if image.dim() != 3 or image.shape[0] not in (1, 3):
        raise UsageError(f"an image to draw must be (1, H, W) or (3, H, W), got {tuple(image.shape)}")
    values = (image.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    planes = values[0] if len(values) == 1 else values.permute(1, 2, 0).contiguous()
    return Image.fromarray(planes.numpy())


def write_png(path: Path, image: Tensor) -> None:
    """Write an image (C, H, W) in [0, 1], with C = 1 or 3, as a PNG with 8 bits per channel.

    Raises:
        OutputError: it could not be written.
        UsageError: as `to_picture`.
    """
    write_picture(path, to_picture(image))


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a Pillow picture as PNG.

    Raises:
        OutputError: it could not be written.
    """
    write_bytes(path, as_png(picture))


def as_png(picture: Image.Image) -> bytes:
    """A Pillow picture as the bytes of a PNG file."""
    content = BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()


def write_gif(path: Path, pictures: Sequence[Image.Image], milliseconds: int) -> None:
    """Write pictures of one size as an animation that repeats forever.

    Args:
        path: the file.
        pictures: at least one.
        milliseconds: duration of each picture; GIF rounds it to 10.

    Raises:
        OutputError: it could not be written.
        UsageError: there are no pictures.
    """
    if not pictures:
        raise UsageError(f"{path}: an animation needs at least one picture")
    content = BytesIO()
    first, *others = pictures
    first.save(content, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    write_bytes(path, content.getvalue())
