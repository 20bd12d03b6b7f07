"""What a stranger must touch to add something: a copy of the tree, exactly these files and lines, and it runs there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"

JUMP = '''"""jump: the negative of the image, whatever is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ..engine import Engine
from ..problem import Problem
from ..curve import Curve


@dataclass(frozen=True, kw_only=True)
class Jump(Engine):
    """Straight from x to 1 - x."""

    name: ClassVar[str] = "jump"
    summary: ClassVar[str] = "straight to the negative"
    paper: ClassVar[str] = "none: a test"
    rank: ClassVar[int] = 5
    gradients: ClassVar[bool] = False

    def find(self, problem: Problem) -> Curve:
        start = problem.images
        return Curve(lambda t, rows: torch.lerp(start[rows], 1 - start[rows], t[:, None, None, None]))
'''

METRIC = '''"""How bright counterfactuals are."""

from __future__ import annotations

from torch import Tensor

from .scene import Scene


def brightness(scene: Scene) -> Tensor:
    """The mean value of x', (N,), in [0, 1]."""
    return scene.counterfactuals.mean(dim=(1, 2, 3))
'''

COMMAND = '''"""`cfx survey`: each image towards its runner-up class, in a run that can go on, with a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .running import run_job


@dataclass(frozen=True, kw_only=True)
class SurveyOptions:
    """What was asked for."""

    out: Path
    images: tuple[Path, ...]


def survey(out: Path, images: list[Path]) -> None:
    """What are these images nearly?"""
    run_job("survey_job", SurveyOptions(out=out, images=tuple(images)))
'''

JOB = '''"""The work of `cfx survey`."""

from __future__ import annotations

from dataclasses import replace

from ..answers.given import read_any
from ..answers.pipeline import AnswerOptions, answer_batch
from ..answers.question import QuestionBatch, ask
from ..answers.wanted import Wanted
from ..bundles.bundle import load_bundle
from ..counterfactuals.registry import load_engine
from ..images.writing import write_png
from ..reports.gallery import GalleryItem
from ..reports.page import write_page
from ..reports.run import PAGE, RunDirectory
from .exit_code import ExitCode
from .survey import SurveyOptions
from .terminal.terminal import Terminal


def run(options: SurveyOptions, terminal: Terminal) -> ExitCode:
    """Ask about every image that was not asked about before."""
    bundle = load_bundle("mnist")
    engine = load_engine("vcnet").from_models(bundle.models)
    directory = RunDirectory(options.out, questions="none")
    config = {"images": [str(path) for path in options.images], "bundle": bundle.digest}
    with directory.held(config) as begun:
        if not begun:
            directory.begin(config, command=["cfx", "survey"], batch_size=1, device="cpu")
        done = {answer.question.number for answer in directory.answers()}
        for number, path in enumerate(options.images):
            if number in done:
                continue
            source, image = read_any(path, bundle, str(path))
            asked = ask(bundle, image[None], [source], [Wanted()])
            files = {"factual": f"images/factual/{number}.png", "counterfactual": f"images/vcnet/{number}.png"}
            question = replace(asked.questions[0], number=number, file=files["factual"])
            batch = QuestionBatch([question], asked.images, asked.targets)
            (answer,) = answer_batch(bundle, "vcnet", engine, batch, AnswerOptions())
            write_png(options.out / files["factual"], answer.given_images.factual)
            write_png(options.out / files["counterfactual"], answer.given_images.counterfactual)
            directory.append([answer.with_files(files)])
            terminal.note(f"{path}: {answer.factual.name}, nearly {answer.target}")
        items = [GalleryItem.of_run(answer, options.out) for answer in directory.answers()]
    write_page(options.out / PAGE, title="cfx survey", facts={"images": str(len(items))}, items=items)
    return ExitCode.DONE
'''

MODEL = '''"""The mean image of each class."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ClassMeans(nn.Module):
    """means: (K, C, H, W) in [0, 1]."""

    means: Tensor

    def __init__(self, classes: int, channels: int, size: list[int]) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(classes, channels, *size))
'''

PART = '''"""class_means: the mean image of each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ...generative.class_means import ClassMeans
from ..context import TrainingContext
from ..part import Made, Measured, Part, Verdict


@dataclass(frozen=True, kw_only=True)
class ClassMeansPart(Part):
    """Needs no training: the means of the explained world's images."""

    makes: ClassVar[tuple[str, ...]] = ("class_means",)

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        arguments = {"classes": context.count, **context.sizes}
        model = ClassMeans(**arguments)
        for label in context.present:
            model.means[label] = context.split.train.of_class(label).floats().mean(dim=0)
        return {"class_means": Made(model, arguments)}

    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        assert isinstance(model, ClassMeans)
        return {"spread": round(float(model.means.std(dim=0).mean()), 5)}

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        grade = "good" if measured["spread"] > 0 else "weak"
        return Verdict(grade, f"the classes differ by {measured['spread']:.3f} a pixel")
