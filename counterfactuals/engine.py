"""The contract of every engine: a problem goes in, `Counterfactuals` come out.

To write an engine, subclass `Engine`, fill in its four class attributes, and implement `find`: it gets a
`Problem` (the only door to the classifier, which counts what passes through it) and returns a `Curve` that
leads from the factual to the best counterfactual it knows. Everything else is done here, once for all
engines: checking the input, tightening, rounding to what an 8-bit file can hold, telling the truth about
validity, counting the cost, leaving the classifier as it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from ..errors import BundleError, CfxError, UsageError
from ..images.resizing import resize_batch

if TYPE_CHECKING:
    from ..bundles.bundle import Bundle
    from ..bundles.parts import Models

Classifier = Callable[[Tensor], Tensor]
"""image batch (N, C, H, W) in [0, 1] -> logits (N, K)"""

PATH_FRAMES = 9
LARGEST_BATCH = 512  # images; beyond it a CPU spends its time on fresh memory, not on the model


class ModelError(CfxError):
    """A model answered something that is no answer: NaN, or the wrong shape."""


@dataclass(frozen=True)
class Counterfactuals:
    """What a search found, one row per image.

    Attributes:
        images: (N, C, H, W) in [0, 1], multiples of 1/255: what an 8-bit file holds.
        targets: (N,) int64, the classes asked for.
        valid: (N,) bool, the classifier gives the target the highest probability and at least the confidence.
        confidence: (N,) softmax probability of the target.
        steps: (N,) int64, steps of the engine's search; 0 where it does not iterate.
        forward_calls: (N,) int64, how often the classifier looked at a candidate for this image.
        backward_calls: (N,) int64, how often it was differentiated for this image.
        path: (N, P, C, H, W) from the factual to the counterfactual, or None where it was not asked for.
    """

    images: Tensor
    targets: Tensor
    valid: Tensor
    confidence: Tensor
    steps: Tensor
    forward_calls: Tensor
    backward_calls: Tensor
    path: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


def as_written(images: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to 8 bits: exactly what a PNG will hold. No gradient passes."""
    return (images.detach().clamp(0, 1) * 255).round() / 255


def clamped(images: Tensor) -> Tensor:
    """Clamp to [0, 1] with the gradient of the identity (a straight-through estimate).

    The gradient of a pixel at its limit still says where it should go (as in Dombrowski et al.'s code, which
    clips in place).
    """
    limited = images.clamp(0, 1)
    return images + (limited - images).detach() if images.requires_grad else limited


