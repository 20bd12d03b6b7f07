"""A bundle's models, loaded at first use: those that engines may use, and the judges."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar, overload

import torch
from torch import nn

from ..classifiers.foreign.adapted import Adapted
from ..classifiers.foreign.contract import ForeignEntry
from ..classifiers.foreign.opening import Foreign, files_of, on_logits, reopen
from ..classifiers.foreign.outputs import LOGITS_OF
from ..classifiers.foreign.placing import placed
from ..classifiers.foreign.preprocessing import Preprocessing
from ..errors import BundleError, unknown_name
from ..files import is_inner
from .entries import PartEntry
from .file import BundleFile
from .known_parts import BY_NAME, CLASSIFIERS, JUDGES
from .labelling import Labelling
from .weights import read_part

Kind = TypeVar("Kind", bound=nn.Module)


class Parts:
    """Some of a bundle's parts. A part is loaded, and its file checked, at first use.

    Args:
        file: bundle.toml.
        directory: of the bundle.
        device: of the models.
    """

    def __init__(self, file: BundleFile, directory: Path, device: torch.device) -> None:
        self.name = file.name
        self.device = device
        self._directory = directory
        self._shape = file.shape
        self._working = file.working
        self._left_out = file.left_out
        self._is_trained = not set(file.parts) <= {"classifier"}
        self._entries = {name: entry for name, entry in file.parts.items() if self._holds(name)}
        self._loaded: dict[str, nn.Module] = {}

    def _holds(self, name: str) -> bool:
        """Whether a part of this name belongs to these parts."""
        raise NotImplementedError

    def has(self, name: str) -> bool:
        """Whether the bundle lists this part or it is in memory, and it belongs to these parts."""
        return name in self._entries or name in self._loaded

    def names(self) -> Iterable[str]:
        """The names of the parts."""
        return self._entries.keys()

    def must_have(self, name: str) -> PartEntry:
        """A part's entry in bundle.toml.

        Raises:
            BundleError: it is not in the bundle; the message says why, or how to make it.
        """
        if name in self._entries:
            return self._entries[name]
        if name not in BY_NAME:
            raise BundleError(
                f"bundle {self.name}: has no part {name!r}, and this version of cfx knows none of that name; "
                "update cfx, or ask the author of the engine that needs it"
            )
        if not self._is_trained and name not in self._left_out:
            raise BundleError(f"bundle {self.name}: is not trained yet; `cfx train {self._directory}` trains it")
        what = BY_NAME[name].what
        remedy = self._left_out.get(name) or f"`cfx train {self._directory} --only {name}` makes it"
        raise BundleError(f"bundle {self.name}: has no part {name!r} ({what}); {remedy}")

    @overload
    def part(self, name: str) -> nn.Module: ...

    @overload
    def part(self, name: str, kind: type[Kind]) -> Kind: ...

    def part(self, name: str, kind: type[nn.Module] = nn.Module) -> nn.Module:
        """A part's model in eval mode on the bundle's device; checked and loaded at the first call.

        Args:
            name: of the part.
            kind: the expected class of its model.

        Raises:
            BundleError: the part is not in the bundle, or its file is missing, changed, a pickle, or does not match.
        """
        if name not in self._loaded:
            # The first caller may be in inference mode, whose tensors do not support gradients later.
            # While a bundle is trained, its device is torch's default; files and other programs know the CPU.
            with torch.inference_mode(False), torch.device("cpu"):
                self._loaded[name] = placed(self._load(name), self.device).eval().requires_grad_(False)
        model = self._loaded[name]
        if not isinstance(model, kind):
            raise BundleError(
                f"bundle {self.name}: part {name!r} is a {type(model).__name__}, but a {kind.__name__} is needed"
            )
        return model

    def put(self, name: str, model: nn.Module) -> None:
        """Use a model that is in memory already for a part."""
        self._loaded[name] = model

    def take_over(self, before: Parts) -> None:
        """Take the loaded models of `before`, an earlier state of the same bundle, for parts that have not changed."""
        same = {name for name, entry in self._entries.items() if before._entries.get(name) == entry}
        self._loaded |= {name: model for name, model in before._loaded.items() if name in same}

    def _load(self, name: str) -> nn.Module:
        entry = self.must_have(name)
        if entry.foreign is not None:
            return self._foreign(entry.foreign)
        model = read_part(f"bundle {self.name}: part {name!r}", self._directory, entry)
        if name in CLASSIFIERS and self._working not in (None, self._shape[1:]):
            # trained by cfx: it works at the working resolution
            return Adapted(model, Preprocessing(self._shape[0], self._working))
        return model

    def _foreign(self, entry: ForeignEntry) -> nn.Module:
        """The user's classifier, with the preprocessing in its entry."""
        for path, sha256 in files_with_digests(entry, self._directory):
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                raise BundleError(
                    f"bundle {self.name}: {path.name} is not the file that bundle.toml describes (sha256 differs); "
                    "restore it"
                )
        foreign = reopen(entry, self._directory)
        if entry.differentiable and not foreign.differentiable:
            raise BundleError(
                f"bundle {self.name}: its classifier {foreign.name} had gradients when the bundle was created, but has "
                "none here; install the packages that it was created with (for ONNX: pip install onnx2torch)"
            )
        preprocessing = foreign.preprocessing or Preprocessing(self._shape[0])
        if entry.activation is not None:
            foreign = self._on_logits(foreign, preprocessing, entry.activation)
        columns = entry.columns if entry.among else None
        sizes = {"fixed_batch": foreign.fixed_batch, "least_batch": foreign.least_batch}
        return Adapted(foreign.model, preprocessing, entry.differentiable, columns, **sizes)

    def _on_logits(self, foreign: Foreign, preprocessing: Preprocessing, activation: str) -> Foreign:
        """The user's classifier without its last activation, as it was when the bundle was created."""
        images = torch.rand(foreign.fixed_batch or 2, *self._shape, generator=torch.Generator().manual_seed(0))
        for output, removed in LOGITS_OF:
            if removed == activation and LOGITS_OF[output, removed] == preprocessing.output:
                found = on_logits(foreign, replace(preprocessing, output=output), images)
                if found is not None:
                    return found[0]
        raise BundleError(
            f"bundle {self.name}: the {activation} at the end of its classifier can no longer be told from the rest; "
            "make the bundle again with `cfx init --overwrite`"
        )


