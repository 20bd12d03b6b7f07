"""dive: perturbations of the image's latent, each in other directions that matter to the classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...errors import UsageError
from ..curve import Curve
from ..fidelity import Fidelity
from ..problem import Problem
from ..search.ascent import Ascent, Search
from ..search.vae_engine import VAEEngine
from ..settings import setting

EXTRA = "cfx-toolkit[clusters]"
RESTART_STD_LATENT = 0.1  # latent standard deviations from the factual, for further answers


@dataclass(frozen=True, kw_only=True)
class DiVE(VAEEngine):
    """Minimises -log p(target | decode(z + e)) + lasso |e|_1 + rec |x - decode(z + e)|_1 / C + div sum_j cos(e, e_j)^2.

    The sum is over the perturbations e_j of earlier answers to the question (`--count K`). Further answers may move
    only part of the latent's coordinates, so that they do not all use the easiest ones: the Fisher information of the
    latents, F = J J^T with the gradient J of log p(target) - log p(what is seen), says which coordinates matter.
    `chunk` orders them by their diagonal entry, and freezes another of `masks` parts each time; `spectral` gives each
    further answer one cluster of coordinates (spectral clustering of F); `none` freezes nothing.

    An explanation is *non-trivial* if judges see the same class as before, while the classifier has changed its mind:
    it shows a bias of the classifier (metric `non_trivial`).

    Source: Rodríguez et al. 2021, Beyond Trivial Counterfactual Explanations with Diverse Valuable Explanations,
    arXiv 2103.10226, equations 2 to 5. There all perturbations are sought at once, in a beta-TCVAE, with the Fisher
    information of the data set and the squared cosines divided by the number of free coordinates; here one after
    another, in the bundle's VAE, with F of one gradient of the image (of rank 1). Weights and steps are ours: its code
    has 1 for `lasso`, 10 for `reconstruction`, and 20 steps with a learning rate of 0.01.
    """

    name: ClassVar[str] = "dive"
    summary: ClassVar[str] = "diverse perturbations of a VAE's latent, in other coordinates each time"
    paper: ClassVar[str] = "Rodríguez et al. 2021, DiVE, arXiv 2103.10226"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "DiVE seeks all perturbations at once in a beta-TCVAE, with the Fisher information of the data set; here "
        "one after another in the bundle's VAE, with that of one gradient of the image, the first without diversity, "
        "and with other weights and steps",
    )
    rank: ClassVar[int] = 17
    candidate: ClassVar[bool] = False

    learning_rate: float = setting(0.2, "root mean square length of a step, in latent standard deviations", least=0)
    max_steps: int = setting(100, "steps at most", least=1)
    lasso: float = setting(0.01, "nats for an L1 norm of the perturbation of 1", least=0)
    reconstruction: float = setting(0.001, "nats for a change of one pixel from black to white", least=0)
    diversity: float = setting(1.0, "nats for a squared cosine of 1 with an earlier perturbation", least=0)
    fisher: Literal["chunk", "spectral", "none"] = setting("chunk", "how coordinates are chosen for further answers")
    masks: int = setting(4, "parts into which the coordinates are divided", least=2)

    def find(self, problem: Problem) -> Curve:
        origin, start = self.begin(problem)
        moves = self._moves(problem, origin) if problem.attempt else torch.ones_like(origin)
        earlier = self._earlier(problem, origin)

        def decode(latents: Tensor, rows: Tensor) -> Tensor:
            return self.vae.decode(torch.where(moves[rows] > 0, latents, origin[rows]))

        def penalty(latents: Tensor, rows: Tensor) -> Tensor:
            change = (latents - origin[rows]) * moves[rows]
            cost = self.lasso * change.abs().sum(dim=1)
            far = (self.vae.decode(origin[rows] + change) - start[rows]).abs().mean(dim=1).flatten(1).sum(dim=1)
            cost = cost + self.reconstruction * far
            if earlier is None:
                return cost
            size = change.square().sum(dim=1).add(1e-12).sqrt()
            cosines = torch.einsum("md,mad->ma", change, earlier[rows]) / size[:, None]
            return cost + self.diversity * cosines.square().sum(dim=1)

        search = Search(decode=decode, learning_rate=self.learning_rate, max_steps=self.max_steps, penalty=penalty)
        begin = problem.restarted(origin, RESTART_STD_LATENT)
        state = Ascent.at(begin)
        state.climb(problem, begin, problem.every_row(), search)
        return Curve(lambda t, rows: decode(torch.lerp(origin[rows], state.best[rows], t[:, None]), rows))

    def _earlier(self, problem: Problem, origin: Tensor) -> Tensor | None:
        """The directions (N, A, D) of earlier answers' perturbations, of length 1; None if there are none."""
        if problem.earlier is None:
            return None
        count, already = problem.earlier.shape[:2]
        found = self.vae.encode(problem.earlier.flatten(0, 1)).view(count, already, -1) - origin[:, None]
        return found / found.square().sum(dim=2, keepdim=True).add(1e-12).sqrt()

    def _moves(self, problem: Problem, origin: Tensor) -> Tensor:
        """Which coordinates of each latent may move in a further answer, (N, D), 1 or 0."""
        if self.fisher == "none":
            return torch.ones_like(origin)
        rows = problem.every_row()
        with torch.enable_grad():
            point = origin.detach().requires_grad_(True)
            log_probabilities = problem.log_probabilities(self.vae.decode(point), rows)
            wanted = -problem.cost(log_probabilities, rows)
            (gradient,) = torch.autograd.grad((wanted - log_probabilities.amax(dim=1)).sum(), point)
        place = (problem.attempt - 1) % self.masks
        if self.fisher == "chunk":  # of each image: its own coordinates, in the order of their information
            order = gradient.square().argsort(dim=1, descending=True).argsort(dim=1)
            return (order * self.masks // origin.shape[1] != place).to(origin)
        return torch.stack([self._cluster(each, place) for each in gradient]).to(origin)

    def _cluster(self, gradient: Tensor, place: int) -> Tensor:
        """One cluster of the coordinates (D,) by their Fisher information; 1 where they belong to it."""
        try:
            from sklearn.cluster import SpectralClustering
        except ImportError as error:
            raise UsageError(f"dive.fisher=spectral: needs scikit-learn; pip install '{EXTRA}'") from error
        information = torch.outer(gradient, gradient)
        information = (information - information.min()) / (information.max() - information.min()).clamp(min=1e-12)
        clusters = SpectralClustering(self.masks, affinity="precomputed", random_state=0)
        labels = clusters.fit_predict(information.cpu().double().numpy())
        return torch.from_numpy(labels == place).float()
