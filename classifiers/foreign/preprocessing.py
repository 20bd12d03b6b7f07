"""Converts image batches in [0, 1] to the input of a foreign classifier, and its output to logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite, log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UsageError, unknown_name

ORDERS = ("rgb", "bgr")
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
OUTPUTS = (
    *("logits", "probabilities", "log-probabilities", "sigmoid", "binary-logit"),
    *("multi-label", "multi-label-logits"),
)
MULTI_LABEL = {"multi-label": "sigmoid", "multi-label-logits": "binary-logit"}
"""Outputs with an independent yes or no for each label -> the kind of a single label's number."""

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601-7, section 2.5.1

# Name -> (scale, mean, standard deviation); mean and standard deviation in units after scaling.
NORMALISATIONS: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "none": (1.0, (0.0,), (1.0,)),
    "-1..1": (1.0, (0.5,), (0.5,)),
    "imagenet": (1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # torchvision's presets
    "mnist": (1.0, (0.1307,), (0.3081,)),  # PyTorch's examples/mnist
    "fashion-mnist": (1.0, (0.2860,), (0.3530,)),  # moments of its training images
    "cifar10": (1.0, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),  # moments of its training images
    "0..255": (255.0, (0.0,), (1.0,)),
}


@dataclass(frozen=True)
class Preprocessing:
    """The input format of a classifier and the meaning of its output: input = (scale * image - mean) / std.

    Attributes:
        channels: number of channels that the model takes, 1 or 3.
        size: (H, W) that the model takes; None: any.
        order: order of the three channels, "rgb" or "bgr".
        scale: value of white before mean and std: 1 or, for some models, 255.
        mean: subtracted after scaling; one value for all channels or one per channel, in units after scaling.
        std: divisor after subtracting `mean`, in the same form; never 0.
        interpolation: how images of another size are resized. The whole image is resized; nothing is cropped.
        output: one of `OUTPUTS`. "sigmoid" is one probability per image and "binary-logit" one logit per image. Both
            mean two classes, and the number is that of the second class. "multi-label" is one such probability per
            label, "multi-label-logits" one logit per label.
        label: which label of a multi-label output is meant; the two classes are without it and with it.
        output_index: index or name of the model's output, if it returns several.

    Raises:
        UsageError: a field has another value.
    """

    channels: int
    size: tuple[int, int] | None = None
    order: str = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    interpolation: str = "bilinear"
    output: str = "logits"
    label: int | None = None
    output_index: int | str | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("order", self.order, ORDERS),
            ("interpolation", self.interpolation, INTERPOLATIONS),
            ("output", self.output, OUTPUTS),
        ):
            if value not in known:
                raise unknown_name(f"preprocessing {name}", str(value), known)
        if type(self.channels) is not int or self.channels not in (1, 3):
            raise UsageError(f"preprocessing: channels is {self.channels!r}; it must be 1 or 3")
        if not _number(self.scale) or self.scale <= 0:
            raise UsageError(f"preprocessing: scale is {self.scale!r}; it must be a number above 0, such as 1 or 255")
        if self.size is not None and not _sides(self.size):
            raise UsageError(f"preprocessing: size is {self.size!r}; it must be height and width in pixels")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not isinstance(values, tuple) or len(values) not in (1, self.channels) or not all(map(_number, values)):
                wanted = "one number" if self.channels == 1 else "1 or 3 numbers"
                raise UsageError(f"preprocessing: {name} is {values!r}; it must be {wanted}")
        if self.label is not None and self.output not in MULTI_LABEL:
            raise UsageError(f"preprocessing: output is {self.output!r}, which has no labels; omit the label")
        if 0 in self.std:
            raise UsageError(f"preprocessing: std is {self.std!r}; it is a divisor, so it must not be 0")

    def as_dict(self) -> dict[str, Any]:
        """The fields as numbers, strings and lists, for TOML or JSON; `size` is left out if it is None."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `as_dict`.

        Raises:
            UsageError: a field is unknown or missing, or has an invalid value.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise unknown_name("preprocessing field", name, known)
        if "channels" not in values:
            raise UsageError("preprocessing: channels is missing; it must be 1 or 3")
        given: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in values.items()}
        return cls(**given)

    def to_input(self, images: Tensor) -> Tensor:
        """Converts images (N, 1 or 3, H, W) in [0, 1] to the model's input (N, channels, *size); differentiable.

        Raises:
            UsageError: the images have another number of channels.
        """
        if images.dim() != 4 or images.shape[1] not in (1, 3):
            raise UsageError(f"images must be (N, 1 or 3, H, W), got {tuple(images.shape)}")
        if images.shape[1] == 3 and self.channels == 1:
            images = (images * images.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        elif images.shape[1] == 1 and self.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        if self.size is not None and images.shape[2:] != self.size:
            images = self._resized(images, self.size)
        if self.order == "bgr" and self.channels == 3:
            images = images.flip(1)
        mean = images.new_tensor(self.mean)[:, None, None]
        std = images.new_tensor(self.std)[:, None, None]
        return (images * self.scale - mean) / std

    def to_logits(self, output: Tensor) -> Tensor:
        """Converts the model's output to logits (N, K), whose softmax gives the model's probabilities.

        Args:
            output: (N, K) or (N, K, 1, 1), or (N,) or (N, 1) for "sigmoid" and "binary-logit".

        Returns:
            float32. The logarithm of a probability of exactly 0, minus infinity, is replaced by `_least_logarithm`, and
            its gradient is 0. No other value is changed, so that classes keep their order.

        Raises:
            UsageError: the output has another shape.
        """
        got = tuple(output.shape)
        if output.dim() > 2 and output.shape[2:].numel() == 1:
            output = output.flatten(1)
        kind = self.output
        if kind in MULTI_LABEL:
            if self.label is None:
                raise UsageError("the classifier has several labels, and none is chosen; choose one with --label")
            if output.dim() != 2 or self.label >= output.shape[1]:
                raise UsageError(f"the classifier returns {got}, which has no label {self.label}, counted from 0")
            kind, output = MULTI_LABEL[kind], output[:, self.label]
        if kind in ("sigmoid", "binary-logit"):
            if output.dim() not in (1, 2) or output.shape[1:].numel() != 1:
                raise UsageError(
                    f"the classifier returns {got} where {self.output!r} means one number per image; "
                    "set its output to logits or probabilities"
                )
            yes = output.reshape(-1, 1)
            if kind == "binary-logit":
                return torch.cat([torch.zeros_like(yes), yes], dim=1).float()
            return torch.cat([_log_of_rest(yes), _logarithm(yes)], dim=1).float()
        if output.dim() != 2 or output.shape[1] < 2:
            raise UsageError(
                f"the classifier returns {got} where (N, K) {self.output} of two or more classes are needed; "
                "for one number per image set its output to sigmoid or binary-logit"
            )
        if self.output == "probabilities":
            return _logarithm(output).float()
        return _finite(output.float()) if self.output == "log-probabilities" else output.float()

    def _resized(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        if self.interpolation == "nearest":
            return F.interpolate(images, size, mode="nearest-exact")
        resized = F.interpolate(images, size, mode=self.interpolation, align_corners=False, antialias=True)
        return resized.clamp(0, 1)  # bicubic overshoots to values outside the range of an image


def candidates(preprocessing: Preprocessing) -> dict[str, Preprocessing]:
    """Variants of `preprocessing` with each of the `NORMALISATIONS` that the model may expect, by name."""
    return {
        name: replace(preprocessing, scale=scale, mean=mean, std=std)
        for name, (scale, mean, std) in NORMALISATIONS.items()
        if len(mean) in (1, preprocessing.channels)
    }


def _least_logarithm(dtype: torch.dtype) -> float:
    """The logarithm of the smallest positive number of a type (-103.3 for float32), which replaces that of 0.

    It is finite, and not above the logarithm of any probability that the type can represent.
    """
    limits = torch.finfo(dtype)
    return log(limits.tiny * limits.eps)  # the smallest subnormal number


def _logarithm(probabilities: Tensor) -> Tensor:
    """The logarithm of probabilities, at least in float32, with finite values and gradients.

    The gradient 1/p is replaced by 0 where p is subnormal in its own type, because it would overflow there.
    """
    usable = probabilities >= torch.finfo(_floating(probabilities.dtype)).tiny
    values = probabilities.to(torch.promote_types(probabilities.dtype, torch.float32))
    # The inner `where` keeps the infinite gradient of log(0) out of the product with the zero gradient of the outer.
    logarithms = torch.where(usable, values, 1).log()
    tails = values.detach().clamp_min(0).log().clamp_min(_least_logarithm(values.dtype))
    return torch.where(usable, logarithms, tails)


def _log_of_rest(probabilities: Tensor) -> Tensor:
    """log(1 - p), as `_logarithm`, but without losing small p, which 1 - p would round away."""
    values = probabilities.to(torch.promote_types(probabilities.dtype, torch.float32))
    certain = values >= 1
    return torch.where(certain, _least_logarithm(values.dtype), torch.log1p(-torch.where(certain, 0, values)))


def _finite(logarithms: Tensor) -> Tensor:
    """Log-probabilities (N, K) whose minus infinities become `_least_logarithm` or, if lower, their row's minimum."""
    infinite = logarithms.isneginf()
    least = logarithms.detach().masked_fill(infinite, 0).amin(dim=1, keepdim=True)
    return torch.where(infinite, least.clamp_max(_least_logarithm(logarithms.dtype)), logarithms)


def _floating(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype.is_floating_point else torch.float32


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _sides(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)
