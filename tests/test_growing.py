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

COMMAND = '''"""`cfx survey`: how many labelled images the classifier gets right, in a run with gates and a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..metrics.measure import Measure
from ..runs.gates import Vocabulary, check_subjects
from .options.gates import FailUnderOption, FreshOption, GateOptions, JUnitOption, gate_options
from .running import run_job

ACCURACY = Measure("accuracy", "accuracy", "higher", "share", yes_or_no=True)
GATES = Vocabulary(measures={"accuracy": ACCURACY}, subject="classifier", example="classifier.accuracy>=0.9")


@dataclass(frozen=True, kw_only=True)
class SurveyOptions:
    """What was asked for."""

    out: Path
    images: str
    gating: GateOptions


def survey(
    out: Path,
    images: Annotated[str, typer.Option()],
    fail_under: FailUnderOption = None,
    junit: JUnitOption = None,
    fresh: FreshOption = False,
) -> None:
    """How many of these images does the classifier get right?"""
    gating = gate_options(GATES, fail_under, junit=junit, fresh=fresh)
    check_subjects(gating.gates, GATES, ["classifier"])
    run_job("survey_job", SurveyOptions(out=out, images=images, gating=gating))
'''

JOB = '''"""The work of `cfx survey`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch

from ..answers.seen import probabilities_of
from ..bundles.bundle import load_bundle
from ..classifiers.introspection.features import PenultimateFeatures
from ..documents import Table
from ..intervals import Estimate, wilson
from ..reports.page import Page
from ..reports.sections.gates import Gates
from ..reports.sections.tally import Tally
from ..runs.directory import PAGE, RunDirectory, RunKind
from ..runs.gates import Outcome
from ..runs.identity import RunIdentity
from ..runs.inputs import open_inputs
from ..runs.outcomes import Figures
from .exit_code import ExitCode
from .gated_job import GatedJob
from .survey import SurveyOptions
from .terminal.terminal import Terminal


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the classifier sees in one image, and what it is."""

    image: str
    label: str
    seen: str

    @property
    def key(self) -> tuple[str, ...]:
        return (self.image,)

    def as_json(self) -> dict[str, object]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, table: Table) -> Self:
        return cls(**{name: table.need(name, str) for name in ("image", "label", "seen")})


KIND = RunKind("survey", lambda table, _: Sight.from_json(table), steps=("features",))


def run(options: SurveyOptions, terminal: Terminal) -> ExitCode:
    """Look at every image that was not looked at before."""
    return SurveyJob(options, terminal).run()


class SurveyJob(GatedJob):
    """One invocation."""

    command: ClassVar[str] = "survey"

    def __init__(self, options: SurveyOptions, terminal: Terminal) -> None:
        super().__init__(options.gating, terminal)
        self.options = options
        self.home = RunDirectory(options.out, KIND)

    def prepare(self) -> tuple[RunDirectory[Sight], RunIdentity]:
        self.bundle = load_bundle("mnist")
        self.inputs = open_inputs(self.bundle, self.options.images, labelled=True)
        self.identity = RunIdentity.of(self.bundle, self.inputs)
        return self.home, self.identity

    def begin(self) -> None:
        self.home.begin(self.identity, command=["cfx", "survey"], device="cpu")

    def work(self) -> None:
        labels, classes = self.inputs.labels, self.bundle.classes
        assert labels is not None
        done = {record.key for record in self.home.records()}
        for index in range(len(self.inputs)):
            name = self.inputs.name(index)
            if (name,) not in done:
                seen = int(probabilities_of(self.bundle.classifier, self.inputs.read(index)[None]).argmax())
                self.home.append([Sight(image=name, label=classes[int(labels[index])], seen=classes[seen])])
        step = self.home.step("features", {"classifier": self.bundle.digest, "images": self.inputs.digest()})
        self.features = step.load_or(self.read_features)["features"]

    def read_features(self) -> dict[str, np.ndarray]:
        self.terminal.note("reading features")
        images = torch.stack([self.inputs.read(index) for index in range(len(self.inputs))])
        with torch.no_grad():
            return {"features": PenultimateFeatures(self.bundle.classifier, images[:1])(images)[0].numpy()}

    def figures(self) -> Figures:
        right = [record.label == record.seen for record in self.home.records()]
        low, high = wilson(sum(right), len(right))
        return {"classifier": {"accuracy": Estimate(sum(right) / len(right), low, high, None, len(right))}}

    def show(self, outcomes: Sequence[Outcome]) -> None:
        tally = Tally(id="tally", title="Tally", seen=[record.seen for record in self.home.records()])
        facts = {"images": str(len(self.inputs)), "features": str(self.features.shape[1])}
        page = Page(title="cfx survey", facts=facts, sections=[Gates(id="gates", outcomes=outcomes), tally])
        self.home.list_files([PAGE])
        page.write(self.home.path / PAGE)
'''

