"""Opens and verifies a bundle, and adds parts. A bundle is a directory: `bundle.toml` and a safetensors file per part.

Parts are loaded at first use, so a command loads only the models that it needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar, overload

import torch
from safetensors.torch import save as dump_safetensors
from torch import Tensor, nn

from ..classifiers.foreign.opening import code_of
from ..errors import ImageError, UsageError, unknown_name
from ..files import write_bytes
from ..images.reading import Ground, ReadImage, read_image
from ..images.resizing import resize_batch
from ..images.scale import Scale
from .entries import PartEntry
from .file import BundleFile, as_document
from .finding import NAME, find_bundle
from .known_parts import JUDGES
from .labelling import Labelling
from .notes import notes_on
from .parts import Judges, Models, Parts
from .weights import narrow, round_to_stored

Kind = TypeVar("Kind", bound=nn.Module)


class Bundle:
    """A classifier with generative models and judges trained on the same data.

    Args:
        directory: of the bundle.
        device: of the models.
        explained: name of the part that is explained, if it has several classifiers.
        standalone: description and model of a classifier without a bundle; `directory` does not exist then.

    Attributes:
        directory: of the bundle.
        device: of the models.
        explained: name of the part that is explained.
        file: bundle.toml.
        models: the parts that engines may use.
        judges: the parts that only score.
        is_standalone: whether it is a classifier without a bundle, which has no generative models and no judges.

    Raises:
        BundleError: `bundle.toml` is missing, damaged or of another schema.
    """

    file: BundleFile
    models: Models
    judges: Judges

    def __init__(
        self,
        directory: Path,
        device: str = "cpu",
        explained: str = "classifier",
        *,
        standalone: tuple[BundleFile, nn.Module] | None = None,
    ) -> None:
        self.directory = directory
        self.explained = explained
        self.device = torch.device(device)
        self.is_standalone = standalone is not None
        if standalone is None:
            self._open(BundleFile.read(directory))
        else:
            file, classifier = standalone
            self._open(file)
            self.models.put("classifier", classifier)

    def _open(self, file: BundleFile) -> None:
        self.file = file
        self.models = Models(file, self.directory, self.device, self.explained)
        self.judges = Judges(file, self.directory, self.device)

    @property
    def name(self) -> str:
        """The bundle's name, such as "mnist"."""
        return self.file.name

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the classifier's logits."""
        return self.models.classes

    @property
    def labels(self) -> list[str]:
        """Names of the labels that its parts were trained with: its classes, unless there are images of some only."""
        return self.models.labels

    @property
    def labelling(self) -> Labelling:
        """How the classifier's classes correspond to the labels of its parts."""
        return self.models.labelling

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that the classifier takes."""
        return self.file.shape

    @property
    def working(self) -> tuple[int, int]:
        """(H, W) of the working resolution, at which generative models and judges work: the images' own, or lower."""
        return self.models.working

    @property
    def is_lowres(self) -> bool:
        """Whether models work at a lower resolution: the change is upsampled and added to the image."""
        return self.models.is_lowres

    def shrink(self, images: Tensor) -> Tensor:
        """Resize images (N, C, H, W) to the working resolution; unchanged if they have it already."""
        return resize_batch(images, self.working)

    def enlarge(self, images: Tensor) -> Tensor:
        """Resize images (N, C, H, W) from the working resolution to the classifier's."""
        return resize_batch(images, self.shape[1:])

    @property
    def resize(self) -> str:
        """How an image of other proportions is resized to `shape`: "pad", "crop" or "stretch"."""
        return self.file.resize or "pad"

    @property
    def present(self) -> list[int]:
        """The classes that its models were trained on, and that can be targets."""
        return self.models.present

    @property
    def engine(self) -> str | None:
        """The engine that works best with its models, if the bundle names one."""
        return self.file.engine

    @property
    def is_foreign(self) -> bool:
        """Whether the classifier was supplied by the user."""
        entry = self.parts.get(self.explained)
        return entry is not None and entry.foreign is not None

    @property
    def differentiable(self) -> bool:
        """Whether the classifier has gradients."""
        return self.models.differentiable

    @property
    def notes(self) -> tuple[str, ...]:
        """What every answer about the classifier should say."""
        foreign = self.parts[self.explained].foreign if self.is_foreign else None
        return notes_on(foreign, labels=len(self.labels), standalone=self.is_standalone)

    @property
    def light_on_dark(self) -> bool:
        """Whether its images show light strokes on a dark ground, so that ink on paper must be inverted."""
        return self.file.light_on_dark

    @property
    def scale(self) -> Scale | None:
        """What black and white are in its images with more than 8 bits per channel; None if it was made without."""
        return None if self.file.images is None else self.file.images.scale

    @property
    def ground(self) -> Ground | None:
        """What transparent images are laid on; None if it is decided for each by itself."""
        return None if self.file.images is None else self.file.images.ground

    def read(self, path: Path, *, invert: bool = False, scale: Scale | None = None) -> ReadImage:
        """Read an image file as the classifier takes it.

        Args:
            path: the file.
            invert: swap light and dark.
            scale: what black and white are in a picture with more than 8 bits per channel; None for the bundle's own
                scale, or else for what this picture tells.

        Raises:
            ImageError: as `read_image`, or the file's name is not UTF-8, in which results are named.
        """
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError as error:
            raise ImageError(f"{path}: the file's name is not UTF-8; rename it") from error
        options = {"light_on_dark": self.light_on_dark, "resize": self.resize}
        return read_image(path, self.shape, invert=invert, scale=scale or self.scale, ground=self.ground, **options)

    @cached_property
    def digest(self) -> str:
        """sha256 of bundle.toml, which contains the sha256 of every part; it identifies the bundle and its weights."""
        if self.is_standalone:
            foreign = self.parts["classifier"].foreign
            code = "" if foreign is None else code_of(foreign)
            return hashlib.sha256(as_document(self.file.as_json()).encode() + code.encode()).hexdigest()
        return hashlib.sha256((self.directory / NAME).read_bytes()).hexdigest()

    @property
    def parts(self) -> Mapping[str, PartEntry]:
        """The entries of bundle.toml by the names of the parts."""
        return self.file.parts

    def has(self, name: str) -> bool:
        """Whether the bundle lists this part."""
        return name in self.parts

    def _side(self, name: str) -> Parts:
        return self.judges if name in JUDGES else self.models

    def must_have(self, name: str) -> PartEntry:
        """A part's entry in bundle.toml.

        Raises:
            BundleError: it is not in the bundle; the message says why, or how to make it.
        """
        return self._side(name).must_have(name)

    @overload
    def part(self, name: str) -> nn.Module: ...

    @overload
    def part(self, name: str, kind: type[Kind]) -> Kind: ...

    def part(self, name: str, kind: type[nn.Module] = nn.Module) -> nn.Module:
        """The model of any part, including judges, as `Parts.part` loads it.

        Raises:
            BundleError: as `Parts.part`.
        """
        return self._side(name).part(name, kind)

    @property
    def classifier(self) -> nn.Module:
        """The classifier that is explained."""
        return self.models.classifier

    def verify(self) -> None:
        """Check and load every part.

        Raises:
            BundleError: as `part`.
        """
        for name in self.parts:
            self.part(name)

    def update(self, **changes: object) -> None:
        """Write bundle.toml with some fields changed; loaded models of unchanged parts are kept.

        Raises:
            OutputError: it cannot be written.
        """
        self._replace(replace(self.file, **changes))  # pyright: ignore[reportArgumentType]

    def save_part(self, name: str, model: nn.Module, entry: PartEntry, instead_of: tuple[str, ...] = ()) -> None:
        """Write a part in half precision and its entry in bundle.toml, each file atomically.

        Args:
            name: of the part.
            model: the model to store; it is rounded to half precision in place.
            entry: its entry in bundle.toml, without file and sha256.
            instead_of: parts that become invalid and are removed from bundle.toml at the same time.
        """
        round_to_stored(model)
        content = dump_safetensors(narrow(model.state_dict()))
        path = self.directory / f"{name}.safetensors"
        write_bytes(path, content)
        described = replace(entry, file=path.name, sha256=hashlib.sha256(content).hexdigest())
        self._replace(self.file.with_part(name, described, instead_of))

    def _replace(self, file: BundleFile) -> None:
        file.write(self.directory)
        before = self.models, self.judges
        self._open(file)
        self.models.take_over(before[0])
        self.judges.take_over(before[1])
        self.__dict__.pop("digest", None)


def pick_device(wanted: str) -> str:
    """The device to use; `auto` takes cuda, else mps, else cpu.

    Raises:
        UsageError: the device is unknown, or not available on this machine.
    """
    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
    if wanted == "auto":
        return next(name for name, there in available.items() if there())
    if wanted not in available:
        raise unknown_name("device", wanted, ["auto", *available])
    if not available[wanted]():
        raise UsageError(f"device {wanted}: not available on this machine; use --device auto or cpu")
    return wanted


def load_bundle(name: str = "mnist", device: str = "cpu", explained: str = "classifier") -> Bundle:
    """Open a bundle by name ("mnist") or directory; its models are loaded at first use.

    Args:
        name: of the bundle.
        device: of the models.
        explained: name of the part that is explained, if it has several classifiers.

    Raises:
        UsageError: there is no such bundle.
        BundleError: it is damaged, or has no classifier of that name.
    """
    return Bundle(find_bundle(name), device, explained)
