"""classifier and conditional_vae, trained jointly in one loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ...bundles.bundle import Bundle
from ..context import TrainingContext
from ..part import Made, Measured, Part, Sample, Verdict
from .classifier import ClassifierPart
from .conditional_vae import ConditionalVAEPart


@dataclass(frozen=True, kw_only=True)
class JointPart(Part):
    """The explained classifier as the predictor of the conditional VAE, trained with it.

    The idea is that of VCNet (Guyomard et al. 2022, arXiv 2212.10847, section 3.1), where both share layers, and whose
    loss lacks five terms of this one (`ConditionalVAEFit`).
    """

    makes: ClassVar[tuple[str, ...]] = ("classifier", "conditional_vae")
    needs: ClassVar[tuple[str, ...]] = ("judge",)
    optional: ClassVar[bool] = False

    classifier: ClassifierPart
    conditional_vae: ConditionalVAEPart

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return self.conditional_vae.fits(present)

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        classifier = self.classifier.untrained(context)
        conditional_vae = self.conditional_vae.train(context, classifier.model, joint=True)
        return {"classifier": classifier, "conditional_vae": conditional_vae}

    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        return self._of(name).measure(context, name, model)

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        return self._of(name).verdict(context, name, measured)

    def left_out(self, context: TrainingContext) -> str | None:
        return self.classifier.left_out(context)

    def sheet_rows(self, bundle: Bundle, sample: Sample) -> list[tuple[str, Tensor]]:
        return self.conditional_vae.sheet_rows(bundle, sample)

    def _of(self, name: str) -> Part:
        return self.classifier if name == "classifier" else self.conditional_vae
