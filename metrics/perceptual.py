"""LPIPS, if its pretrained backbone is available. It is never computed with random weights."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BundleError, first_line, reason_of
from .scene import Scene

VARIABLE = "CFX_LPIPS_BACKBONE"
HUB_FILE = "alexnet-owt-7be5be79.pth"
REMEDY = (
    f"LPIPS needs AlexNet's ImageNet convolutions: set {VARIABLE} to a safetensors file that holds them, "
    f"or let torchvision download {HUB_FILE} into the torch hub cache"
)
SMALLEST = 64  # pixels; AlexNet's strides reduce smaller images to nothing


def backbone() -> Path | None:
    """Path of AlexNet's weights: CFX_LPIPS_BACKBONE, else the file in the torch hub cache; None if there is neither."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / HUB_FILE
    return cached if cached.exists() else None


def backbone_digest() -> str | None:
    """The sha256 of the file with AlexNet's weights; None if there is none.

    Raises:
        BundleError: the file cannot be read.
    """
    path = backbone()
    try:
        return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: could not be read ({reason_of(error)}); {REMEDY}") from error


def load_lpips(device: torch.device) -> nn.Module:
    """Loads the LPIPS metric (Zhang et al. 2018, arXiv 1801.03924, version 0.1, AlexNet) with pretrained weights.

    Raises:
        BundleError: there is no backbone, or it is not AlexNet.
    """
    path = backbone()
    if path is None:
        raise BundleError(REMEDY)
    return _load(path, device)


@cache  # reading the weights takes longer than scoring a batch
def _load(path: Path, device: torch.device) -> nn.Module:
    import lpips  # takes twice as long to import as torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = torch.load(path, weights_only=True) if path.suffix == ".pth" else load_file(path)
        convolutions = {name.removeprefix("features."): w for name, w in weights.items() if "classifier" not in name}
        metric = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
        # lpips keeps AlexNet's layers in slices, under the numbers that they have in torchvision's `features`.
        for block in [getattr(metric.net, f"slice{number}") for number in range(1, 6)]:
            for number, layer in block.named_children():
                if isinstance(layer, nn.Conv2d):
                    layer.load_state_dict({k: convolutions[f"{number}.{k}"].float() for k in ("weight", "bias")})
    except OSError as error:
        raise BundleError(f"{path}: could not be read ({reason_of(error)}); {REMEDY}") from error
    except (LookupError, AttributeError, EOFError, RuntimeError, ValueError, UnpicklingError, SafetensorError) as error:
        raise BundleError(f"{path}: not AlexNet's convolutions ({first_line(error)}); {REMEDY}") from error
    return metric.to(device).eval().requires_grad_(False)


def lpips_distance(metric: nn.Module, factuals: Tensor, counterfactuals: Tensor) -> Tensor:
    """LPIPS between images (N, C, H, W) in [0, 1]: (N,), in [0, inf); lower is perceptually closer.

    Grey images are expanded to three equal channels, and small ones are enlarged to 64 pixels. The values are
    therefore comparable with one another, but not with those of photographs.
    """

    def prepared(images: Tensor) -> Tensor:
        images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        small = min(images.shape[2:])
        if small < SMALLEST:
            images = F.interpolate(images, scale_factor=SMALLEST / small, mode="bilinear", align_corners=False)
        return images * 2 - 1

    return metric(prepared(factuals), prepared(counterfactuals)).flatten()


def lpips(scene: Scene) -> Tensor:
    """LPIPS between counterfactuals and factuals, (N,), in [0, inf); lower is perceptually closer.

    Raises:
        BundleError: its backbone is not available.
    """
    return lpips_distance(load_lpips(scene.factuals.device), scene.factuals, scene.counterfactuals)