SECTION = '''"""Tally: how often each class is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ..section import Section


@dataclass(frozen=True, kw_only=True)
class Tally(Section):
    """A line for each class."""

    seen: Sequence[str]

    def html(self) -> str:
        return "".join(f"<p>{escape(name)}: {count}</p>" for name, count in sorted(Counter(self.seen).items()))
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
def test_a_command_with_records_of_its_own_a_step_a_gate_and_a_section_is_four_files(
    tree: Path,
    copy: Path,
    digits: tuple[np.ndarray, np.ndarray],
    command: Callable[..., Path],
    shell: Callable[..., str],
    tmp_path: Path,
) -> None:
    (copy / "cli" / "survey.py").write_text(COMMAND)
    (copy / "cli" / "survey_job.py").write_text(JOB)
    (copy / "reports" / "sections" / "tally.py").write_text(SECTION)
    add_line(copy / "cli" / "app.py", "from .train", "from .survey import survey")
    app = (copy / "cli" / "app.py").read_text()
    (copy / "cli" / "app.py").write_text(app.replace("train, info)", "train, info, survey)"))
    assert changed(tree, copy) == {"cli/survey.py", "cli/survey_job.py", "cli/app.py", "reports/sections/tally.py"}
    for place, (image, label) in enumerate(zip(*digits, strict=True)):
        if place % 40 < 2:
            path = tmp_path / "digits" / str(int(label)) / f"{place:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image[0] * 255).round().byte().numpy()).save(path)
    cfx, out = command(copy.parent), copy.parent / "out"

    def survey(*more: object, codes: tuple[int, ...] = (0,)) -> str:
        asked = ("survey", out, "--images", tmp_path / "digits", *more)
        return shell(cfx, *asked, cwd=copy.parent, codes=codes, stderr=True)

    assert "reading features" in survey("--fail-under", "classifier.accuracy>=0.5", "--junit", "gates.xml")
    records, page = out / "records.jsonl", (out / "index.html").read_text()
    assert "cfx survey" in page and "<p>3: 2</p>" in page and "passed, measured" in page
    assert 'classname="cfx.survey.classifier"' in (copy.parent / "gates.xml").read_text()
    whole = records.read_text()
    assert len(whole.splitlines()) == 20
    first = whole.splitlines()[0]
    records.write_text(f"{first}\n" + whole[len(first) + 1 :][:40])  # as a kill may leave it
    assert "reading features" not in survey(), "the step is loaded"
    assert records.read_text() == whole, "what was looked at is kept, the rest is looked at again"
    (out / "steps" / "features.npz").write_bytes(b"no")
    told = survey("--fail-under", "classifier.accuracy<0.5", codes=(1,))
    assert "features.npz: damaged" in told and "reading features" in told
    assert "unknown measure 'validity'" in survey("--fail-under", "classifier.validity>0", codes=(2,))
    bench = (cfx, "bench", "--images", EXAMPLES, "--engines", "vcnet", "--out", out)
    said = shell(*bench, cwd=copy.parent, codes=(2,), stderr=True)
    assert "holds a run of `cfx survey`, not of `cfx bench`" in said
    survey("--fresh")
    assert not list(out.rglob("*.partial")) and len(records.read_text().splitlines()) == 20


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