class Problem:
    """The images, the targets, and a classifier that counts how often it is asked.

    Where models work in a smaller size than the classifier, engines see and draw small images; what the classifier is
    asked about, and what is found, is the factual itself plus the change, enlarged.

    Attributes:
        images: (N, C, h, w) in [0, 1], the factuals in the size that models work in.
        factuals: (N, C, H, W), the factuals in their own.
        targets: (N,) int64.
        threshold: least confidence of a valid counterfactual.
        seed: for engines that draw random numbers; the same for every batch.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: Tensor,
        targets: Tensor,
        threshold: float,
        seed: int = 0,
        working: tuple[int, int] | None = None,
    ) -> None:
        self._classifier = classifier
        self.factuals = images
        self.images = images if working is None else resize_batch(images, working)
        self._ground = None if working is None else self.images
        self.targets = targets
        self.threshold = threshold
        self.seed = seed
        count = len(images)
        self.forward_calls = torch.zeros(count, dtype=torch.int64)
        self.backward_calls = torch.zeros(count, dtype=torch.int64)
        self.steps = torch.zeros(count, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.images)

    def every_row(self) -> Tensor:
        """The indices of all images, (N,)."""
        return torch.arange(len(self), device=self.images.device)

    @property
    def is_carried(self) -> bool:
        """Whether what is drawn is smaller than the factuals, and only changes are carried back to them."""
        return self.images.shape != self.factuals.shape

    def keeps_the_rest(self, asked_for: bool | None) -> bool:
        """Whether what a model cannot draw is to be kept: as asked for, else where changes are carried anyway."""
        return self.is_carried if asked_for is None else asked_for

    def keep_the_rest(self, drawn: Tensor) -> None:
        """Keep what a model cannot draw: from now on, only what differs from `drawn` is taken for a change.

        x_cf = x + decode(z) - decode(z_0), in Generative Regularisers' words a small deviation from the generator's
        range (Duff et al. 2021, arXiv 2107.11191).

        Args:
            drawn: (N, C, h, w), the factuals as the model draws them.
        """
        self._ground = drawn

    def in_full(self, drawn: Tensor, rows: Tensor) -> Tensor:
        """What is drawn (M, C, h, w) for the images `rows` (M,) as the classifier is asked about it, (M, C, H, W)."""
        if self._ground is None:
            return drawn
        factuals = self.factuals[rows]
        return factuals + resize_batch(clamped(drawn) - self._ground[rows], (factuals.shape[2], factuals.shape[3]))

    def log_probabilities(self, drawn: Tensor, rows: Tensor) -> Tensor:
        """Ask the classifier about what is drawn.

        Args:
            drawn: (M, C, h, w); clamped to [0, 1] here.
            rows: (M,) which image each candidate is for; an image may have several.

        Returns:
            (M, K) log-probabilities, differentiable where the candidates and the classifier are.

        Raises:
            ModelError: the classifier's answer is not finite.
        """
        return self._ask(self.in_full(drawn, rows), rows)

    def _ask(self, images: Tensor, rows: Tensor) -> Tensor:
        result = self._classifier(clamped(images)).log_softmax(dim=1)
        if not torch.isfinite(result.detach()).all():
            raise ModelError("the classifier or generative model returned NaN or infinity: check its weights")
        self.forward_calls.index_add_(0, rows.cpu(), torch.ones(len(rows), dtype=torch.int64))
        if result.requires_grad:
            self.backward_calls.index_add_(0, rows.cpu(), torch.ones(len(rows), dtype=torch.int64))
        return result

    def answer(self, log_probabilities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Read log-probabilities (M, K) as (valid (M,) bool, confidence (M,)) for these rows' targets."""
        targets = self.targets[rows]
        confidence = log_probabilities.detach().exp().gather(1, targets[:, None]).squeeze(1)
        valid = (log_probabilities.detach().argmax(dim=1) == targets) & (confidence >= self.threshold)
        return valid, confidence

    @torch.no_grad()
    def candidates(self, drawn: Tensor, rows: Tensor) -> Candidates:
        """Ask about what is drawn (M, C, h, w) for the images `rows` (M,), as an 8-bit file will hold it."""
        written = as_written(self.in_full(drawn, rows))
        return Candidates(written, *self.answer(self._ask(written, rows), rows))


@dataclass(frozen=True)
class Candidates:
    """Images that the classifier has been asked about, one for each row.

    Attributes:
        images: (N, C, H, W), as written.
        valid: (N,) bool.
        confidence: (N,) of the target.
    """

    images: Tensor
    valid: Tensor
    confidence: Tensor

    def replace(self, rows: Tensor, images: Tensor, valid: Tensor, confidence: Tensor) -> None:
        """Put other candidates in the places `rows`."""
        self.images[rows], self.valid[rows], self.confidence[rows] = images, valid, confidence


@dataclass(frozen=True)
class Curve:
    """A way from each factual (share 0) to the best counterfactual known (share 1).

    Attributes:
        draw: draw(shares (M,), rows (M,)) -> images (M, C, h, w), before rounding.
        grid: shares in (0, 1) to look at, in one batch, before bisecting; without it tightening bisects at once.
        bisections: halvings of the interval in which validity begins.
        end: what stands at share 1, where the engine has asked about it already.
        accept: accept(shares (M,), rows (M,)) -> (M,) bool, which points the engine would stand by if they are valid;
            all, if None. Tightening stays on the far side of the others.
    """

    draw: Callable[[Tensor, Tensor], Tensor]
    grid: Sequence[float] = ()
    bisections: int = 8
    end: Candidates | None = None
    accept: Callable[[Tensor, Tensor], Tensor] | None = None


