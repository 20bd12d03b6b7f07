"""Runs a foreign classifier on images before its preprocessing is known, in every way in which cfx will run it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from time import perf_counter

import torch
from torch import Tensor

from ..classifiers.foreign.adapted import Adapted, padded
from ..classifiers.foreign.contract import Foreign
from ..classifiers.foreign.memory_format import RUNS, prefers_channels_last
from ..classifiers.foreign.outputs import choose_output, columns_of, outputs_of, shape_of, shown
from ..classifiers.foreign.preprocessing import MULTI_LABEL, Preprocessing
from ..classifiers.foreign.signatures import fault_of
from ..errors import UsageError, first_line
from ..images.sets.labelled import Labelled

TIME_LIMIT = 20.0  # seconds for one check; a slow classifier is checked on fewer images
BATCH_SIZE = 64  # images in one call
COMPARED = 8  # images on which answers are compared
USUAL_SIZES = (224, 32, 28, 64, 96, 128, 256, 299, 384, 512)  # pixels, tried where the images' own size fails
EXPORTED = ("pt2", "torchscript", "onnx")  # kinds of classifiers whose mode was fixed when they were exported
LARGEST_MEAN = 2.0  # a larger mean or standard deviation is not in units of an input that ranges from 0 to 1
# Relative to the largest value: batches of different sizes are added up in different orders.
MAX_GAP = {torch.float16: 3e-2, torch.bfloat16: 1e-1}
MAX_GAP_FLOAT32 = 1e-3


class Probe:
    """A foreign classifier and the images on which it is tried.

    Args:
        foreign: the classifier.
        sample: images; their labels are used only by `checking`.
        given: fields of `Preprocessing` that the user has set.
        classes: number of classes, if it is known; it helps to choose one of several outputs.
        seconds: for one check; a slow classifier is checked on fewer images.

    Attributes:
        preprocessing: as set or declared; otherwise the images unchanged, in their own number of channels and size or,
            if the classifier fails on that, in others that it takes.
        least_batch: as in `Adapted`.
        notes: what was decided, one sentence each.

    Raises:
        UsageError: the classifier fails, or an image's answer depends on chance or on the rest of its batch.
    """

    def __init__(
        self,
        foreign: Foreign,
        sample: Labelled,
        given: Mapping[str, object],
        classes: int | None = None,
        *,
        seconds: float = TIME_LIMIT,
    ) -> None:
        self.foreign = foreign
        self.sample = sample
        self.given = dict(given)
        self.seconds = seconds
        self.least_batch = foreign.least_batch
        self.notes: list[str] = [*foreign.notes]
        check_units(self.given)
        self.preprocessing = self._first_guess()
        self._choose_output(classes)
        self._check_single_images()
        self._check_answers()

    def adapted(self, columns: Sequence[int] | None = None, preprocessing: Preprocessing | None = None) -> Adapted:
        """The classifier with `preprocessing`, or with `self.preprocessing` if None."""
        foreign = self.foreign
        sizes = {"fixed_batch": foreign.fixed_batch, "least_batch": self.least_batch}
        used = preprocessing or self.preprocessing
        return Adapted(foreign.model, used, foreign.differentiable, columns, **sizes)

    def raw(self, count: int) -> Tensor:
        """The classifier's own output for the first images, (count, ...).

        Raises:
            UsageError: the classifier fails.
        """
        return self._run(self.sample.floats(slice(0, count)))

    @cached_property
    def classes(self) -> int:
        """The number of the classifier's classes."""
        if self.preprocessing.output in MULTI_LABEL:
            return 2
        answer = self.raw(2)
        return max(2, answer.reshape(len(answer), -1).shape[1])  # one output per image distinguishes two classes

    @cached_property
    def outputs(self) -> dict[int | str, Tensor]:
        """Everything that the model returns for a few images, by index or name."""
        with torch.no_grad():
            return outputs_of(self.foreign.model(self.preprocessing.to_input(self.batch(2))))

    @cached_property
    def seconds_per_image(self) -> float:
        """The classifier's running time per image."""
        self.raw(COMPARED)  # the first call is slower
        start = perf_counter()
        count = len(self.raw(COMPARED))
        return (perf_counter() - start) / count

    def affordable(self, limits: tuple[int, int], runs: int = 1) -> Labelled:
        """As many images, within limits, as the classifier can process `runs` times within `seconds`."""
        least, most = limits
        return self.sample[: max(least, min(most, int(self.seconds / (runs * self.seconds_per_image))))]

    def prefers_channels_last(self, adapted: Adapted) -> bool:
        """Whether the adapted classifier is faster with channels-last weights, which are then left in that format."""
        runs = min(RUNS, int(self.seconds / (8 * COMPARED * self.seconds_per_image)))  # of both, with gradients
        return runs > 1 and prefers_channels_last(adapted, self.sample.floats(slice(0, COMPARED)), runs)

    def batch(self, count: int) -> Tensor:
        """The first images, (N, C, H, W): `count`, or as many as the model takes at once if that is fixed."""
        size = self.foreign.fixed_batch or count
        return padded(self.sample.floats(slice(0, size)), size)

    def _run(self, images: Tensor) -> Tensor:
        """The classifier's own output for images (N, C, H, W) in [0, 1], (N, ...)."""
        adapted = self.adapted()
        try:
            with torch.no_grad():
                return adapted.raw(images)
        except UsageError as error:
            raise UsageError(f"classifier {self.foreign.name}: {error}") from error
        except Exception as error:  # a foreign model may raise anything for an input that it does not accept
            dtype = self._other_dtype()
            if dtype is not None:
                raise UsageError(
                    f"classifier {self.foreign.name}: it fails because its weights are {dtype} and images are float32; "
                    f"call model.float(){self._before_export}"
                ) from error
            fault = fault_of(self.foreign.model, error)
            if fault is not None:
                raise UsageError(f"classifier {self.foreign.name}: {fault} ({first_line(error)})") from error
            channels, *size = adapted.preprocessing.to_input(images).shape[1:]
            raise UsageError(
                f"classifier {self.foreign.name}: it fails on images of {channels} channels and {size[0]}x{size[1]} "
                f"pixels ({first_line(error)}); set its input with {self._options}"
            ) from error

    @property
    def _options(self) -> str:
        live = self.foreign.kind == "live"
        return "channels and size in preprocessing" if live else "--channels and --input-size"

    @property
    def _before_export(self) -> str:
        return " before exporting it" if self.foreign.kind in EXPORTED else ""

    def _other_dtype(self) -> str | None:
        """The type of the model's weights if they are floating point numbers, but not float32."""
        for tensor in self.foreign.model.state_dict().values():
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.dtype != torch.float32:
                return str(tensor.dtype).removeprefix("torch.")
        return None

    def _first_guess(self) -> Preprocessing:
        declared = self.foreign.preprocessing
        own = int(self.sample.images.shape[1])
        known = {} if declared is None else {name: getattr(declared, name) for name in self.foreign.declared}
        fixed = {**known, **self.given}
        first = Preprocessing.from_dict({"channels": own, **({} if declared is None else vars(declared)), **self.given})
        sizes = [first.size] if "size" in fixed else [None, *((side, side) for side in USUAL_SIZES)]
        channels = [first.channels] if "channels" in fixed else list(dict.fromkeys((own, 3, 1)))
        for size in sizes:
            for count in channels:
                guess = replace(first, channels=count, size=size)
                if self.accepts(guess):
                    if size != first.size:
                        height, width = self.sample.images.shape[2:]
                        self.notes.append(
                            f"the classifier fails on images of {height}x{width} pixels and takes {size[0]}x{size[1]}: "  # pyright: ignore[reportOptionalSubscript]
                            "they are resized for it; --input-size sets another size"
                        )
                    return guess
        return first

    def accepts(self, preprocessing: Preprocessing) -> bool:
        """Whether the classifier runs on two images."""
        try:
            with torch.no_grad():
                self.foreign.model(preprocessing.to_input(self.batch(2)))
        except Exception:  # as in `_run`
            return False
        return True

    def _choose_output(self, classes: int | None) -> None:
        """Choose one of several outputs, and say why."""
        self._run(self.sample.floats(slice(0, 2)))  # a classifier that fails does so here, with its sentence
        found, given = self.outputs, self.given.get("output_index")
        if len(found) < 2 or given is not None:
            return
        chosen, why = choose_output(found, classes)
        self.preprocessing = replace(self.preprocessing, output_index=chosen)
        self.notes.append(
            f"the classifier returns {len(found)} outputs, {shown(found)}: {chosen} is taken, {why}; "
            "--output-index N|NAME takes another"
        )

    def described_outputs(self) -> str:
        """The outputs and their shapes, to be added to a message about the number of classes; "" if there is one."""
        found, index = self.outputs, self.preprocessing.output_index
        if len(found) < 2:
            return ""
        return f"; of its outputs {shown(found)} it is {index} that is taken: --output-index N|NAME takes another"

    def _check_single_images(self) -> None:
        """Have single images asked about in pairs if the classifier drops the batch dimension of one image."""
        if self.foreign.fixed_batch is not None:
            return
        try:
            self._run(self.sample.floats(slice(0, 1)))
        except UsageError:
            self.least_batch = 2
            self._run(self.sample.floats(slice(0, 1)))
            self.notes.append(
                "the classifier takes two images or more, not one (as a model with .squeeze() in it): cfx asks about "
                "single images twice at once"
            )

    def _check_answers(self) -> None:
        """Refuse a classifier whose answers to the same image differ.

        Raises:
            UsageError: they differ between calls, or with the other images of the batch.
        """
        together = self.raw(COMPARED)
        if columns_of(together) is None:
            raise UsageError(
                f"classifier {self.foreign.name}: it returns {shape_of(together)} for N images; cfx needs one row of "
                f"numbers, (N, K){self.described_outputs()}"
            )
        again = self.raw(COMPARED)
        alone = torch.cat([self._run(self.sample.floats(slice(row, row + 1))) for row in range(min(3, len(together)))])
        because = (
            "dropout or batch norm was left in training mode: export it again after model.eval()"
            if self.foreign.kind in EXPORTED
            else "its code uses random numbers or the statistics of the batch even in eval mode, which cfx has set: "
            "check its dropout and batch norm"
        )
        for what, other in (
            ("when they are asked about twice", again),
            ("alone and in a batch", alone),
        ):
            gap = difference(together[: len(other)], other)
            if gap > MAX_GAP.get(together.dtype, MAX_GAP_FLOAT32):
                by = f" (they differ by {gap:.1%} of the largest value)" if math.isfinite(gap) else ""
                raise UsageError(
                    f"classifier {self.foreign.name}: it gives the same images different answers {what}{by}; "
                    f"probably {because}"
                )