'''

ENGINE = '''"""mean: from the image straight to the mean image of the target class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...generative.class_means import ClassMeans
from ..engine import Engine
from ..problem import Problem
from ..curve import Curve


@dataclass(frozen=True, kw_only=True)
class MeanImage(Engine):
    """The nearest valid point on the line from x to the mean image of the target class."""

    name: ClassVar[str] = "mean"
    summary: ClassVar[str] = "straight to the mean image of the target class"
    paper: ClassVar[str] = "none: a test"
    needs: ClassVar[tuple[str, ...]] = ("class_means",)
    gradients: ClassVar[bool] = False

    class_means: ClassMeans

    def find(self, problem: Problem) -> Curve:
        start, end = problem.images, self.class_means.means[problem.targets]
        return Curve(lambda t, rows: torch.lerp(start[rows], end[rows], t[:, None, None, None]))
'''


def add_line(path: Path, before: str, line: str) -> None:
    """Put a line before the first one that starts with `before`."""
    text = path.read_text(encoding="utf-8")
    at = text.index(f"\n{before}") + 1
    path.write_text(f"{text[:at]}{line}\n{text[at:]}", encoding="utf-8")


def changed(one: Path, other: Path) -> set[str]:
    """The files that differ between two trees."""
    trees = [{p.relative_to(t).as_posix(): p.read_bytes() for p in t.rglob("*") if p.is_file()} for t in (one, other)]
    return {name for name in trees[0].keys() | trees[1].keys() if trees[0].get(name) != trees[1].get(name)}


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    """A copy to add something to."""
    return Path(shutil.copytree(tree, tmp_path / "grown" / "cfx"))


@pytest.mark.slow
def test_an_engine_is_two_files(
    tree: Path,
    copy: Path,
    on_path: Callable[[Path], Path],
    command: Callable[..., Path],
    shell: Callable[..., str],
    tmp_path: Path,
) -> None:
    (copy / "counterfactuals" / "engines" / "jump.py").write_text(JUMP)
    add_line(copy / "pyproject.toml", "pixel = ", 'jump = "cfx.counterfactuals.engines.jump:Jump"')
    assert changed(tree, copy) == {"counterfactuals/engines/jump.py", "pyproject.toml"}
    cfx = command(on_path(copy))
    image = EXAMPLES / "four.png"
    asked = ("explain", image, "--target", "9", "--engine", "all", "--format", "json")
    out = shell(cfx, *asked, cwd=tmp_path, codes=(1,))
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["engine"] for record in records] == [
        "auto",
        "jump",
        "leap",
        "graft",
        "latent",
        "revise",
        "dive",
        "diffeo",
        "vcnet",
        "projection",
        "swap",
        "deduce",
        "jsma",
        "svce",
        "pixel",
    ]
    assert not records[1]["valid"] and records[1]["cost"]["forward_calls"] > 0
    options = ("--engines", "jump", "--images", EXAMPLES, "--out", "run", "--format", "json")
    summary = json.loads(shell(cfx, "bench", *options, cwd=tmp_path))
    assert summary["engines"]["jump"]["pairs"] == len(list(EXAMPLES.glob("*.png")))


@pytest.mark.slow
def test_a_metric_is_two_files_and_follows_everywhere(
    tree: Path, copy: Path, command: Callable[..., Path], shell: Callable[..., str]
) -> None:
    (copy / "metrics" / "brightness.py").write_text(METRIC)
    line = 'Metric("brightness", "brightness", None, "share", Group.DISTANCE, function="brightness:brightness"),'
    add_line(copy / "metrics" / "catalogue.py", ")\n\nBY_NAME", f"    {line}")
    assert changed(tree, copy) == {"metrics/brightness.py", "metrics/catalogue.py"}
    cfx = command(copy.parent)
    asked = ("explain", EXAMPLES / "four.png", "--target", "9", "--format", "json")
    record = json.loads(shell(cfx, *asked, cwd=copy.parent))
    assert 0 < record["metrics"]["brightness"] < 1
    options = ("--engines", "vcnet", "--images", EXAMPLES, "--out", "run", "--format", "csv")
    gate = ("--fail-under", "vcnet.brightness>0.01")
    table = shell(cfx, "bench", *options, *gate, cwd=copy.parent)
    assert "vcnet,false,brightness,valid," in table
    page = (copy.parent / "run" / "index.html").read_text()
    assert '"name":"brightness"' in page and ">brightness&nbsp;" in page


@pytest.mark.slow
def test_a_command_with_a_run_and_a_page_is_three_files(
    tree: Path, copy: Path, command: Callable[..., Path], shell: Callable[..., str]
) -> None:
    (copy / "cli" / "survey.py").write_text(COMMAND)
    (copy / "cli" / "survey_job.py").write_text(JOB)
    add_line(copy / "cli" / "app.py", "from .train", "from .survey import survey")
    app = (copy / "cli" / "app.py").read_text()
    (copy / "cli" / "app.py").write_text(app.replace("train, info)", "train, info, survey)"))
    assert changed(tree, copy) == {"cli/survey.py", "cli/survey_job.py", "cli/app.py"}
    cfx = command(copy.parent)
    assert "survey" in shell(cfx, "--help", cwd=copy.parent)
    images = [EXAMPLES / f"{name}.png" for name in ("four", "seven")]
    shell(cfx, "survey", "out", *images, cwd=copy.parent)
    records = copy.parent / "out" / "records.jsonl"
    first, whole = records.read_text().splitlines()[0], records.read_text()
    assert "cfx survey" in (copy.parent / "out" / "index.html").read_text()
    records.write_text(f"{first}\n" + whole[len(first) + 1 :][:40])  # as a kill may leave it
    shell(cfx, "survey", "out", *images, cwd=copy.parent)
    assert [json.loads(line)["pair"] for line in records.read_text().splitlines()] == [0, 1]
    assert records.read_text().startswith(first), "what was answered is not asked again"
    shell(cfx, "survey", "out", images[0], cwd=copy.parent, codes=(2,))


@pytest.fixture
def grown(tree: Path, copy: Path) -> Path:
    """The tree with an engine that needs a new trained part."""
    (copy / "generative" / "class_means.py").write_text(MODEL)
    (copy / "training" / "parts" / "class_means.py").write_text(PART)
    (copy / "counterfactuals" / "engines" / "mean.py").write_text(ENGINE)
    add_line(copy / "pyproject.toml", "pixel = ", 'mean = "cfx.counterfactuals.engines.mean:MeanImage"')
    what = '"mean image of each class", ("generative.class_means:ClassMeans",)'
    add_line(copy / "bundles" / "known_parts.py", ')\n"""In the order', f'    KnownPart("class_means", {what}),')
    parts = copy / "training" / "parts" / "__init__.py"
    add_line(parts, "from .conditional_vae", "from .class_means import ClassMeansPart")
    add_line(parts, ')\n"""In the order', "    ClassMeansPart,")
    four = {"generative/class_means.py", "training/parts/class_means.py", "bundles/known_parts.py"}
    four.add("training/parts/__init__.py")
    assert changed(tree, copy) == four | {"counterfactuals/engines/mean.py", "pyproject.toml"}
    return copy


