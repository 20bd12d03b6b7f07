"""Answers the questions of an exchange directory with one of alibi's searches; runs in the peers' environment.

    python peers_search.py EXCHANGE --peer proto|proto-confident|wachter [--threads 2]

reads EXCHANGE/work.npz and writes EXCHANGE/PEER/found.npz. `peers_exchange.py` describes these files and the searches.
The program needs numpy, TensorFlow and alibi, but neither torch nor cfx.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

# An absolute import, because this file is run as a program where cfx is not installed.
from peers_exchange import (
    AUTOENCODER,
    FOUND,
    PEERS,
    POOLED,
    WORK,
    Answers,
    Array,
    Explain,
    Peer,
    Stop,
    Work,
    answer_all,
    difference,
    last,
    read_arrays,
    say,
    settings_of,
    write_arrays,
)


class Wachter:
    """alibi's `Counterfactual`, with one search object for each target."""

    def __init__(self, work: Work, settings: Mapping[str, Any]) -> None:
        self.work = work
        self.settings = {name: value for name, value in settings.items() if name != "peer"}
        self.setup_seconds = self.autoencoder_seconds = 0.0
        _, self.logit_difference = port(work, shift=0.0)

    def explainer(self, target: int) -> Explain:
        from alibi.explainers import Counterfactual  # pyright: ignore[reportMissingImports]
        from tensorflow import keras  # pyright: ignore[reportMissingModuleSource]

        started = time.perf_counter()
        keras.backend.clear_session()  # else the first object's settings stay in force (alibi's documentation)
        model, _ = port(self.work, shift=0.0)
        shape = (1, *self.work.images.shape[2:], self.work.images.shape[1])
        search = Counterfactual(model, shape, target_class=target, feature_range=(0.0, 1.0), **self.settings)

        def explain(factual: Array) -> Array | None:
            found = search.explain(factual).cf
            return None if found is None else found["X"]

        search.max_iter, steps = 10, search.max_iter  # the learning rate's schedule keeps the real number of steps
        explain(last(self.work.images[:1]))
        search.max_iter = steps
        self.setup_seconds += time.perf_counter() - started
        return explain


class Proto:
    """alibi's `CounterfactualProto`, with one search object for all targets; its images lie in [-0.5, 0.5]."""

    def __init__(self, work: Work, settings: Mapping[str, Any], directory: Path) -> None:
        from alibi.explainers import CounterfactualProto  # pyright: ignore[reportMissingImports]

        started = time.perf_counter()
        self.work = work
        model, self.logit_difference = port(work, shift=0.5)
        images = last(work.training_images).astype(np.float32) / 255 - 0.5
        autoencoder, encoder, self.autoencoder_seconds = fitted_autoencoder(images, directory)
        shape = (1, *images.shape[1:])
        numbers = {name: value for name, value in settings.items() if name not in ("peer", "autoencoder")}
        self._search = CounterfactualProto(
            model, shape, ae_model=autoencoder, enc_model=encoder, feature_range=(-0.5, 0.5), **numbers
        )
        self._search.fit(images)
        self._search.max_iterations, steps = 2, self._search.max_iterations  # the schedule keeps the real number
        self.explainer(int(work.targets[0]))(last(work.images[:1]))
        self._search.max_iterations = steps
        self.setup_seconds = time.perf_counter() - started

    def explainer(self, target: int) -> Explain:
        def explain(factual: Array) -> Array | None:
            found = self._search.explain(factual - 0.5, target_class=[target]).cf
            return None if found is None else found["X"] + 0.5

        return explain


def port(work: Work, shift: float) -> tuple[Any, float]:
    """Build the explained classifier in Keras, with a final softmax, and compare its logits with the original's.

    Args:
        work: the weights, and images and logits to check them with.
        shift: added to the images first; 0.5 for a peer whose images lie in [-0.5, 0.5].

    Returns:
        The Keras model, and the largest difference of a logit.

    Raises:
        Stop: the logits differ.
    """
    from tensorflow import keras  # pyright: ignore[reportMissingModuleSource]

    weights, layers = work.weights, keras.layers
    _, channels, height, width = work.images.shape
    entry = x = keras.Input((height, width, channels))
    deviation = float(weights["deviation"])
    x = layers.Rescaling(1 / deviation, (shift - float(weights["mean"])) / deviation)(x)
    filled: list[tuple[Any, str]] = []
    for place, pooled in enumerate(POOLED):
        name = f"convolution{place}"
        layer = layers.Conv2D(weights[f"{name}.kernel"].shape[-1], 3, padding="same", activation="relu")
        filled.append((layer, name))
        x = layer(x)
        if pooled:
            x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    for name, activation in (("hidden", "relu"), ("head", None)):
        layer = layers.Dense(weights[f"{name}.kernel"].shape[-1], activation=activation)
        filled.append((layer, name))
        x = layer(x)
    logits, model = keras.Model(entry, x), keras.Model(entry, layers.Softmax()(x))
    for layer, name in filled:
        layer.set_weights([weights[f"{name}.kernel"], weights[f"{name}.bias"]])
    return model, difference(logits.predict(last(work.checked) - shift, verbose=0), work.logits)


