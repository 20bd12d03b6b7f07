"""On an accelerator, everything gives what it gives on the CPU. Skipped where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import cfx
from cfx.bundles.bundle import Bundle, load_bundle
from cfx.counterfactuals.registry import engine_names, load_engine

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

EXAMPLES = Path(__file__).parents[2] / "examples"
FOUR = EXAMPLES / "four.png"
Run = Callable[..., Any]  # a command line -> conftest's Result


@pytest.fixture
def folder(tmp_path: Path, digits: tuple[Tensor, Tensor]) -> Path:
    """Forty digits of each class, in a folder for each."""
    for place, (image, label) in enumerate(zip(*digits, strict=True)):
        file = tmp_path / "digits" / str(int(label)) / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).round().to(torch.uint8).numpy()).save(file)
    return tmp_path / "digits"


@pytest.mark.parametrize(
    "options",
    [
        ("--engine", "all"),
        ("--count", "2"),
        ("--style", "human"),
        ("--explain-regions",),
        ("--region", "4,4,16,16"),
        ("--mask", "auto"),
        ("--goal", "certain"),
    ],
    ids=" ".join,
)
def test_explain_runs_there(run: Run, options: tuple[str, ...]):
    target = () if "certain" in options else ("--target", "9")
    answered = run("explain", FOUR, *target, *options, "--device", "cuda", "--format", "json")
    assert answered.code in (0, 1), answered.stderr
    assert answered.records and all(record["device"] == "cuda" for record in answered.records)


def test_the_cpu_agrees_with_its_answers(digits: tuple[Tensor, Tensor], bundle: Bundle):
    """Rounding may tip an answer that is valid by a hair, and no more."""
    there = load_bundle("mnist", "cuda")
    images = digits[0][::20]
    targets = (digits[1][::20] + 3) % 10
    for name in engine_names():
        kind = load_engine(name)
        if kind.any_class:
            continue
        found = kind.from_bundle(there).search(there.classifier, images.cuda(), targets.cuda())
        here = bundle.classifier(found.images.cpu()).softmax(dim=1).gather(1, targets[:, None])[:, 0]
        assert torch.allclose(here, found.confidence.cpu(), atol=1e-3), name
        mine = kind.from_bundle(bundle).search(bundle.classifier, images, targets)
        assert abs(int(mine.valid.sum()) - int(found.valid.sum())) <= 2, name
        distances = [(each - images).abs().sum(dim=(1, 2, 3)).mean() for each in (mine.images, found.images.cpu())]
        assert abs(distances[0] / distances[1] - 1) < 0.1, name


def test_bench_scores_as_on_the_cpu(run: Run, tmp_path: Path):
    names = (
        "--images",
        EXAMPLES,
        "--engines",
        "projection,vcnet",
        "--targets",
        "all",
        "--no-lpips",
        "--format",
        "json",
    )
    summaries = []
    for device in ("cpu", "cuda"):
        ended = run("bench", *names, "--format", "json", "--device", device, "--out", tmp_path / device)
        assert ended.code == 0, ended.stderr
        summaries.append(json.loads(ended.stdout))
    for engine in ("projection", "vcnet"):
        here, there = (summary["engines"][engine]["metrics"] for summary in summaries)
        assert here.keys() == there.keys()
        for name in (
            "validity",
            "confidence",
            "judge_agrees",
            "realism_percentile",
            "sharpness_percentile",
            "l1",
            "im1",
        ):
            (mean, *_), (other, *_) = ([part["mean"] for part in side[name].values()] for side in (here, there))
            assert other == pytest.approx(mean, rel=0.03), f"{engine}: {name}"


class Positions(nn.Module):
    """A small network with a tensor made on a device that its author has written into it."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(676, 10))

    def forward(self, images: Tensor) -> Tensor:
        ramp = torch.linspace(0, 1, 28, device=self.device)
        return self.layers(images + 0.1 * ramp.to(self.device))


@pytest.mark.parametrize("made_on", ["cpu", "cuda"])
@pytest.mark.parametrize("used_on", ["cpu", "cuda"])
@pytest.mark.parametrize("form", ["pt2", "traced"])
def test_a_program_moves_to_another_device(
    run: Run, tmp_path: Path, folder: Path, form: str, made_on: str, used_on: str
):
    model = Positions(made_on).to(made_on).eval()
    sample = torch.rand(2, 1, 28, 28, device=made_on)
    path = tmp_path / ("model.pt2" if form == "pt2" else "model.pt")
    if form == "pt2":
        dynamic = ({0: torch.export.Dim("batch", min=1, max=4096)},)
        torch.export.save(torch.export.export(model, (sample,), dynamic_shapes=dynamic), path)
    else:
        torch.jit.trace(model, sample).save(path)
    started = run("init", tmp_path / "mine", "--classifier", path, "--images", folder)
    assert started.code in (0, 1), started.stderr  # an untrained model is right about nothing
    opened = load_bundle(str(tmp_path / "mine"), used_on)
    expected = model(sample)
    assert torch.allclose(opened.classifier(sample.to(used_on)).to(made_on), expected, atol=1e-4)


def test_a_model_in_memory_stays_where_it_is():
    model = Positions("cuda").cuda()
    (answer,) = cfx.explain([FOUR], target="9", classifier=model, engine="pixel")
    assert next(model.parameters()).device.type == "cuda"
    assert answer.pictures.counterfactual.isfinite().all()


def test_training_runs_there_and_its_bundle_opens_on_the_cpu(run: Run, tmp_path: Path, folder: Path):
    assert run("init", tmp_path / "mine", "--images", folder).code == 0
    trained = run("train", tmp_path / "mine", "--budget", "60s", "--device", "cuda")
    assert trained.code in (0, 1), trained.stderr
    again = Bundle(tmp_path / "mine")
    again.verify()
    assert {"classifier", "vae", "judge"} <= set(again.parts)
    assert again.classifier(torch.rand(2, *again.shape)).isfinite().all()
