"""dive: perturbations of the image's latent, each in other directions that matter to the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...errors import UsageError
from ...generative.anchors import LatentAnchors
from ..curve import Curve
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Problem
from ..search.ascent import Ascent, Penalty, Search
from ..search.fisher import fisher_information
from ..search.vae_engine import VAEEngine
from ..settings import setting

EXTRA = "cfx-toolkit[clusters]"
RESTART_STD_LATENT = 0.1  # latent standard deviations from the factual, for further answers
PRIOR_SAMPLES = 160  # of the VAE, where no latents of real images are stored
AS_IN_CODE = Preset(
    settings={
        "confidence": 0.5,
        "learning_rate": 0.01,
        "max_steps": 20,
        "optimiser": "adam",
        "lasso": 1.0,
        "reconstruction": 10.0,
        "diversity": 1.0,
        "averaged": True,
        "shares": (1.0,),
        "frees": False,
        "information": "data-set",
        "tightened": False,
    },
    published="none on these data: rates of non-trivial explanations for attributes of faces",
    differs="answers are sought one after another in the bundle's VAE (no beta-TCVAE is trained), and each ends at its "
    "first valid image, where the code goes on until most of a batch are valid",
)


@dataclass(frozen=True, kw_only=True)
class DiVE(VAEEngine):
    """Minimises -log p(target | decode(z + e)) + lasso |e|_1 + rec |x - decode(z + e)|_1 / C + div sum_j cos(e, e_j)^2.

    The sum is over the perturbations e_j of earlier answers to the question (`--count K`). Further answers may move
    only part of the latent's coordinates, so that they do not all use the easiest ones: the Fisher information F of the
    latents about the classifier's answer says which coordinates matter. It is J J^T with the gradient J of
    log p(target) - log p(what is seen) of the image alone, or with `information=data-set` that of the bundle's stored
    real images (of samples of the VAE's prior, where there are none). `chunk` orders coordinates by their diagonal
    entry, and freezes another of `masks` parts each time; `spectral` gives each further answer one cluster of
    coordinates (spectral clustering of F); `none` freezes nothing. Where no valid image is found so, all may move.

    An explanation is *non-trivial* if judges see the same class as before, while the classifier has changed its mind:
    it shows a bias of the classifier (metric `non_trivial`).

    Source: Rodríguez et al. 2021, Beyond Trivial Counterfactual Explanations with Diverse Valuable Explanations,
    arXiv 2103.10226, equations 2 to 5. There all perturbations are sought at once, in a beta-TCVAE, with the Fisher
    information of the data set; here one after another, in the bundle's VAE. The default weights and steps are ours;
    those of its code are the preset `paper`.
    """

    name: ClassVar[str] = "dive"
    summary: ClassVar[str] = "diverse perturbations of a VAE's latent, in other coordinates each time"
    paper: ClassVar[str] = "Rodríguez et al. 2021, DiVE, arXiv 2103.10226"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "DiVE seeks all perturbations at once in a beta-TCVAE, with the Fisher information of the data set; here one "
        "after another in the bundle's VAE, with that of one gradient of the image, the first without diversity, and "
        "with other weights and steps; the weights fall, and nothing stays frozen, where an image is not valid",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: AS_IN_CODE}
    rank: ClassVar[int] = 17
    uses: ClassVar[tuple[str, ...]] = ("anchors",)
    candidate: ClassVar[bool] = False

    anchors: LatentAnchors | None = None
    learning_rate: float = setting(0.2, "root mean square length of a step, in latent standard deviations", least=0)
    max_steps: int = setting(100, "steps at most, for each of the shares", least=1)
    optimiser: Literal["adam-per-image", "adam", "gradient-descent"] = setting(
        "adam-per-image", "Adam with one second moment for each image, Adam, or plain gradient descent"
    )
    lasso: float = setting(0.01, "nats for an L1 norm of the perturbation of 1", least=0)
    reconstruction: float = setting(0.001, "nats for a change of one pixel from black to white", least=0)
    diversity: float = setting(1.0, "nats for a squared cosine of 1 with an earlier perturbation", least=0)
    averaged: bool = setting(False, "whether these three are divided by the number of coordinates that may move")
    shares: tuple[float, ...] = setting(
        (1.0, 0.1, 0.0), "of these three, tried downwards while an image is not valid", least=0
    )
    frees: bool = setting(True, "whether all coordinates of a further answer may move where it is not valid otherwise")
    fisher: Literal["chunk", "spectral", "none"] = setting("chunk", "how coordinates are chosen for further answers")
    information: Literal["data-set", "image"] = setting(
        "image", "the Fisher information by which they are chosen: of stored real images, or of the image alone"
    )
    samples: int = setting(16, "real images of each class from which the former is computed", least=1)
    masks: int = setting(4, "parts into which the coordinates are divided", least=2)
    kept: list[tuple[object, Tensor]] = field(default_factory=list, init=False, repr=False, compare=False)

    def find(self, problem: Problem) -> Curve:
        origin, start = self.begin(problem)
        moves = self._moves(problem, origin) if problem.attempt else torch.ones_like(origin)
        earlier = self._earlier(problem, origin)
        parts = moves.sum(dim=1).clamp(min=1) if self.averaged else torch.ones_like(moves[:, 0])

        def decode(latents: Tensor, rows: Tensor) -> Tensor:
            return self.vae.decode(torch.where(moves[rows] > 0, latents, origin[rows]))

        def penalty(latents: Tensor, rows: Tensor) -> Tensor:
            change = (latents - origin[rows]) * moves[rows]
            cost = self.lasso * change.abs().sum(dim=1)
            far = (self.vae.decode(origin[rows] + change) - start[rows]).abs().mean(dim=1).flatten(1).sum(dim=1)
            cost = cost + self.reconstruction * far
            if earlier is not None:
                size = change.square().sum(dim=1).add(1e-12).sqrt()
                cosines = torch.einsum("md,mad->ma", change, earlier[rows]) / size[:, None]
                cost = cost + self.diversity * cosines.square().sum(dim=1)
            return cost / parts[rows]

        def weighted(share: float) -> Penalty | None:
            return (lambda latents, rows: share * penalty(latents, rows)) if share else None

        state = Ascent.at(problem.restarted(origin, RESTART_STD_LATENT))
        last = [(self.shares[-1], True)] if self.frees and problem.attempt and self.fisher != "none" else []
        for share, free in [*((share, False) for share in self.shares), *last]:
            rows = problem.every_row()[~state.valid]
            if not len(rows):
                break
            if free:
                moves[rows] = 1.0
            search = Search(
                decode=decode,
                learning_rate=self.learning_rate,
                max_steps=self.max_steps,
                optimiser=self.optimiser,
                penalty=weighted(share),
            )
            state.climb(problem, state.best[rows], rows, search)
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
        place = (problem.attempt - 1) % self.masks
        if self.information == "data-set":
            return self._mask(self._of_data_set(problem), place).to(origin).repeat(len(origin), 1)
        rows = problem.every_row()
        with torch.enable_grad():
            point = origin.detach().requires_grad_(True)
            log_probabilities = problem.log_probabilities(self.vae.decode(point), rows)
            wanted = -problem.cost(log_probabilities, rows)
            (gradient,) = torch.autograd.grad((wanted - log_probabilities.amax(dim=1)).sum(), point)
        return torch.stack([self._mask(torch.outer(each, each), place) for each in gradient]).to(origin)

    def _of_data_set(self, problem: Problem) -> Tensor:
        """The Fisher information (D, D) of stored real images, or of samples of the prior; the last one is kept."""
        if not self.kept or self.kept[0][0] is not problem.explained:
            latents = self._prior(problem) if self.anchors is None else self.anchors.first(self.samples)
            self.kept[:] = [(problem.explained, fisher_information(problem, self.vae.decode, latents))]
        return self.kept[0][1]

    def _prior(self, problem: Problem) -> Tensor:
        """Latents (M, D) as the VAE's prior has them."""
        size = self.vae.encode(problem.images[:1]).shape[1]
        random = torch.Generator().manual_seed(problem.seed)
        return torch.randn(PRIOR_SAMPLES, size, generator=random, device="cpu").to(problem.images)

    def _mask(self, information: Tensor, place: int) -> Tensor:
        """Which coordinates (D,) may move, by their Fisher information (D, D), in the answer of this place."""
        if self.fisher == "spectral":
            return self._cluster(information, place)
        order = information.diagonal().argsort(descending=True).argsort()
        return (order * self.masks // len(order) != place).float()

    def _cluster(self, information: Tensor, place: int) -> Tensor:
        """One cluster of the coordinates (D,); 1 where they belong to it."""
        try:
            from sklearn.cluster import SpectralClustering
        except ImportError as error:
            raise UsageError(f"dive.fisher=spectral: needs scikit-learn; pip install '{EXTRA}'") from error
        information = (information - information.min()) / (information.max() - information.min()).clamp(min=1e-12)
        clusters = SpectralClustering(self.masks, affinity="precomputed", random_state=0)
        labels = clusters.fit_predict(information.cpu().double().numpy())
        return torch.from_numpy(labels == place).float()
