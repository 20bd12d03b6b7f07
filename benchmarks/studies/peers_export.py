"""Exports the explained classifier and the questions of a run, for other people's tools."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ...answers.question import QuestionBatch
from ...bundles.bundle import Bundle
from ...classifiers.convolutional import ConvNet
from ...errors import UsageError
from .peers_exchange import Array, Work

CHECKED = 256  # images on which the port must agree, in addition to those that are asked about


def exported(classifier: nn.Module) -> dict[str, Array]:
    """Export a `ConvNet` for channels-last networks; batch norms are folded into the convolutions before them.

    Returns:
        Mean and deviation; for each convolution a kernel (3, 3, inputs, outputs) and a bias (outputs,); for `hidden`
        and `head` a kernel (inputs, outputs) and a bias. Inputs of `hidden` are in the order (row, column, channel).

    Raises:
        UsageError: the classifier is not a `ConvNet`.
    """
    if not isinstance(classifier, ConvNet):
        raise UsageError(f"the peers' port supports only ConvNet, but the classifier is a {type(classifier).__name__}")
    # As in ConvNet.forward. peers_search.py compares the logits, so it detects if they change there.
    arrays: dict[str, Array] = {
        "mean": np.asarray(classifier.mean, np.float32),
        "deviation": np.asarray(classifier.std, np.float32),
    }

    def put(name: str, kernel: Tensor, bias: Tensor) -> None:
        arrays[f"{name}.kernel"] = kernel.float().contiguous().cpu().numpy()
        arrays[f"{name}.bias"] = bias.float().cpu().numpy()

    layers = list(classifier.features)
    convolutions = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    channels = 0
    with torch.no_grad():
        for number, place in enumerate(convolutions):
            convolution, norm = layers[place], layers[place + 1]
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None and norm.running_var is not None
            mean, variance = norm.running_mean.double(), norm.running_var.double()
            scale = norm.weight.double() / (variance + norm.eps).sqrt()
            kernel = convolution.weight.double() * scale[:, None, None, None]
            put(f"convolution{number}", kernel.permute(2, 3, 1, 0), norm.bias.double() - mean * scale)
            channels = convolution.out_channels
        (hidden,) = (layer for layer in layers if isinstance(layer, nn.Linear))
        side = round((hidden.in_features / channels) ** 0.5)
        # torch flattens in the order (channel, row, column)
        kernel = hidden.weight.view(-1, channels, side, side).permute(2, 3, 1, 0).flatten(0, 2)
        put("hidden", kernel, hidden.bias)
        put("head", classifier.head.weight.T, classifier.head.bias)
    return arrays


@torch.no_grad()
def work_of(bundle: Bundle, batch: QuestionBatch, threshold: float, trained_on: Tensor) -> Work:
    """Collect everything that a peer needs to answer questions of a run.

    Args:
        bundle: holds the classifier.
        batch: the questions.
        threshold: minimum confidence of a counterfactual.
        trained_on: (M, C, H, W) uint8, the training images of the generative models.
    """
    images = batch.images
    checked = torch.cat([images, trained_on[:CHECKED].to(images) / 255])
    places = {name: index for index, name in enumerate(bundle.classes)}
    return Work(
        images=images.cpu().numpy(),
        factuals=np.array([places[question.factual.name] for question in batch.questions]),
        targets=batch.targets.cpu().numpy(),
        threshold=threshold,
        training_images=trained_on.numpy(),
        weights=exported(bundle.classifier),
        checked=checked.cpu().numpy(),
        logits=bundle.classifier(checked).cpu().numpy(),
    )
