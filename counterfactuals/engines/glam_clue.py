"""glam-clue: what would make the classifier sure, in one translation that was learned before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...generative.translations import LatentTranslations
from ..curve import About, Curve
from ..fidelity import Fidelity
from ..problem import Problem
from ..search.committee import Committee, Ensemble, before_and_after
from ..search.vae_engine import VAEEngine
from ..settings import setting


@dataclass(frozen=True, kw_only=True)
class GlamClue(VAEEngine):
    """Adds to the image's latent the vector that leads from images that are unsurely a class to images that surely are.

    The class is the one that the classifier sees; further answers take the next ones. Where the image that is drawn is
    not valid, the vector is made longer.

    Source: Ley et al. 2022, GLAM-CLUE, arXiv 2112.02646, section 4. The lengths are ours.
    """

    name: ClassVar[str] = "glam-clue"
    summary: ClassVar[str] = "what would make the classifier sure: one translation learned before, no search"
    paper: ClassVar[str] = "Ley et al. 2022, GLAM-CLUE, arXiv 2112.02646"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "the paper applies the translation once; here it is lengthened where that is not enough, and halved back "
        "to the first valid point",
    )
    rank: ClassVar[int] = 83
    needs: ClassVar[tuple[str, ...]] = ("vae", "glam")
    uses: ClassVar[tuple[str, ...]] = ("ensemble",)
    any_class: ClassVar[bool] = True
    gradients: ClassVar[bool] = False
    candidate: ClassVar[bool] = False

    glam: LatentTranslations
    ensemble: Ensemble | None = None
    dropouts: int = setting(
        8, "networks that dropout makes of the classifier, where there is no ensemble; 0: none", least=0
    )
    lengths: tuple[float, ...] = setting((1.0, 1.5, 2.0), "of the vector, tried upwards while not valid", least=0.01)
    bisections: int = setting(4, "halvings of the way to the first valid point", least=0)

    def find(self, problem: Problem) -> Curve:
        rows = problem.every_row()
        origin, _ = self.begin(problem)
        committee = Committee.of(problem, self.ensemble, self.dropouts)
        seen = problem.condition(problem.log_probabilities(problem.images, rows))
        order = seen.argsort(dim=1, descending=True)
        translated = self.glam(origin, order[:, 0], order[:, problem.attempt % order.shape[1]])
        end = torch.lerp(origin, translated, self.lengths[0])
        reached = problem.candidates(self.vae.decode(end), rows)
        for length in self.lengths[1:]:
            todo = rows[~reached.valid]
            if not len(todo):
                break
            longer = torch.lerp(origin[todo], translated[todo], length)
            tried = problem.candidates(self.vae.decode(longer), todo)
            better = tried.confidence > reached.confidence[todo]
            end[todo[better]] = longer[better]
            reached.replace(todo[better], tried, better)

        def draw(t: Tensor, rows: Tensor) -> Tensor:
            return self.vae.decode(torch.lerp(origin[rows], end[rows], t[:, None]))

        def about(t: float, row: int) -> About:
            image = draw(torch.tensor([t], device=origin.device), torch.tensor([row], device=origin.device))
            return About(notes=(before_and_after(problem, committee, image, row),))

        return Curve(draw, bisections=self.bisections, end=reached, about=about)
