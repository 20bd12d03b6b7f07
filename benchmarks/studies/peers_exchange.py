"""The files that cfx and a peer exchange: the questions, and the answers one by one.

Both environments import this module, so it needs only numpy. An exchange directory holds work.npz, and a directory for
each peer. The latter gets a file for each answer at once, so that an interrupted search can be resumed, and found.npz
when all answers are there.

The peers are two searches of alibi, by Seldon, with the settings of its own MNIST examples
(doc/source/examples/cfproto_mnist.ipynb and cf_mnist.ipynb in github.com/SeldonIO/alibi), not tuned for or against
anything here:

- `proto`: Van Looveren and Klaise, "Interpretable Counterfactual Explanations Guided by Prototypes"
  (arXiv 1907.02584). As in the example, it requires the target to be the most probable class, and no confidence
  (kappa 0). It is not deterministic: alibi updates both variables of a step in one `session.run`, in no fixed order.
- `proto-confident`: the same with kappa = 2 * threshold - 1, the only setting that demands more. The target's
  probability must then exceed the factual class's by kappa, as at the threshold if the two share all probability.
- `wachter`: Wachter, Mittelstadt and Russell, "Counterfactual Explanations without Opening the Black Box"
  (arXiv 1711.00399), with alibi's L1 distance. The example requires a probability within `tol` 0.01 of 1; here `tol`
  is 1 - threshold - `ROUNDING`, which is cfx's criterion with a margin.
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
"""For each convolution of the explained classifier, in order, whether a pooling follows it."""

TOLERANCE = 1e-4  # of a logit; two float32 implementations of the same network differ by about 1e-5
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
"""Margin above the threshold for `wachter`, which stops as near to the threshold as it can.

Answers are scored after rounding to 8 bits, which was measured to change the probability by up to 0.002. Without the
margin, two of ten answers that reach the threshold would be invalid.
"""


def settings_of(peer: str, threshold: float) -> dict[str, object]:
    """All settings that a peer's answers depend on, by name."""
    if peer == "wachter":
        return {"peer": peer, **WACHTER, "tol": round(1 - threshold - ROUNDING, 6)}
    kappa = round(2 * threshold - 1, 6) if peer == "proto-confident" else 0.0
    return {"peer": peer, **PROTO, "kappa": kappa, "autoencoder": AUTOENCODER}


class Stop(Exception):
    """The search cannot continue; the message is one line that says why."""