@pytest.mark.slow
def test_an_engine_with_a_new_trained_part_is_six_files(
    grown: Path,
    digits: tuple[np.ndarray, np.ndarray],
    on_path: Callable[[Path], Path],
    command: Callable[..., Path],
    shell: Callable[..., str],
    tmp_path: Path,
) -> None:
    for place, (image, label) in enumerate(zip(*digits, strict=True)):
        path = tmp_path / "digits" / str(int(label)) / f"{place:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).round().byte().numpy()).save(path)
    cfx = command(on_path(grown))
    shell(cfx, "init", "mine", "--images", "digits", cwd=tmp_path)
    told = shell(cfx, "train", "mine", "--only", "classifier", "--only", "class_means", "--budget", "25s", cwd=tmp_path)
    assert "good: the classes differ by" in told
    photos = [f"digits/{label}/{40 * label:03d}.png" for label in (1, 2)]
    options = ("--bundle", "mine", "--engine", "mean", "--confidence", "0.5", "--format", "json")
    out = shell(cfx, "explain", *photos, "--target", "0", *options, cwd=tmp_path)
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["engine"] for record in records] == ["mean", "mean"]
    assert all(record["valid"] and record["counterfactual"]["class"] == "0" for record in records)
    out = shell(cfx, "bench", "-n", "10", "--batch-size", "5", "--out", "run", *options, cwd=tmp_path)
    assert json.loads(out)["engines"]["mean"]["pairs"] == 10
    information = json.loads(shell(cfx, "info", "mine", "--format", "json", cwd=tmp_path))
    assert [engine["needs"] for engine in information["engines"] if engine["name"] == "mean"] == [["class_means"]]