class Models(Parts):
    """The parts of a bundle that engines may use: the explained classifier and the generative models, but no judge.

    Attributes:
        name: of the bundle.
        explained: name of the part that is explained.
        labels: names of the labels that the parts were trained with.
        labelling: how the classifier's classes correspond to these labels.
        shape: (C, H, W) of the images that the classifier takes.
        working: (H, W) of the working resolution, at which the generative models work: the images' own, or lower.
        present: the classes that its models were trained on, and that can be targets.
        differentiable: whether the classifier has gradients.
        flip: whether left and right do not matter to the class.
        engine: the engine that works best with these models, if that is known.
        settings: engine -> setting -> value, where these models are served better than by the engine's own default.
    """

    def __init__(self, file: BundleFile, directory: Path, device: torch.device, explained: str = "classifier") -> None:
        super().__init__(file, directory, device)
        self.explained = explained
        if explained not in CLASSIFIERS:
            raise BundleError(
                f"bundle {file.name}: {unknown_name('classifier', explained, [*filter(self.has, CLASSIFIERS)])}"
            )
        classifier = file.parts.get(explained)
        foreign = None if classifier is None else classifier.foreign
        if classifier is not None and explained != "classifier" and classifier.verdict == "useless":
            raise BundleError(
                f"bundle {file.name}: {explained} is useless: {classifier.because}; "
                f"`cfx train {directory} --more 10m` goes on training it"
            )
        self.labels = list(file.classes)
        self.labelling = Labelling(None if foreign is None or foreign.among else foreign.columns)
        self._own_classes = None if foreign is None else foreign.classes
        self.shape = file.shape
        self.working = file.working or file.shape[1:]
        labels = torch.arange(len(self.labels)) if file.present is None else torch.tensor(file.present)
        self.present: list[int] = self.labelling.classes_of(labels).tolist()
        self.differentiable = foreign is None or foreign.differentiable
        self.engine = file.engine
        self.settings = file.settings
        self.flip = file.images is not None and file.images.flip

    def _holds(self, name: str) -> bool:
        return name not in JUDGES

    def must_have(self, name: str) -> PartEntry:
        """As `Parts.must_have`; a judge is refused."""
        if name in JUDGES:
            raise BundleError(f"bundle {self.name}: part {name!r} is a judge, and no engine may see a judge")
        return super().must_have(name)

    @cached_property
    def classes(self) -> list[str]:
        """K names, in the order of the classifier's logits."""
        columns = self.labelling.columns
        if columns is None:
            return self.labels
        names = self._own_classes
        if names is None:  # a bundle of an earlier version, which stored only the names of the labels
            with torch.inference_mode():
                count = self.classifier(torch.zeros(1, *self.shape, device=self.device)).shape[1]
            names = [f"class {index}" for index in range(count)]
        own = dict(zip(columns, self.labels[: len(columns)], strict=True))
        return [own.get(index, name) for index, name in enumerate(names)]

    @property
    def is_lowres(self) -> bool:
        """Whether models work at a lower resolution: the change is upsampled and added to the image."""
        return self.working != self.shape[1:]

    @property
    def classifier(self) -> nn.Module:
        """The classifier that is explained."""
        return self.part(self.explained)


class Judges(Parts):
    """The parts of a bundle that score counterfactuals; no engine may use them."""

    def usable(self, name: str) -> bool:
        """Whether there is such a judge, and what is measured with it means something."""
        return self.has(name) and self.useless(name) is None

    def useless(self, name: str) -> str | None:
        """Why nothing that is measured with a judge means anything; None if it does, or if there is no such judge."""
        entry = self._entries.get(name)
        if entry is None or entry.verdict != "useless":
            return None
        return f"{name} is useless: {entry.because}; `cfx train {self._directory} --more 10m` goes on training it"

    def _holds(self, name: str) -> bool:
        return name in JUDGES


def files_with_digests(entry: ForeignEntry, directory: Path) -> list[tuple[Path, str | None]]:
    """Every file of a user's classifier and its expected sha256."""
    digests = [] if entry.file is None else [entry.sha256, *entry.other_sha256]
    named = zip_longest(files_of(entry), digests)
    return [
        (directory / (file if is_inner(file) else Path(file).name), digest)  # `reopen` refuses what is outside
        for file, digest in named
        if file is not None
    ]
