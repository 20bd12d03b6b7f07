"""Runs a foreign classifier on labelled images before its preprocessing is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from time import perf_counter

import torch
from torch import Tensor

from ..classifiers.foreign.adapted import Adapted
from ..classifiers.foreign.contract import Foreign
from ..classifiers.foreign.preprocessing import Preprocessing
from ..errors import UsageError, first_line
from ..images.sets.labelled import Labelled

TIME_LIMIT = 20.0  # seconds for one check; a slow classifier is checked on fewer images
AT_ONCE = 64  # images in one call


class Probe:
    """A foreign classifier and the labelled images on which it is tried.

    Args:
        foreign: the classifier.
        sample: labelled images.
        given: fields of `Preprocessing` that the user has set.

    Attributes:
        preprocessing: as set or declared; otherwise the images unchanged, in their own number of channels or, if the
            classifier fails on that, in three or one.
    """

    def __init__(self, foreign: Foreign, sample: Labelled, given: Mapping[str, object]) -> None:
        self.foreign = foreign
        self.sample = sample
        self.given = dict(given)
        self.preprocessing = self._first_guess()

    def adapted(self, columns: Sequence[int] | None = None, preprocessing: Preprocessing | None = None) -> Adapted:
        """The classifier with `preprocessing`, or with `self.preprocessing` if None."""
        model, differentiable = self.foreign.model, self.foreign.differentiable
        used = preprocessing or self.preprocessing
        return Adapted(model, used, differentiable, columns, fixed_batch=self.foreign.fixed_batch)

    def raw(self, count: int) -> Tensor:
        """The classifier's own output for the first images, (count, ...).

        Raises:
            UsageError: the classifier fails.
        """
        adapted, images = self.adapted(), self.sample.floats(slice(0, count))
        try:
            with torch.no_grad():
                return adapted.raw(images)
        except UsageError:
            raise
        except Exception as error:  # a foreign model may raise anything for a shape that it does not accept
            channels, *size = adapted.preprocessing.to_input(images).shape[1:]
            raise UsageError(
                f"classifier {self.foreign.name}: it fails on images of {channels} channels and {size[0]}x{size[1]} "
                f"pixels ({first_line(error)}); set its input with --channels and --input-size"
            ) from error

    @cached_property
    def classes(self) -> int:
        """The number of the classifier's classes."""
        answer = self.raw(2)
        return max(2, answer.reshape(len(answer), -1).shape[1])  # one output per image distinguishes two classes

    @cached_property
    def seconds_per_image(self) -> float:
        """The classifier's running time per image."""
        self.raw(8)  # the first call is slower
        start = perf_counter()
        count = len(self.raw(8))
        return (perf_counter() - start) / count

    def affordable(self, limits: tuple[int, int], runs: int = 1) -> Labelled:
        """As many images, within limits, as the classifier can process `runs` times within `TIME_LIMIT`."""
        least, most = limits
        return self.sample[: max(least, min(most, int(TIME_LIMIT / (runs * self.seconds_per_image))))]

    def _first_guess(self) -> Preprocessing:
        declared = self.foreign.preprocessing
        if declared is not None:
            return Preprocessing.from_dict(vars(declared) | self.given)
        own = int(self.sample.images.shape[1])
        if "channels" in self.given:
            return Preprocessing.from_dict(self.given)
        for channels in dict.fromkeys((own, 3, 1)):
            preprocessing = Preprocessing.from_dict({"channels": channels, **self.given})
            try:
                with torch.no_grad():
                    self.adapted(preprocessing=preprocessing).raw(self.sample.floats(slice(0, 1)))
            except Exception:  # as in `raw`
                continue
            return preprocessing
        return Preprocessing.from_dict({"channels": own, **self.given})


@torch.no_grad()
def logits_of(adapted: Adapted, sample: Labelled) -> Tensor:
    """The classifier's logits of labelled images, (N, K)."""
    return torch.cat([adapted(batch.floats()) for batch in sample.batches(AT_ONCE)])