@dataclass(frozen=True)
class Work:
    """The questions, and everything that a peer needs to answer them.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1], the factuals.
        factuals: (N,) int64, the classes that the explained classifier sees in the factuals.
        targets: (N,) int64, the target classes.
        threshold: minimum confidence of a counterfactual.
        training_images: (M, C, H, W) uint8, real images to train the autoencoder and to compute prototypes.
        weights: weights of the explained classifier, by layer.
        checked: (K, C, H, W) float32 in [0, 1], real images to check the port with.
        logits: (K, classes), the explained classifier's logits for them.
    """

    images: Array
    factuals: Array
    targets: Array
    threshold: float
    training_images: Array
    weights: dict[str, Array]
    checked: Array
    logits: Array

    def save(self, path: Path) -> None:
        """Write everything to an .npz file."""
        arrays = {name: value for name, value in vars(self).items() if name != "weights"}
        write_arrays(path, {**arrays, **{f"weights.{name}": value for name, value in self.weights.items()}})

    @classmethod
    def load(cls, path: Path) -> Work:
        """Read what `save` has written."""
        arrays = read_arrays(path)
        weights = {name.removeprefix("weights."): v for name, v in arrays.items() if name.startswith("weights.")}
        others = {name: value for name, value in arrays.items() if not name.startswith("weights.")}
        return cls(**{**others, "threshold": float(others["threshold"]), "weights": weights})


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz file to a temporary name, then rename it, so that readers see a complete file or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_arrays(path: Path) -> dict[str, Array]:
    """Read all arrays of an .npz file; pickles are refused."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@dataclass(frozen=True)
class Answer:
    """What a peer found for one image.

    Attributes:
        image: (C, H, W) float32 in [0, 1]; the factual if nothing was found.
        found: whether the peer calls it a counterfactual.
        seconds: wall-clock time of the search, without warm-up.
        processor_seconds: processor time of all threads; it varies less on a machine that is shared.
    """

    image: Array
    found: bool
    seconds: float
    processor_seconds: float


class Answers:
    """The answers of a peer so far, one file each.

    Args:
        directory: directory of the files; created if it is missing.
        work: the questions.
        settings: settings of the peer.
    """

    def __init__(self, directory: Path, work: Work, settings: Mapping[str, Any]) -> None:
        self.directory = directory
        self.work = work
        common = hashlib.sha256(json.dumps([work.threshold, settings], sort_keys=True).encode())
        for array in (work.training_images, *(work.weights[name] for name in sorted(work.weights))):
            common.update(np.ascontiguousarray(array).tobytes())
        self._common = common.digest()
        directory.mkdir(parents=True, exist_ok=True)

    def _path(self, row: int) -> Path:
        return self.directory / f"{row:06d}.npz"

    def _fingerprint(self, row: int) -> str:
        """A hash of everything that an answer depends on, so that answers to other questions are not used."""
        asked = self.work.images[row].tobytes() + self.work.targets[row].tobytes()
        return hashlib.sha256(self._common + asked).hexdigest()

    def keep(self, row: int, answer: Answer) -> None:
        """Store one answer atomically."""
        write_arrays(self._path(row), {**vars(answer), "fingerprint": self._fingerprint(row)})

    def get(self, row: int) -> Answer | None:
        """The stored answer to a question; None if there is none, or it belongs to another question."""
        try:
            arrays = read_arrays(self._path(row))
            if str(arrays["fingerprint"]) != self._fingerprint(row):
                return None
            return Answer(
                arrays["image"], bool(arrays["found"]), float(arrays["seconds"]), float(arrays["processor_seconds"])
            )
        except (OSError, ValueError, KeyError, BadZipFile):  # missing or damaged
            return None

    def pending(self) -> dict[int, list[int]]:
        """The rows of the questions without an answer, by target."""
        rows: dict[int, list[int]] = {}
        for row, target in enumerate(self.work.targets.tolist()):
            if self.get(row) is None:
                rows.setdefault(target, []).append(row)
        return dict(sorted(rows.items()))


Explain = Callable[[Array], "Array | None"]
"""Maps one factual (1, H, W, C) in [0, 1] to its counterfactual, or to None if none is found."""


class Peer(Protocol):
    """One of the tools."""

    setup_seconds: float
    """Time of building and training, which does not count as search."""
    autoencoder_seconds: float
    logit_difference: float

    def explainer(self, target: int) -> Explain:
        """The search for one target, warmed up: TensorFlow has built and traced everything."""
        ...


def answer(explain: Explain, factual: Array) -> Answer:
    """Search one factual (C, H, W), and measure the time."""
    images = last(factual[None])
    started, busy = time.perf_counter(), time.process_time()
    found = explain(images)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    image = factual if found is None else found[0].transpose(2, 0, 1)
    return Answer(np.clip(image, 0, 1).astype(np.float32), found is not None, seconds, busy)


def answer_all(answers: Answers, peer: Peer) -> None:
    """Answer the open questions, target by target; prints a line of progress every ten images."""
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
    """Channels first to channels last: (N, C, H, W) -> (N, H, W, C)."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def difference(logits: Array, expected: Array) -> float:
    """The largest difference between two arrays of logits (K, classes).

    Raises:
        Stop: the difference is larger than `TOLERANCE`, or too few images were compared.
    """
    largest = float(np.abs(logits - expected).max())
    if len(expected) < FEWEST_CHECKED:
        raise Stop(f"the port was checked on {len(expected)} images only; {FEWEST_CHECKED} are needed")
    if not largest <= TOLERANCE:
        raise Stop(
            f"the port is not the explained classifier: on {len(expected)} images its logits are up to {largest:.2g} "
            f"off, and {TOLERANCE:.0e} is allowed"
        )
    return largest


def say(line: str) -> None:
    """Print a line of progress on stderr."""
    print(line, file=sys.stderr, flush=True)
