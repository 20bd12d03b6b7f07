"""Our own network as a stranger would hand it over: without its normalisation, in four formats."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...bundles.bundle import load_bundle
from ...classifiers.convolutional import ConvNet
from ...classifiers.foreign.contract import Foreign
from ...classifiers.foreign.opening import open_classifier
from ...classifiers.foreign.preprocessing import NORMALISATIONS, Preprocessing
from ...images.sets.image_set import ImageSet
from ...images.sets.labelled import Labelled
from ...images.sets.pictures import ArrayPictures
from .strangers_found import Stranger

SIX = ("none", "-1..1", "imagenet", "mnist", "cifar10", "0..255")
OF_PHOTOS = ("none", "-1..1", "imagenet", "cifar10", "0..255")
BGR = "imagenet"  # also in the order BGR
FORMATS = {"pt2": ".pt2", "TorchScript": ".pt", "ONNX": ".onnx", "code": ".py"}  # name -> ending
SIDE = 32  # pixels of photographs
MADE: dict[str, nn.Module] = {}  # what the factories return
EPOCHS, BATCH, RATE = 30, 64, 2e-3


class Expecting(nn.Module):
    """A classifier of images in [0, 1] that takes input with a preprocessing, which it undoes.

    Args:
        inner: image batch (N, 1 or 3, H, W) -> logits.
        preprocessing: that its input has gone through.
        grey: make it grey for `inner`.
    """

    def __init__(self, inner: nn.Module, preprocessing: Preprocessing, *, grey: bool) -> None:
        super().__init__()
        mean, std = (torch.tensor(values).expand(3) for values in (preprocessing.mean, preprocessing.std))
        undoing = nn.Conv2d(3, 3, 1, groups=3)
        undoing.weight.data = (std / preprocessing.scale).reshape(3, 1, 1, 1).clone()
        undoing.bias = nn.Parameter((mean / preprocessing.scale).clone())
        self.undoing, self.inner, self.grey, self.flips = undoing, inner, grey, preprocessing.order == "bgr"

    def forward(self, inputs: Tensor) -> Tensor:
        images = self.undoing(inputs)
        if self.flips:
            images = images.flip(1)
        if self.grey:
            images = images.mean(dim=1, keepdim=True)
        return self.inner(images)


def own_digits(digits: ImageSet, directory: Path) -> Iterator[Stranger]:
    """The shipped classifier of digits behind six normalisations of grey digits in three channels."""
    inner = load_bundle("mnist").part("classifier")
    for name in SIX:
        yield from saved(f"ConvNet of digits, {name}", inner, expected(name), digits, directory, grey=True)


def own_photos(photos: ImageSet, directory: Path) -> Iterator[Stranger]:
    """A network trained on half of the photographs, to be read by the other half."""
    order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(1))
    half = len(photos) // 2
    inner = trained(photos.load(order[:half], (3, SIDE, SIDE)).data, len(photos.classes))
    rest = photos.load(order[half:], (3, SIDE, SIDE)).data
    others = ImageSet(photos.name, photos.classes, rest.labels, ("",) * len(rest), ArrayPictures(rest.images))
    for name in OF_PHOTOS:
        yield from saved(f"ConvNet of photographs, {name}", inner, expected(name), others, directory, grey=False)
    name = f"ConvNet of photographs, {BGR}, BGR"
    yield from saved(name, inner, expected(BGR, "bgr"), others, directory, grey=False)


def expected(name: str, order: str = "rgb") -> Preprocessing:
    """A normalisation by its name, of three channels."""
    scale, mean, std = NORMALISATIONS[name]
    return Preprocessing(3, scale=scale, mean=mean, std=std, order=order)


def saved(
    name: str, inner: nn.Module, maker: Preprocessing, images: ImageSet, directory: Path, *, grey: bool
) -> Iterator[Stranger]:
    """A network that takes the input of `maker`, saved in each of the `FORMATS`."""
    model = Expecting(inner, maker, grey=grey).eval()
    example = torch.rand(2, 3, *images.survey().size)
    for saved_as in FORMATS:

        def opened(saved_as: str = saved_as) -> Foreign:
            return open_classifier(save(model, example, saved_as, directory))

        yield Stranger(name=name, saved_as=saved_as, maker=maker, images=images, open=opened)


def save(model: nn.Module, example: Tensor, saved_as: str, directory: Path) -> str:
    """Saves a model in one of the `FORMATS` and returns what `open_classifier` is given."""
    number = len(list(directory.iterdir()))
    path = directory / f"stranger_{number}{FORMATS[saved_as]}"
    if saved_as == "pt2":
        program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("n")},))
        torch.export.save(program, path)
    elif saved_as == "TorchScript":
        torch.jit.save(torch.jit.trace(model, example), path)
    elif saved_as == "ONNX":
        dynamic: Any = {"images": {0: "n"}}
        torch.onnx.export(model, (example,), path, dynamo=False, input_names=["images"], dynamic_axes=dynamic)
    else:
        MADE[path.stem] = model
        path.write_text(f"import sys\n\n\ndef make():\n    return sys.modules[{__name__!r}].MADE[{path.stem!r}]\n")
        if str(directory) not in sys.path:
            sys.path.append(str(directory))
        importlib.invalidate_caches()
        return f"{path.stem}:make"
    return str(path)


def trained(data: Labelled, classes: int) -> nn.Module:
    """A ConvNet trained on labelled photographs for about a minute."""
    torch.manual_seed(0)
    images = data.floats()
    model = ConvNet(3, data.images.shape[2:], classes, mean=float(images.mean()), std=float(images.std()))
    steps = EPOCHS * -(-len(data) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(data)).split(BATCH):
            optimiser.zero_grad()
            F.cross_entropy(model(images[index]), data.labels[index]).backward()
            optimiser.step()
            schedule.step()
    return model.eval()