@torch.no_grad()
def tighten(problem: Problem, curve: Curve) -> tuple[Tensor, Candidates]:
    """The nearest still-valid point on each curve, from its valid end back towards the factual.

    The grid is looked at first, all points of an image in one batch, because confidence need not rise evenly; then
    the gap before the first valid point is halved `curve.bisections` times. Rows whose end is not valid are
    left at their end.

    Returns:
        Where on its curve each point is, shares (N,), and the points.
    """
    rows = problem.every_row()
    shares = torch.ones(len(rows), device=rows.device)
    found = curve.end or problem.candidates(curve.draw(shares, rows), rows)
    searching = rows[found.valid]
    low = torch.zeros_like(shares)

    def look(at: Tensor, rows: Tensor) -> tuple[Candidates, Tensor]:
        """The points of curves `rows` at shares `at`, and whether each will do."""
        drawn = problem.candidates(curve.draw(at, rows), rows)
        return drawn, drawn.valid if curve.accept is None else drawn.valid & curve.accept(at, rows)

    if curve.grid:
        grid = torch.tensor(curve.grid, device=rows.device)
        edges = torch.cat([torch.zeros(1, device=rows.device), grid])
        for part in searching.split(max(1, LARGEST_BATCH // len(grid))):
            asked = part.repeat_interleave(len(grid))
            drawn, good = look(grid.repeat(len(part)), asked)
            good = good.view(-1, len(grid))
            some, first = good.any(dim=1), good.int().argmax(dim=1)
            low[part] = torch.where(some, edges[first], edges[-1])
            place = (torch.arange(len(part), device=rows.device) * len(grid) + first)[some]
            better = part[some]
            found.replace(better, drawn.images[place], drawn.valid[place], drawn.confidence[place])
            shares[better] = grid[first[some]]

    for _ in range(curve.bisections):
        if not len(searching):
            break
        middle = (low[searching] + shares[searching]) / 2
        drawn, good = look(middle, searching)
        better = searching[good]
        found.replace(better, drawn.images[good], drawn.valid[good], drawn.confidence[good])
        shares[better] = middle[good]
        low[searching[~good]] = middle[~good]
    return shares, found


@dataclass(frozen=True, kw_only=True)
class Engine(ABC):
    """A strategy that searches counterfactuals for a batch. Fields are its hyper-parameters.

    Attributes:
        confidence: least softmax probability of the target for a counterfactual to be valid, in (0, 1).
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """What it does, in one line."""
    paper: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of the bundle's parts that it takes, none of them a judge's; their fields bear the same names."""
    gradients: ClassVar[bool] = True
    """Whether it asks for the classifier's gradients; without, it can explain a black box, too."""
    rank: ClassVar[int] = 100
    """Where it stands among engines that are asked together, the lowest first."""

    confidence: float = 0.9
    working: tuple[int, int] | None = None  # size (H, W) that its models work in; None: the images' own

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise UsageError(f"confidence {self.confidence:g}: choose a probability between 0 and 1, such as 0.9")

    @classmethod
    def from_bundle(cls, bundle: Bundle, **settings: object) -> Self:
        """Build the engine with a bundle's models; as `from_models`."""
        return cls.from_models(bundle.models, **settings)

    @classmethod
    def from_models(cls, models: Models, **settings: object) -> Self:
        """Build the engine with the models that an engine may see, which no judge is; `settings` are its other fields.

        Raises:
            BundleError: a part that the engine needs is not there, or is a judge; or gradients are not to be had.
        """
        if cls.gradients and not models.differentiable:
            raise BundleError(
                f"bundle {models.name}: engine {cls.name} needs gradients of the classifier, which is a black box; "
                "use projection or vcnet"
            )
        if models.is_carried:
            settings.setdefault("working", models.working)
        parts = {name: models.part(name) for name in cls.needs}
        return cls(**parts, **settings)  # pyright: ignore[reportArgumentType]

    @abstractmethod
    def find(self, problem: Problem) -> Curve:
        """Search; returns a curve that ends, for each image, at the first valid or else the best point found.

        Runs without gradients unless it enables them. Iterating engines count into `problem.steps`.
        """

    def search(
        self, classifier: Classifier, images: Tensor, targets: Tensor, *, path: bool = False, seed: int = 0
    ) -> Counterfactuals:
        """Find a counterfactual for each image.

        Args:
            classifier: image batch -> logits (N, K); never modified.
            images: (N, C, H, W) in [0, 1].
            targets: (N,) int64.
            path: also return the way there, in nine frames.
            seed: of whatever the engine draws at random.

        Returns:
            One row per image, valid or not; a failed search is an answer, not an error.

        Raises:
            UsageError: images or targets have the wrong shape or range.
            ModelError: a model returned NaN.
        """
        check(images, targets)
        if not len(images):
            nothing = torch.zeros(0, dtype=torch.int64)
            frame = images.new_zeros(0, PATH_FRAMES, *images.shape[1:]) if path else None
            return Counterfactuals(
                images, targets, targets.bool(), images.sum((1, 2, 3)), nothing, nothing, nothing, frame
            )
        problem = Problem(classifier, images, targets, self.confidence, seed, self.working)
        with torch.no_grad(), undisturbed(classifier):
            curve = self.find(problem)
            shares, found = tighten(problem, curve)
            return Counterfactuals(
                images=found.images,
                targets=targets,
                valid=found.valid,
                confidence=found.confidence,
                steps=problem.steps,
                forward_calls=problem.forward_calls,
                backward_calls=problem.backward_calls,
                path=frames(problem, curve, shares, found.images) if path else None,
            )

    def settings(self) -> dict[str, object]:
        """The hyper-parameters, without the models: what a record should say."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.needs}


def frames(problem: Problem, curve: Curve, shares: Tensor, found: Tensor) -> Tensor:
    """The curve from the factual to the tightened point: (N, PATH_FRAMES, C, H, W)."""
    rows = problem.every_row()
    between = [
        as_written(problem.in_full(curve.draw(shares * (place / (PATH_FRAMES - 1)), rows), rows))
        for place in range(1, PATH_FRAMES - 1)
    ]
    return torch.stack([problem.factuals, *between, found], dim=1)


def check(images: Tensor, targets: Tensor) -> None:
    """Raises UsageError unless images are (N, C, H, W) float32 in [0, 1] and targets (N,) int64."""
    if images.dim() != 4 or images.dtype != torch.float32:
        raise UsageError(f"images must be (N, C, H, W) float32, got {tuple(images.shape)} {images.dtype}")
    if len(images) and not (float(images.min()) >= 0 and float(images.max()) <= 1):
        raise UsageError(f"images must lie in [0, 1], got [{float(images.min()):g}, {float(images.max()):g}]")
    if targets.shape != (len(images),) or targets.dtype != torch.int64:
        raise UsageError(f"targets must be ({len(images)},) int64, got {tuple(targets.shape)} {targets.dtype}")


@contextmanager
def undisturbed(classifier: Classifier) -> Iterator[None]:
    """Eval mode, and no gradients into the parameters, for as long as the context lasts."""
    if not isinstance(classifier, torch.nn.Module):
        yield
        return
    modes = {module: module.training for module in classifier.modules()}
    asked = {parameter: parameter.requires_grad for parameter in classifier.parameters()}
    classifier.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, requires_grad in asked.items():
            parameter.requires_grad_(requires_grad)