def difference(first: Tensor, second: Tensor) -> float:
    """Largest difference of two outputs of the same images, relative to the largest finite value."""
    first, second = first.float(), second.float()
    if not torch.equal(first.isfinite(), second.isfinite()):
        return float("inf")
    largest = float(first[first.isfinite()].abs().max()) if bool(first.isfinite().any()) else 1.0
    gaps = (first - second).abs()[first.isfinite() & second.isfinite()]
    return 0.0 if not len(gaps) else float(gaps.max()) / max(largest, 1e-12)


def check_units(given: Mapping[str, object]) -> None:
    """Refuse a mean or standard deviation in units of 0 to 255 if the input's white is 1.

    Raises:
        UsageError: one of them is too large, and the scale is not set.
    """
    if given.get("scale", 1.0) != 1.0:
        return
    for name in ("mean", "std"):
        values = given.get(name)
        if isinstance(values, tuple) and max(map(abs, values)) > LARGEST_MEAN:
            shown_values, smaller = (",".join(f"{v / by:.3g}" for v in values) for by in (1, 255))
            raise UsageError(
                f"--{name} {shown_values}: looks like units of 0 to 255, but the input ranges from 0 to 1; "
                f"add --scale 255, or give --{name} {smaller}"
            )


@torch.no_grad()
def logits_of(adapted: Adapted, sample: Labelled) -> Tensor:
    """The classifier's logits of labelled images, (N, K)."""
    return torch.cat([adapted(batch.floats()) for batch in sample.batches(BATCH_SIZE)])
