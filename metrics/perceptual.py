"""LPIPS, where its backbone is to be had: never with random weights."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BundleError
from .scene import Scene

VARIABLE = "CFX_LPIPS_BACKBONE"
HUB_FILE = "alexnet-owt-7be5be79.pth"
REMEDY = (
    f"LPIPS needs AlexNet's ImageNet convolutions: set {VARIABLE} to a safetensors file of them, "
    f"or let torchvision download {HUB_FILE} into the torch hub cache"
)
SMALLEST = 64  # pixels; AlexNet's strides leave nothing of smaller images


def backbone() -> Path | None:
    """Where AlexNet's weights lie: CFX_LPIPS_BACKBONE, else the torch hub cache, else nowhere."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / HUB_FILE
    return cached if cached.exists() else None


def load_lpips(device: torch.device) -> nn.Module:
    """The LPIPS metric (Zhang et al. 2018, arXiv 1801.03924, version 0.1, AlexNet) with genuine weights.

    Raises:
        BundleError: no backbone, or not AlexNet's.
    """
    path = backbone()
    if path is None:
        raise BundleError(REMEDY)
    return _load(path, device)


@cache  # batches come one after another, and the weights take longer to read than a batch to score
def _load(path: Path, device: torch.device) -> nn.Module:
    import lpips  # costs twice the import of torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = torch.load(path, weights_only=True) if path.suffix == ".pth" else load_file(path)
        convolutions = {name.removeprefix("features."): w for name, w in weights.items() if "classifier" not in name}
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            metric = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
        # lpips keeps AlexNet's layers in slices, under the numbers that they have in torchvision's `features`.
        for block in [getattr(metric.net, f"slice{number}") for number in range(1, 6)]:
            for number, layer in block.named_children():
                if isinstance(layer, nn.Conv2d):
                    layer.load_state_dict({k: convolutions[f"{number}.{k}"].float() for k in ("weight", "bias")})
    except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
        raise BundleError(f"{path}: not AlexNet's convolutions ({error}); {REMEDY}") from error
    return metric.to(device).eval().requires_grad_(False)


def lpips_distance(metric: nn.Module, factuals: Tensor, counterfactuals: Tensor) -> Tensor:
    """LPIPS of images (N, C, H, W) in [0, 1], (N,), in [0, inf); lower is nearer to the eye.

    Grey images are given three equal channels, small ones are enlarged to 64 pixels; so the values compare
    with one another, not with those of photographs.
    """

    def prepared(images: Tensor) -> Tensor:
        images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        small = min(images.shape[2:])
        if small < SMALLEST:
            images = F.interpolate(images, scale_factor=SMALLEST / small, mode="bilinear", align_corners=False)
        return images * 2 - 1

    return metric(prepared(factuals), prepared(counterfactuals)).flatten()


def lpips(scene: Scene) -> Tensor:
    """LPIPS of counterfactuals and factuals, (N,), in [0, inf); lower is nearer to the eye.

    Raises:
        BundleError: its backbone is not to be had.
    """
    return lpips_distance(load_lpips(scene.factuals.device), scene.factuals, scene.counterfactuals)
