"""Other people's tools on the questions of a cfx run: the same images, targets, threshold, classifier and judges.

    python -m cfx.benchmarks.peers --run runs/NAME --data DIR --peer proto --out runs/PEER [-n 100]

The peers run in an environment of their own, which uv makes; cfx itself never imports them. What they are asked and
what they answer goes through the directory runs/NAME.peers, which keeps each answer as soon as it is there: the same
command goes on with a search that was stopped. `exchange.py` says which tools these are, and their settings.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from ...bundles.bundle import Bundle, load_bundle
from ...classifiers.convolutional import ConvNet
from ...counterfactuals.engine import Counterfactuals, as_written
from ...errors import CfxError, DataError, OutputError, UsageError, reason_of
from ...files import write_bytes, write_text
from ...training.recipe import RECIPES
from ..finish import finish
from ..pairs import PAIRS, Pair, load_factuals, read_pairs, target_indices
from ..records import Value
from ..run import Run, begin, load_run, opened, read_manifest
from ..runner import record_batch
from .exchange import FOUND, PEERS, WORK, Array, Work, read_arrays

OURS = ("PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV")  # of the environment; not for the peers
PROGRAM = Path(__file__).with_name("search.py")
CHECKED = 256  # images on which the port must agree; the asked ones come on top

# alibi 0.9.4 is under the Apache licence; the two searches are the same to the letter in 0.9.6, under BSL 1.1.
# TensorFlow and numpy are the newest that it takes. click is what its spaCy imports but does not ask for.
PYTHON = "3.11"
PACKAGES = ("alibi[tensorflow]==0.9.4", "tensorflow==2.12.1", "numpy==1.24.3", "click")


@dataclass(frozen=True)
class Found:
    """What a peer found, one row per question.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1], not yet rounded to 8 bits; the factual where nothing was found.
        found: (N,) bool, whether the peer calls it a counterfactual.
        seconds: (N,) of the search alone, warm, one image at a time.
        processor_seconds: (N,) of all threads meanwhile.
        about: peer, settings, versions, threads, logit_difference, autoencoder_seconds, setup_seconds.
    """

    images: Tensor
    found: Tensor
    seconds: Tensor
    processor_seconds: Tensor
    about: dict[str, Any]


def exported(classifier: nn.Module) -> dict[str, Array]:
    """The weights of a `ConvNet` for channels-last networks, batch norms folded into the convolutions before them.

    Returns:
        mean and deviation; for each convolution kernel (3, 3, inputs, outputs) and bias (outputs,); for `hidden`
        and `head` kernel (inputs, outputs) and bias. Inputs of `hidden` are in the order (row, column, channel).

    Raises:
        UsageError: it is no `ConvNet`.
    """
    if not isinstance(classifier, ConvNet):
        raise UsageError(f"the peers' port knows ConvNet only, and this bundle explains a {type(classifier).__name__}")
    # As in ConvNet.forward; search.py checks logits, and so notices if they change there.
    arrays: dict[str, Array] = {"mean": np.float32(0.1307), "deviation": np.float32(0.3081)}  # pyright: ignore[reportAssignmentType]

    def put(name: str, kernel: Tensor, bias: Tensor) -> None:
        arrays[f"{name}.kernel"] = kernel.float().contiguous().cpu().numpy()
        arrays[f"{name}.bias"] = bias.float().cpu().numpy()

    layers = list(classifier.features)
    convolutions = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    channels = 0
    with torch.no_grad():
        for number, place in enumerate(convolutions):
            convolution, norm = cast(nn.Conv2d, layers[place]), cast(nn.BatchNorm2d, layers[place + 1])
            mean, variance = cast(Tensor, norm.running_mean).double(), cast(Tensor, norm.running_var).double()
            scale = norm.weight.double() / (variance + norm.eps).sqrt()
            kernel = convolution.weight.double() * scale[:, None, None, None]
            put(f"convolution{number}", kernel.permute(2, 3, 1, 0), norm.bias.double() - mean * scale)
            channels = convolution.out_channels
        (hidden,) = (layer for layer in layers if isinstance(layer, nn.Linear))
        side = round((hidden.in_features / channels) ** 0.5)
        # torch flattens channel, row, column
        kernel = hidden.weight.view(-1, channels, side, side).permute(2, 3, 1, 0).flatten(0, 2)
        put("hidden", kernel, hidden.bias)
        put("head", classifier.head.weight.T, classifier.head.bias)
    return arrays


@torch.no_grad()
def work_of(bundle: Bundle, run: Path, pairs: Sequence[Pair], threshold: float, fit: Tensor) -> Work:
    """Everything that a peer needs to answer some questions of a run.

    Args:
        bundle: brings the classifier.
        run: the run's directory.
        pairs: the questions.
        threshold: least confidence of a counterfactual.
        fit: (M, C, H, W) uint8, the images that the generative models have seen.
    """
    images = load_factuals(run, pairs, bundle)
    checked = torch.cat([images, fit[:CHECKED].to(images) / 255])
    places = {name: index for index, name in enumerate(bundle.classes)}
    return Work(
        images=images.cpu().numpy(),
        factuals=np.array([places[pair.factual.name] for pair in pairs]),
        targets=target_indices(pairs, bundle.classes, torch.device("cpu")).numpy(),
        threshold=threshold,
        fit=fit.numpy(),
        weights=exported(bundle.classifier),
        checked=checked.cpu().numpy(),
        logits=bundle.classifier(checked).cpu().numpy(),
    )


def bundle_of(run: Path, manifest: dict[str, Any], name: str | None) -> Bundle:
    """The bundle that a run was made with.

    Raises:
        UsageError: the bundle of that name is not the same any more.
    """
    made_with = manifest["config"]["bundle"]
    bundle = load_bundle(name or made_with["name"])
    if bundle.digest != made_with["digest"]:
        raise UsageError(
            f"{run}: made with another state of the bundle {made_with['name']!r}; name that one's directory "
            "with --bundle, or make the run again"
        )
    return bundle


def ask(exchange: Path, peer: str, threads: int) -> Found:
    """Run a peer in its own environment on an exchange directory, and read what it found.

    Raises:
        CfxError: uv is not there, the environment cannot be made, or the peer failed.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise CfxError(
            "uv: not found on PATH; it makes the environment in which the peers run: `pip install uv`, "
            "then the same command again"
        )
    wanted = [part for package in PACKAGES for part in ("--with", package)]
    program = [str(PROGRAM), str(exchange), "--peer", peer, "--threads", str(threads)]
    command = [uv, "run", "--isolated", "--no-project", "--python", PYTHON, *wanted, "python", *program]
    clean = {name: value for name, value in os.environ.items() if name not in OURS}
    clean |= {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    line = ""
    with subprocess.Popen(command, env=clean, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        for part in cast(Any, process.stderr):
            line = part.strip() or line
            print(part, end="", file=sys.stderr, flush=True)
    if process.returncode:
        reason = line.removeprefix("error: ") or "it said nothing"
        raise CfxError(f"peer {peer}: failed with exit code {process.returncode}: {reason}")
    return read_found(exchange / peer / FOUND)


def read_found(path: Path) -> Found:
    """Read what a peer found.

    Raises:
        DataError: the file is missing or not what `search.py` writes.
    """
    try:
        arrays = read_arrays(path)
        tensors = (torch.from_numpy(arrays[name]) for name in ("images", "found", "seconds", "processor_seconds"))
        return Found(*tensors, about=json.loads(str(arrays["about"])))
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise DataError(f"{path}: not what a peer writes ({error}); run the same command again") from error


@torch.no_grad()
def answers_of(bundle: Bundle, pairs: Sequence[Pair], found: Found, threshold: float) -> Counterfactuals:
    """What a peer found as an engine would return it: as written, and valid by the explained classifier's own word.

    Nothing is tightened or mended. Peers count neither steps nor calls; they are 0 here.
    """
    targets = target_indices(pairs, bundle.classes, bundle.device)
    images = as_written(found.images.to(bundle.device))
    valid, confidence = judged(bundle, images, targets, threshold)
    nothing = torch.zeros(len(targets), dtype=torch.int64)
    return Counterfactuals(images, targets, valid, confidence, nothing, nothing, nothing)


@torch.no_grad()
def judged(bundle: Bundle, images: Tensor, targets: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Whether each image is the target's with the confidence asked for, (N,) bool, and that confidence, (N,)."""
    probabilities = bundle.classifier(images).softmax(dim=1)
    confidence = probabilities.gather(1, targets[:, None]).squeeze(1)
    return (probabilities.argmax(dim=1) == targets) & (confidence >= threshold), confidence


def score(
    bundle: Bundle, source: Path, pairs: Sequence[Pair], found: Found, peer: str, config: Mapping[str, Any], out: Path
) -> Run:
    """Judge what a peer found exactly as an engine's answers are judged, and leave a run that `cfx compare` reads.

    Args:
        bundle: brings the classifier and the judges.
        source: the directory of the run whose questions these are.
        pairs: the questions.
        found: one row for each.
        peer: by name.
        config: that of the run asked about.
        out: the run directory to write.
    """
    threshold = float(config["confidence"])
    config = {**config, "engines": {peer: found.about["settings"]}, "count": len(pairs)}
    with opened(out, config) as begun:
        if not begun:
            for pair in pairs:
                write_bytes(out / pair.factual_image, (source / pair.factual_image).read_bytes())
            write_text(out / PAIRS, "".join(pair.as_json() + "\n" for pair in pairs))
            device = bundle.device.type
            begin(out, config, command=["python", "-m", "cfx.benchmarks.peers", *sys.argv[1:]], batch_size=1,
                  device=device, unreadable=[], peer=found.about)  # fmt: skip
        run = load_run(out)
        if not run.answered:
            images = load_factuals(out, pairs, bundle)
            nothing: list[Value] = [None] * len(pairs)
            cost = {"steps": nothing, "forward_calls": nothing, "backward_calls": nothing,
                    "seconds": found.seconds.tolist(), "peak_memory_mb": nothing}  # fmt: skip
            answers = answers_of(bundle, pairs, found, threshold)
            run.append(record_batch(run, bundle, peer, pairs, images, answers, cost, lpips=config["lpips"]))
        finish(run, bundle, {peer: False})
    return run


def report(bundle: Bundle, run: Run, found: Found) -> dict[str, Any]:
    """What the table of a comparison does not say: how far a peer came by its own lights, and what it ran with."""
    threshold = float(run.config["confidence"])
    targets = target_indices(run.pairs, bundle.classes, bundle.device)
    unrounded, _ = judged(bundle, found.images.to(bundle.device), targets, threshold)
    reached, confidence = judged(bundle, as_written(found.images.to(bundle.device)), targets, 0.0)
    return {
        "run": str(run.directory),
        "pairs": len(run.pairs),
        "found": int(found.found.sum()),
        "valid": sum(record.valid for record in run.records()),
        "valid_before_rounding": int(unrounded.sum()),
        "target_most_probable": int(reached.sum()),
        "median_confidence": round(float(confidence.median()), 4),
        "mean_seconds": round(float(found.seconds.mean()), 3),
        "mean_processor_seconds": round(float(found.processor_seconds.mean()), 3),
        **found.about,
    }


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Do what the command line asks for."""
    if options.n < 1:
        raise UsageError(f"-n {options.n}: ask at least one question")
    manifest = read_manifest(options.run)
    bundle = bundle_of(options.run, manifest, options.bundle)
    threshold = float(manifest["config"]["confidence"])
    pairs = read_pairs(options.run)[: options.n]
    if bundle.name not in RECIPES:
        raise UsageError(
            f"bundle {bundle.name}: the peers need its training images, and cfx knows no data set of that name"
        )
    images, split = RECIPES[bundle.name].open(options.data)
    fit = images.load(split.train, bundle.shape).data.images  # those that the generative models have seen
    exchange = options.run.resolve().with_name(options.run.resolve().name + ".peers")
    try:
        exchange.mkdir(parents=True, exist_ok=True)
        work_of(bundle, options.run, pairs, threshold, fit).save(exchange / WORK)
    except OSError as error:
        raise OutputError(
            f"{exchange}: could not be written ({reason_of(error)}); copy the run to another place"
        ) from error
    found = ask(exchange, options.peer, options.threads)
    run = score(bundle, options.run, pairs, found, options.peer, manifest["config"], options.out)
    return report(bundle, run, found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the script; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.peers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=Path, required=True, help="directory of a run, finished or only begun")
    parser.add_argument("--data", type=Path, required=True, help="directory with MNIST in torchvision's layout")
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the run to write, which cfx compare reads")
    parser.add_argument("--bundle", help="directory of the run's bundle, where its name does not say which")
    parser.add_argument("-n", type=int, default=100, help="the run's first pairs")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    options = parser.parse_args(arguments)
    try:
        print(json.dumps(compare(options)))
    except CfxError as error:
        print("error:", error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
