"""The pictures of an answer: in memory, or in files that are read when they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import ImageError
from ...images.decoding import decode
from ...images.writing import to_picture
from ..seen import Seen


class Pictures(Protocol):
    """The pictures of an answer, wherever they are."""

    @property
    def factual(self) -> Tensor:
        """(C, H, W) in [0, 1]."""
        ...

    @property
    def counterfactual(self) -> Tensor:
        """(C, H, W) in [0, 1], rounded to 8 bits, as in its file."""
        ...

    @property
    def path(self) -> Tensor | None:
        """(P, C, H, W), from the factual to the counterfactual; None if no path was asked for."""
        ...

    @property
    def path_seen(self) -> tuple[Seen, ...]:
        """What the classifier sees in each image of the path."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Pictures in memory; the attributes are those of `Pictures`."""

    factual: Tensor
    counterfactual: Tensor
    path: Tensor | None = None
    path_seen: tuple[Seen, ...] = ()


@dataclass(frozen=True)
class InRun:
    """Pictures in the files of a run, which keeps no paths.

    Attributes:
        directory: of the run.
        files: the PNG files, relative to the directory, as "factual" and "counterfactual".
    """

    directory: Path
    files: Mapping[str, str]

    path = None
    path_seen = ()

    @property
    def factual(self) -> Tensor:
        """As in `Pictures`; raises ImageError if the file is missing or damaged."""
        return self._read("factual")

    @property
    def counterfactual(self) -> Tensor:
        """As in `Pictures`; raises ImageError if the file is missing or damaged."""
        return self._read("counterfactual")

    def _read(self, kind: str) -> Tensor:
        if kind not in self.files:
            raise ImageError(f"{self.directory}: a record names no picture of its {kind}")
        values = torch.from_numpy(np.array(decode(self.directory / self.files[kind]).picture))
        return (values[None] if values.dim() == 2 else values.permute(2, 0, 1)).float() / 255


def drawn(pictures: Pictures) -> tuple[Image.Image, Image.Image]:
    """Factual and counterfactual as Pillow images."""
    return to_picture(pictures.factual), to_picture(pictures.counterfactual)
