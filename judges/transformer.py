"""A small vision transformer: the second judge, which differs in kind from the convolutional networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchTransformer(nn.Module):
    """Patches, learned positions, pre-norm transformer layers, mean of the tokens: image batch -> logits.

    Dosovitskiy et al. 2021, arXiv 2010.11929, without the class token. Trained from scratch on small images it is
    less accurate than a convolutional network, but it makes different errors, so it gives a useful second opinion.

    Args:
        channels: number of input channels.
        size: height and width of the input in pixels, or the side of square images.
        classes: number of classes.
        patch: side of a patch, in pixels; images are padded to whole patches.
        width: dimension of a token.
        depth: number of layers.
    """

    def __init__(
        self,
        channels: int = 1,
        size: int | Sequence[int] = 28,
        classes: int = 10,
        patch: int = 4,
        width: int = 48,
        depth: int = 5,
    ) -> None:
        super().__init__()
        height, wide = (size, size) if isinstance(size, int) else size
        self.missing = (0, -wide % patch, 0, -height % patch)
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, -(-height // patch) * -(-wide // patch), width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, nhead=4, dim_feedforward=2 * width, dropout=0.0, activation="gelu",
                batch_first=True, norm_first=True,
            )
            for _ in range(depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> logits (N, K)."""
        images = F.pad(images, self.missing, mode="replicate") if any(self.missing) else images
        tokens = self.patches(images - 0.5).flatten(2).transpose(1, 2) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(self.norm(tokens).mean(dim=1))
