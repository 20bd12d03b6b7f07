"""What the suite asks engines about: real images, and classifiers that behave as others may."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..bundles.bundle import Bundle
from ..generative.donors import Donors

PER_CLASS = 20  # real images that are looked at for each class, to find one that the classifier gets right


class Counting(nn.Module):
    """Counts the images that pass through a classifier."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return self.classifier(images)


class Undecided(nn.Module):
    """Adds other noise to a classifier's logits at each evaluation."""

    def __init__(self, classifier: nn.Module, noise: float = 5.0) -> None:
        super().__init__()
        self.classifier = classifier
        self.noise = noise
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.classifier(images)
        return logits + self.noise * torch.randn(logits.shape, generator=self.generator).to(logits)


class Never(nn.Module):
    """A classifier that never sees some classes."""

    def __init__(self, classifier: nn.Module, classes: Tensor) -> None:
        super().__init__()
        self.classifier = classifier
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(images).index_fill(1, self.classes, -50.0)


def questions_of(bundle: Bundle, count: int) -> tuple[Tensor, Tensor]:
    """Real images of a bundle that its classifier gets right, (N, C, H, W), and another class as target of each."""
    donors, present = bundle.part("donors", Donors), torch.tensor(bundle.present, device=bundle.device)
    labels = bundle.labelling.labels_of(present)
    images: list[Tensor] = []
    targets: list[int] = []
    with torch.no_grad():
        for place in range(count):
            turn, own = divmod(place, len(present))
            candidates = donors.of_label(int(labels[own])).images[turn : turn + PER_CLASS]
            right = bundle.classifier(candidates).argmax(dim=1) == present[own]
            images.append(candidates[int(right.int().argmax())])
            other = 1 + place % (len(present) - 1)
            targets.append(int(present[(own + other) % len(present)]))
    return torch.stack(images), torch.tensor(targets, dtype=torch.int64, device=images[0].device)
