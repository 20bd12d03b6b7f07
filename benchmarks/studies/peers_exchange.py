"""What passes between cfx and a peer: questions one way, answers the other, kept one by one.

The one module here that both environments import, so it takes nothing but numpy. An exchange directory holds
work.npz, and for each peer a directory with a file for each answer as soon as it is there, so that a search which was
stopped goes on where it was; and found.npz when all are there.

The peers are two searches of alibi, by Seldon, with the settings of its own MNIST examples
(doc/source/examples/cfproto_mnist.ipynb and cf_mnist.ipynb in github.com/SeldonIO/alibi), not tuned for or against
anything here:

- `proto`: Van Looveren and Klaise, "Interpretable Counterfactual Explanations Guided by Prototypes"
  (arXiv 1907.02584). It asks for the target as the most probable class, and knows no confidence. Asked twice, it
  gives two answers: alibi updates both of a step's variables in one `session.run`, in whatever order they come.
- `proto-confident`: the same, with the one setting that asks for more, kappa, at 2 * threshold - 1: the target must
  then lead the factual class by that much, as it does at the threshold if the two share all probability.
- `wachter`: Wachter, Mittelstadt and Russell, "Counterfactual Explanations without Opening the Black Box"
  (arXiv 1711.00399), with alibi's L1 distance. The example wants a probability within `tol` 0.01 of 1; here `tol` is
  1 - threshold, the question that cfx asks, less `ROUNDING`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np

Array = np.ndarray[Any, Any]

WORK, FOUND = "work.npz", "found.npz"
PEERS = ("proto", "proto-confident", "wachter")

POOLED = (True, True, False, False)
"""The convolutions of the explained classifier in their order, and whether each is followed by a pooling."""

TOLERANCE = 1e-4  # of a logit; single precision leaves some 1e-5 between two ways to compute the same network
FEWEST_CHECKED = 100  # images

PROTO: dict[str, float] = {
    "kappa": 0.0, "beta": 0.1, "gamma": 100.0, "theta": 100.0, "c_init": 1.0, "c_steps": 2, "max_iterations": 1000,
    "learning_rate_init": 1e-2,
}  # fmt: skip
AUTOENCODER: dict[str, int] = {"batch_size": 128, "epochs": 4}
WACHTER: dict[str, float | str] = {
    "distance_fn": "l1", "target_proba": 1.0, "max_iter": 1000, "early_stop": 50, "lam_init": 0.1,
    "max_lam_steps": 10, "learning_rate_init": 0.1,
}  # fmt: skip

ROUNDING = 0.005
"""Of a probability: what `wachter`, which stops as near to the threshold as it can, is asked for beyond it.

An answer is judged as an 8-bit file holds it, which was measured to move the probability by up to 0.002: without
this, two of ten answers that reach the threshold would be called invalid.
"""


def settings_of(peer: str, threshold: float) -> dict[str, Any]:
    """All settings of a peer, by name; what its answers depend on and what a record should say."""
    if peer == "wachter":
        return {"peer": peer, **WACHTER, "tol": round(1 - threshold - ROUNDING, 6)}
    kappa = round(2 * threshold - 1, 6) if peer == "proto-confident" else 0.0
    return {"peer": peer, **PROTO, "kappa": kappa, "autoencoder": AUTOENCODER}


class Stop(Exception):
    """The search cannot go on; `str(error)` is the one line that says why."""


@dataclass(frozen=True)
class Work:
    """What is asked, and of what.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1], the factuals.
        factuals: (N,) int64, what the explained classifier sees in them.
        targets: (N,) int64.
        threshold: confidence that a counterfactual must have.
        fit: (M, C, H, W) uint8, real images for an autoencoder and prototypes.
        weights: of the explained classifier, as `layers` takes them.
        checked: (K, C, H, W) float32 in [0, 1], real images for the check of the port.
        logits: (K, classes) what the explained classifier says of them.
    """

    images: Array
    factuals: Array
    targets: Array
    threshold: float
    fit: Array
    weights: dict[str, Array]
    checked: Array
    logits: Array

    def save(self, path: Path) -> None:
        """Write everything to an .npz file."""
        arrays = {name: value for name, value in vars(self).items() if name != "weights"}
        write_arrays(path, {**arrays, **{f"weights.{name}": value for name, value in self.weights.items()}})

    @classmethod
    def load(cls, path: Path) -> Work:
        """Read it again."""
        arrays = read_arrays(path)
        weights = {name.removeprefix("weights."): v for name, v in arrays.items() if name.startswith("weights.")}
        others = {name: value for name, value in arrays.items() if not name.startswith("weights.")}
        return cls(**{**others, "threshold": float(others["threshold"]), "weights": weights})


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz file to a temporary name, then rename it: whoever reads sees a whole file or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_arrays(path: Path) -> dict[str, Array]:
    """All arrays of an .npz file; never a pickle."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@dataclass(frozen=True)