def fitted_autoencoder(images: Array, directory: Path) -> tuple[Any, Any, float]:
    """Train the autoencoder of alibi's example, or load it if it was trained before.

    Args:
        images: (M, H, W, C) in [-0.5, 0.5].
        directory: directory of autoencoder.npz.

    Returns:
        The autoencoder, its encoder, and the seconds of training.
    """
    from tensorflow import keras  # pyright: ignore[reportMissingModuleSource]

    keras.utils.set_random_seed(0)
    autoencoder, encoder = build_autoencoder(images.shape[1:])
    path = directory / "autoencoder.npz"
    digest = hashlib.sha256(json.dumps(AUTOENCODER, sort_keys=True).encode() + images.tobytes()).hexdigest()
    if path.exists():
        kept = read_arrays(path)
        if str(kept["fingerprint"]) == digest:
            autoencoder.set_weights([kept[f"weight{place}"] for place in range(len(autoencoder.weights))])
            return autoencoder, encoder, float(kept["seconds"])
    say(f"training the autoencoder on {len(images)} images")
    started = time.perf_counter()
    autoencoder.fit(images, images, verbose=0, **AUTOENCODER)
    seconds = time.perf_counter() - started
    weights = {f"weight{place}": weight for place, weight in enumerate(autoencoder.get_weights())}
    write_arrays(path, {**weights, "seconds": seconds, "fingerprint": digest})
    return autoencoder, encoder, seconds


def build_autoencoder(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Build the autoencoder of cfproto_mnist.ipynb for images (H, W, C); its encoder halves both sides."""
    from tensorflow import keras  # pyright: ignore[reportMissingModuleSource]

    layers = keras.layers
    height, width, channels = shape

    def convolution(filters: int, activation: str | None = "relu") -> Any:
        return layers.Conv2D(filters, 3, activation=activation, padding="same")

    encoder = keras.Sequential(
        [keras.Input(shape), convolution(16), convolution(16), layers.MaxPooling2D(2, padding="same"),
         convolution(1, None)]
    )  # fmt: skip
    decoder = keras.Sequential(
        [keras.Input((height // 2, width // 2, 1)), convolution(16), layers.UpSampling2D(2), convolution(16),
         convolution(channels, None)]
    )  # fmt: skip
    entry = keras.Input(shape)
    autoencoder = keras.Model(entry, decoder(encoder(entry)))
    autoencoder.compile(optimizer="adam", loss="mse")
    return autoencoder, encoder


def prepare(threads: int) -> dict[str, str]:
    """Put TensorFlow into the mode that alibi needs, and return the versions of all packages.

    Raises:
        Stop: TensorFlow or alibi is missing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import alibi  # pyright: ignore[reportMissingImports]
        import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]
    except ImportError as error:
        raise Stop(f"{error}; this program needs an environment with alibi[tensorflow]") from error
    tf.get_logger().setLevel("ERROR")
    warnings.filterwarnings("ignore", module="keras")
    logging.getLogger("alibi").setLevel("CRITICAL")  # the answer says if nothing was found
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.compat.v1.disable_v2_behavior()
    return {"alibi": alibi.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}


def search(directory: Path, name: str, threads: int) -> None:
    """Answer all questions of an exchange directory, and write found.npz.

    Raises:
        Stop: the search cannot continue.
    """
    work = Work.load(directory / WORK)
    settings = settings_of(name, work.threshold)
    answers = Answers(directory / name, work, settings)
    path = directory / name / "about.json"
    if answers.pending() or not path.exists():
        versions = prepare(threads)
        peer: Peer = Wachter(work, settings) if name == "wachter" else Proto(work, settings, directory)
        say(f"the port's logits differ by at most {peer.logit_difference:.1e} on {len(work.checked)} images")
        answer_all(answers, peer)
        about = {
            "peer": name,
            "settings": settings,
            "versions": versions,
            "threads": threads,
            "logit_difference": peer.logit_difference,
            "autoencoder_seconds": peer.autoencoder_seconds,
            "setup_seconds": peer.setup_seconds,
        }
        path.write_text(json.dumps(about), encoding="utf-8")
    rows = [answer for row in range(len(work.images)) if (answer := answers.get(row)) is not None]  # all, by now
    write_arrays(
        directory / name / FOUND,
        {
            "images": np.stack([row.image for row in rows]),
            "found": np.array([row.found for row in rows]),
            "seconds": np.array([row.seconds for row in rows]),
            "processor_seconds": np.array([row.processor_seconds for row in rows]),
            "about": path.read_text(encoding="utf-8"),
        },
    )


def main() -> int:
    """Run the command line of the program, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exchange", type=Path, help="exchange directory, which holds work.npz")
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--threads", type=int, default=2, help="number of CPU threads")
    options = parser.parse_args()
    try:
        search(options.exchange, options.peer, options.threads)
    except Stop as stop:
        print("error:", stop, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
