"""What a stranger must touch to add something: a copy of the tree, exactly these files and lines, and it runs there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
        return Verdict(measured["spread"] > 0, f"the classes differ by {measured['spread']:.3f} a pixel")
'''

ENGINE = '''"""mean: from the image straight to the mean image of the target class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ..generative.class_means import ClassMeans
from .engine import Curve, Engine, Problem


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
        return Curve(lambda shares, rows: torch.lerp(start[rows], end[rows], shares[:, None, None, None]))
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


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, copy_tree: Callable[[Path], Path]) -> Path:
    """The tree with an engine that needs a new trained part."""
    root = tmp_path_factory.mktemp("grown")
    before, tree = copy_tree(root / "before"), copy_tree(root / "after")
    (tree / "generative" / "class_means.py").write_text(MODEL)
    (tree / "training" / "parts" / "class_means.py").write_text(PART)
    (tree / "counterfactuals" / "mean.py").write_text(ENGINE)
    add_line(tree / "pyproject.toml", "pixel = ", 'mean = "cfx.counterfactuals.mean:MeanImage"')
    what = '"mean image of each class", ("generative.class_means:ClassMeans",)'
    add_line(tree / "bundles" / "known_parts.py", ')\n"""In the order', f'    KnownPart("class_means", {what}),')
    parts = tree / "training" / "parts" / "__init__.py"
    add_line(parts, "from .conditional_vae", "from .class_means import ClassMeansPart")
    add_line(parts, ')\n"""In the order', "    ClassMeansPart,")
    four = {"generative/class_means.py", "training/parts/class_means.py", "bundles/known_parts.py"}
    four.add("training/parts/__init__.py")
    assert changed(before, tree) == four | {"counterfactuals/mean.py", "pyproject.toml"}
    return tree


@pytest.mark.slow
def test_an_engine_with_a_new_trained_part_is_six_files(
    grown: Path,
    digits: tuple[np.ndarray, np.ndarray],
    build_wheel: Callable[[Path], Path],
    install: Callable[[Path], Path],
    shell: Callable[..., str],
    tmp_path: Path,
) -> None:
    for place, (image, label) in enumerate(zip(*digits, strict=True)):
        path = tmp_path / "digits" / str(int(label)) / f"{place:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).round().byte().numpy()).save(path)
    cfx = install(build_wheel(grown)).parent / "cfx"
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
