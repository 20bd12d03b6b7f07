"""The input of metrics: a batch or a set of counterfactuals, with shared intermediate results computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..bundles.bundle import Bundle
from ..bundles.labelling import IDENTITY_LABELLING, Labelling
from ..bundles.parts import Judges, Models
from ..classifiers.introspection.dropout import DropoutNetworks
from ..errors import CfxError
from ..images.resizing import resize_batch
from ..images.sets.labelled import Labelled
from ..judges.autoencoders import ClassAutoencoders
from ..judges.matched_filter import MatchedFilter
from ..judges.real_images import RealImages
from ..judges.residual import ResidualNet
from .stroke_measures import relative_changes

CLASSIFIER_JUDGES = ("judge", "second_judge")
"""The judges that are classifiers, each of another architecture, but the referee. Features come from the first."""


PASSES = 50  # networks that dropout makes of the classifier


class Missing(CfxError):
    """A metric cannot be computed; `str(error)` is the reason."""


class TrainingImages(Protocol):
    """The images that the explained classifier was trained on, loaded at first use."""

    def of_class(self, label: int) -> Tensor:
        """Those of the class with this label, (M, C, H, W), uint8 or float32 in [0, 1]; M may be 0.

        Raises:
            Missing: there are none.
        """
        ...


@dataclass(kw_only=True)
class Scene:
    """A batch of counterfactuals with everything that metrics of single images need.

    Attributes:
        classifier: the explained classifier, image batch -> logits (N, K).
        factuals: (N, C, H, W) in [0, 1].
        counterfactuals: (N, C, H, W) in [0, 1], rounded to 8 bits.
        targets: (N,) int64, the classes asked for.
        judges: the models that score; None if there are none.
        working: (H, W), the size at which the judges work; None: the size of the images.
        present: the classes that the judges were trained on; None: all.
        labelling: how the classifier's classes correspond to the labels of the judges.
        seen: (N,) int64, the classes that the classifier sees in the factuals; None: computed when needed.
        training: the images that the classifier was trained on; None if they are not known.
        models: the parts that engines may use, for metrics that ask these and say so; None if there are none.

    Examples:
        >>> from pathlib import Path
        >>> import cfx
        >>> from cfx.metrics.proximity import l0
        >>> from cfx.metrics.realism import realism_percentile
        >>> bundle = cfx.load_bundle("mnist")
        >>> four, nine = (bundle.read(Path(f"examples/{name}.png")).pixels[None] for name in ("four", "nine"))
        >>> scene = Scene.of(bundle, factuals=four, counterfactuals=nine, targets=torch.tensor([9]))
        >>> scene.factual_classes, scene.features.shape  # each is computed once, for all metrics
        (tensor([4]), torch.Size([1, 96]))
        >>> bool(l0(scene) > 0.1), bool(realism_percentile(scene) > 2.5)  # another photograph, and a real nine
        (True, True)
    """

    classifier: Callable[[Tensor], Tensor]
    factuals: Tensor
    counterfactuals: Tensor
    targets: Tensor
    judges: Judges | None = None
    working: tuple[int, int] | None = None
    present: Sequence[int] | None = None
    labelling: Labelling = IDENTITY_LABELLING
    seen: Tensor | None = None
    training: TrainingImages | None = None
    models: Models | None = None

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        factuals: Tensor,
        counterfactuals: Tensor,
        targets: Tensor,
        seen: Tensor | None = None,
        *,
        training: TrainingImages | None = None,
    ) -> Scene:
        """Builds the scene of a batch with the classifier and the judges of a bundle."""
        return cls(
            classifier=bundle.classifier,
            factuals=factuals,
            counterfactuals=counterfactuals,
            targets=targets,
            judges=bundle.judges,
            working=bundle.working,
            present=bundle.present,
            labelling=bundle.labelling,
            seen=seen,
            training=training,
            models=bundle.models,
        )

    def judge(self, name: str) -> nn.Module:
        """Loads a judge by the name of its part.

        Raises:
            Missing: there are no judges, or it is useless, so that nothing should be measured with it.
            BundleError: the bundle does not have this judge.
        """
        if self.judges is None:
            raise Missing("there are no judges")
        useless = self.judges.useless(name)
        if useless is not None:
            raise Missing(useless)
        return self.judges.part(name)

    def model(self, name: str) -> nn.Module:
        """Loads a part that engines may use.

        Raises:
            Missing: there are no such parts.
            BundleError: the bundle does not have this one.
        """
        if self.models is None:
            raise Missing(f"there is no bundle with the part {name!r}")
        return self.models.part(name)

    @cached_property
    def mc_probabilities(self) -> Tensor:
        """The targets' probabilities (M, N) by networks that dropout makes of the classifier, else by the ensemble.

        Raises:
            Missing, BundleError: there is neither.
        """
        networks, targets = DropoutNetworks(self.classifier, PASSES, self.counterfactuals[:1]), self.targets
        if networks.layers:
            logits = networks(self.counterfactuals)
        else:
            logits, targets = self.model("ensemble")(self.judges_input), self.labels
        return logits.softmax(dim=2)[:, torch.arange(len(targets)), targets]

    @cached_property
    def change(self) -> Tensor:
        """Counterfactuals minus factuals, (N, C, H, W)."""
        return self.counterfactuals - self.factuals

    @cached_property
    def judges_input(self) -> Tensor:
        """The counterfactuals at the size at which the judges work, (N, C, h, w)."""
        return self.counterfactuals if self.working is None else resize_batch(self.counterfactuals, self.working)

    @cached_property
    def factual_classes(self) -> Tensor:
        """The classes that the classifier sees in the factuals, (N,)."""
        return self.classifier(self.factuals).argmax(dim=1) if self.seen is None else self.seen

    @cached_property
    def labels(self) -> Tensor:
        """The targets as the judges' labels, (N,)."""
        return self.labelling.labels_of(self.targets)

    @cached_property
    def factual_labels(self) -> Tensor:
        """The classes that the classifier sees in the factuals as the judges' labels, (N,)."""
        return self.labelling.labels_of(self.factual_classes)

    @cached_property
    def features(self) -> Tensor:
        """The first judge's features of the counterfactuals, (N, F)."""
        return self._first_judge.embed(self.judges_input)

    @cached_property
    def judges_probabilities(self) -> Tensor:
        """The mean over the judges that are not useless of their class probabilities, (N, K)."""
        first, judges = CLASSIFIER_JUDGES[0], self.judges
        usable = [name for name in CLASSIFIER_JUDGES if judges and judges.usable(name)]
        if not usable:
            self.judge(first)  # says what is missing
        logits = [
            self._first_judge.head(self.features) if name == first else self.judge(name)(self.judges_input)
            for name in usable
        ]
        return torch.stack([each.softmax(dim=1) for each in logits]).mean(dim=0)

    @cached_property
    def target_reconstruction(self) -> Tensor:
        """The counterfactuals reconstructed by the autoencoders of their targets, (N, C, h, w)."""
        return self.autoencoders.reconstruct(self.judges_input, self.labels)

    @cached_property
    def percentile(self) -> Tensor:
        """Percentage of real images of the target at least as far from their class, (N,), in [0, 100]."""
        return self.reference.percentile(self.features, self.labels)

    @cached_property
    def class_percentile(self) -> Tensor:
        """Percentage of real images of the target at least as near to another class, (N,), in [0, 100].

        Raises:
            Missing: the features of real images were stored without their margins.
        """
        self._must_have(self.reference.noise)
        return self.reference.class_percentile(self.features, self.labels)

    @cached_property
    def sharpness(self) -> Tensor:
        """Percentage of real images of the target with at most as much fine detail, (N,), in [0, 100].

        Raises:
            Missing: the features of real images were stored without their sharpness.
        """
        return self._must_have(self.reference.sharpness).percentile(self.judges_input, self.labels)

    @cached_property
    def noise(self) -> Tensor:
        """Percentage of real images of the target that are at least as noisy, (N,), in [0, 100].

        Raises:
            Missing: the features of real images were stored without their noise.
        """
        return self._must_have(self.reference.noise).percentile(self.judges_input, self.labels)

    @cached_property
    def stroke_changes(self) -> Tensor:
        """The relative change of each of `stroke_measures.MEASURES`, (N, 6); NaN where there is none.

        Raises:
            Missing: the images are in colour, or scikit-image is not installed.
        """
        if self.factuals.shape[1] != 1:
            raise Missing("strokes are measured in images of one channel only")
        factuals, counterfactuals = (images[:, 0].cpu().numpy() for images in (self.factuals, self.counterfactuals))
        try:
            changes = relative_changes(factuals, counterfactuals)
        except ImportError as error:
            raise Missing("needs scikit-image; pip install 'cfx-toolkit[segments]'") from error
        return torch.from_numpy(changes).to(self.factuals)

    def _must_have(self, found: MatchedFilter | None) -> MatchedFilter:
        """What a reference has unless an earlier version made it, in which case `Missing` is raised."""
        if found is None:
            raise Missing(
                "the bundle's reference was made by an earlier version; `cfx train DIR --only reference` makes it anew"
            )
        return found

    @property
    def autoencoders(self) -> ClassAutoencoders:
        """The autoencoders of the single classes and of all classes."""
        found = self.judge("autoencoders")
        assert isinstance(found, ClassAutoencoders)
        return found

    @property
    def reference(self) -> RealImages:
        """The features of real images."""
        found = self.judge("reference")
        assert isinstance(found, RealImages)
        return found

    @property
    def _first_judge(self) -> ResidualNet:
        found = self.judge(CLASSIFIER_JUDGES[0])
        assert isinstance(found, ResidualNet)
        return found


class RealTests(NamedTuple):
    """Real images on which counterfactuals are tested.

    Attributes:
        images: M images, with the judges' labels.
        apart: (N,) bool, the counterfactuals whose factuals are none of these images.
    """

    images: Labelled
    apart: Tensor


@dataclass(frozen=True, kw_only=True)
class SetScene:
    """All counterfactuals of an engine, for metrics of whole sets.

    Attributes:
        targets: (N,) int64, the classes asked for, as the judges' labels.
        factual_labels: (N,) int64, what the classifier sees in the factuals, as the judges' labels.
        image_ids: (N,) int64, equal for questions about the same factual.
        features: loads the first judge's features of the counterfactuals and of their factuals, (N, F) each; None
            if there is no judge.
        images: loads the counterfactuals of the given rows, (M, C, H, W).
        reals: loads real images to test on; raises `Missing` if there are none. None: nothing is known of any.
    """

    targets: Tensor
    factual_labels: Tensor
    image_ids: Tensor
    features: Callable[[], tuple[Tensor, Tensor]] | None
    images: Callable[[Sequence[int]], Tensor]
    reals: Callable[[], RealTests] | None = None