class Answer:
    """What a peer found for one image.

    Attributes:
        image: (C, H, W) float32 in [0, 1]; the factual itself where nothing was found.
        found: whether the peer calls it a counterfactual.
        seconds: of the search alone, warm.
        processor_seconds: of all threads meanwhile; on a machine that others use too, the steadier figure.
    """

    image: Array
    found: bool
    seconds: float
    processor_seconds: float


class Answers:
    """The answers that are there already, one file each.

    Args:
        directory: made if it is not there.
        work: the questions.
        settings: of the peer.
    """

    def __init__(self, directory: Path, work: Work, settings: Mapping[str, Any]) -> None:
        self.directory = directory
        self.work = work
        common = hashlib.sha256(json.dumps([work.threshold, settings], sort_keys=True).encode())
        for array in (work.fit, *(work.weights[name] for name in sorted(work.weights))):
            common.update(np.ascontiguousarray(array).tobytes())
        self._common = common.digest()
        directory.mkdir(parents=True, exist_ok=True)

    def _path(self, row: int) -> Path:
        return self.directory / f"{row:06d}.npz"

    def _fingerprint(self, row: int) -> str:
        """Names one question with all that its answer depends on: an answer to another one is not taken for it."""
        asked = self.work.images[row].tobytes() + self.work.targets[row].tobytes()
        return hashlib.sha256(self._common + asked).hexdigest()

    def keep(self, row: int, answer: Answer) -> None:
        """Write one answer, whole or not at all."""
        write_arrays(self._path(row), {**vars(answer), "fingerprint": self._fingerprint(row)})

    def get(self, row: int) -> Answer | None:
        """The answer to a question; None where there is none yet, or one to another question."""
        try:
            arrays = read_arrays(self._path(row))
            if str(arrays["fingerprint"]) != self._fingerprint(row):
                return None
            return Answer(
                arrays["image"], bool(arrays["found"]), float(arrays["seconds"]), float(arrays["processor_seconds"])
            )
        except (OSError, ValueError, KeyError, BadZipFile):  # not there, or damaged
            return None

    def pending(self) -> dict[int, list[int]]:
        """The questions without an answer, by target."""
        rows: dict[int, list[int]] = {}
        for row, target in enumerate(self.work.targets.tolist()):
            if self.get(row) is None:
                rows.setdefault(target, []).append(row)
        return dict(sorted(rows.items()))


Explain = Callable[[Array], "Array | None"]
"""One factual (1, H, W, C) in [0, 1] -> its counterfactual, or None where none is found"""


class Peer(Protocol):
    """One of the tools."""

    setup_seconds: float
    """What building and training took, none of which counts as search."""
    autoencoder_seconds: float
    logit_difference: float

    def explainer(self, target: int) -> Explain:
        """The search for one target, warm: whatever TensorFlow builds and traces is there."""
        ...


def answer(explain: Explain, factual: Array) -> Answer:
    """Ask about one factual (C, H, W), and take the time."""
    images = last(factual[None])
    started, busy = time.perf_counter(), time.process_time()
    found = explain(images)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    image = factual if found is None else found[0].transpose(2, 0, 1)
    return Answer(np.clip(image, 0, 1).astype(np.float32), found is not None, seconds, busy)


def answer_all(answers: Answers, peer: Peer) -> None:
    """Answer what has no answer yet, target by target, with a line of progress for every ten images."""
    pending = answers.pending()
    left, total = sum(map(len, pending.values())), len(answers.work.images)
    for target, rows in pending.items():
        explain = peer.explainer(target)
        for row in rows:
            answers.keep(row, answer(explain, answers.work.images[row]))
            left -= 1
            if (total - left) % 10 == 0 or not left:
                say(f"{total - left} of {total} images")


def last(images: Array) -> Array:
    """Colours first to colours last: (N, C, H, W) -> (N, H, W, C)."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def difference(logits: Array, expected: Array) -> float:
    """The largest difference between two tables of logits (K, classes).

    Raises:
        Stop: it is larger than rounding explains, or too few images were compared.
    """
    largest = float(np.abs(logits - expected).max())
    if len(expected) < FEWEST_CHECKED:
        raise Stop(f"the port was checked on {len(expected)} images only; it takes {FEWEST_CHECKED}")
    if not largest <= TOLERANCE:
        raise Stop(
            f"the port is not the explained classifier: on {len(expected)} images its logits are up to {largest:.2g} "
            f"off, and {TOLERANCE:.0e} is allowed"
        )
    return largest


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)
