"""A toy bundle, small and untrained, and a way to call the command line: what is tested here is the plumbing."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from cfx.bundles.bundle import Bundle
from cfx.bundles.entries import PartEntry
from cfx.bundles.file import BundleFile
from cfx.bundles.known_parts import build
from cfx.classifiers.convolutional import ConvNet
from cfx.cli.app import main
from cfx.images.reading import read_image
from cfx.judges.real_images import RealImages

EXAMPLES = Path(__file__).parents[2] / "examples"
SHAPE = (1, 28, 28)
PROGRESS = re.compile("cfx (explain|bench|init|train): ")


@dataclass(frozen=True)
class Result:
    """What a command line left behind; `progress` are the lines of stderr that say when work begins and ends."""

    code: int
    stdout: str
    stderr: str
    progress: tuple[str, ...] = ()

    @property
    def records(self) -> list[dict[str, Any]]:
        """stdout as JSON lines."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def error(self) -> str:
        """The one line on stderr."""
        assert self.stderr.count("\n") == 1, self.stderr
        assert self.stderr.startswith("error: ")
        return self.stderr.removeprefix("error: ").rstrip("\n")


Run = Callable[..., Result]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """On models this small, threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def heeded() -> Iterator[None]:
    """SIGINT interrupts, also where whoever started the tests in the background has had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command line as a shell would, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CFX_DEBUG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        lines = captured.err.splitlines(keepends=True)
        progress = [line for line in lines if PROGRESS.match(line)]
        rest = "".join(line for line in lines if line not in progress)
        return Result(code, captured.out, rest, tuple(line.rstrip("\n") for line in progress))

    return call


@pytest.fixture
def explain(run: Run, toy: Path) -> Run:
    """`cfx explain` with the toy bundle and the engine that takes no model."""

    def call(*arguments: object) -> Result:
        return run("explain", "--bundle", toy, "--engine", "pixel", *arguments)

    return call


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of untrained models: a classifier that tells the examples apart by chance, and all judges."""
    directory = tmp_path_factory.mktemp("bundles") / "toy"
    directory.mkdir()
    classes = tuple(str(digit) for digit in range(10))
    BundleFile(name="toy", classes=classes, shape=SHAPE, light_on_dark=True).write(directory)
    bundle = Bundle(directory)
    parts = {
        "classifier": ("ConvNet", {"width": 4}),
        "judge": ("ResidualNet", {"width": 4}),
        "second_judge": ("PatchTransformer", {"width": 8, "depth": 1}),
        "referee": ("ConvMixer", {"width": 4, "depth": 1}),
        "retrained": ("Retrained", {"width": 4}),
        "autoencoders": ("ClassAutoencoders", {}),
        "reference": (
            "RealImages",
            {"classes": 10, "count": 8, "features": 16, "levels": 20, "details": 30, "noises": 33},
        ),
    }
    for name, (architecture, arguments) in parts.items():
        torch.manual_seed(0)
        model = build(architecture, arguments).eval()
        if isinstance(model, ConvNet):
            spread(model)
        if isinstance(model, RealImages):
            model.features.uniform_()
            model.distances.copy_(torch.rand_like(model.distances).sort(dim=1).values)
            assert model.sharpness is not None and model.noise is not None
            for quantiles in (model.margins, model.sharpness.blurs, model.noise.noises):
                quantiles.copy_(torch.randn_like(quantiles).sort(dim=1).values)
        entry = PartEntry(architecture=architecture, arguments=arguments, measured={"test_accuracy": 0.5})
        bundle.save_part(name, model, entry)
    return directory


@torch.no_grad()
def spread(model: ConvNet) -> None:
    """Scale the last layer so that the examples' logits differ: an untrained net sees one class everywhere."""
    images = torch.stack([read_image(path, SHAPE).pixels for path in sorted(EXAMPLES.glob("*.png"))])
    logits = model(images) - model.head.bias
    scale = 4 / logits.std(dim=0).mean()
    model.head.weight.mul_(scale)
    model.head.bias.copy_(-scale * logits.mean(dim=0))


@pytest.fixture
def prediction(toy: Path) -> Callable[[Path], str]:
    """What the toy's classifier sees in an image file."""
    bundle = Bundle(toy)
    return lambda path: bundle.classes[int(bundle.classifier(read_image(path, SHAPE).pixels[None]).argmax())]
