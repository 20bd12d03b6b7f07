"""Whether a classifier's confidence is what it seems, on labelled images."""

from __future__ import annotations

from math import log10

import torch
import torch.nn.functional as F
from torch import Tensor

from ..intervals import wilson
from .likelihood import COLDEST, HOTTEST

STEPS = 121  # temperatures looked at, in equal steps of their logarithms
FAR = (0.5, 2.0)  # temperatures outside of which confidences are far from what they seem
LIKELY = 1.92  # fall of the log-likelihood at the ends of a 95 % interval: half of chi-square's 3.84
SURE = 0.9  # the confidence that is asked for unless the user says otherwise
FEWEST = 30  # images, and images of that confidence, from which on something is said of them


def calibration_notes(logits: Tensor, labels: Tensor) -> list[str]:
    """What a confidence of 90 % means, if the temperature that fits the labels best is surely far from 1.

    A temperature is a divisor of the logits (Guo et al. 2017): above 1, the classifier is too sure of itself. It is
    surely far from 1 if its whole likelihood interval lies outside of `FAR`.

    Args:
        logits: (N, K), of labelled images.
        labels: (N,)
    """
    if len(labels) < FEWEST or not torch.isfinite(logits).all():
        return []
    scores = logits.double()

    def loss(temperature: float) -> Tensor:
        return F.cross_entropy(scores / temperature, labels, reduction="sum")

    if loss(1) <= min(loss(FAR[0]), loss(FAR[1])):  # the loss is convex in 1 / temperature: the best one is not far
        return []
    tried = torch.logspace(log10(COLDEST), log10(HOTTEST), STEPS, dtype=torch.float64)
    losses = torch.stack([loss(float(each)) for each in tried])
    likely = tried[losses <= losses.min() + LIKELY]
    low, high, best = float(likely.min()), float(likely.max()), float(tried[losses.argmin()])
    if FAR[0] <= high and low <= FAR[1]:
        return []
    confidence, seen = logits.softmax(dim=1).max(dim=1)
    right, sure = seen == labels, confidence >= SURE
    of, found = int(sure.sum()), int((right & sure).sum())
    too, rate = "surer" if low > FAR[1] else "less sure", float(right.float().mean())
    interval = f"temperature {best:.2g}, interval {low:.2g} to {high:.2g}"
    says = (
        f"the classifier is {too} than it is right: on {len(labels)} labelled images its confidence is "
        f"{float(confidence.mean()):.1%} on average, and {rate:.1%} are right ({interval})"
    )
    if of >= FEWEST:
        least, most = wilson(found, of)
        says += (
            f"; confidence 90 % or more means {found / of:.1%} right for this model ({found} of {of} images, "
            f"{least:.1%} to {most:.1%})"
        )
    return [says]
