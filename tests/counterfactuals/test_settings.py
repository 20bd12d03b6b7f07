"""Settings of engines: from text to value and back, ranges, and what a wrong one is told."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.curve import Curve
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.problem import Problem
from cfx.counterfactuals.registry import engine_names, load_engine
from cfx.counterfactuals.settings import Setting, parse_settings, setting, settings_of, text_of
from cfx.errors import BundleError, UsageError


@dataclass(frozen=True, kw_only=True)
class Plain(Engine):
    """An engine with a field of each kind, one of them without a word about it."""

    name: ClassVar[str] = "plain"
    summary: ClassVar[str] = "does nothing"
    paper: ClassVar[str] = "none"

    steps: int = setting(3, "steps", least=1, most=9)
    rate: float = 0.5
    limit: float | None = None
    keep: bool = True
    shares: tuple[float, ...] = setting((0.5, 1.0), "shares", least=0, most=1)
    way: Literal["up", "down"] = "up"

    def find(self, problem: Problem) -> Curve:
        raise NotImplementedError


@pytest.mark.parametrize("name", engine_names())
def test_every_setting_of_our_engines_says_what_it_is(name: str):
    for each in settings_of(load_engine(name)):
        assert each.meaning.what, f"{name}.{each.name}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps=7", {"steps": 7}),
        ("rate=1e-3", {"rate": 0.001}),
        ("limit=none", {"limit": None}),
        ("limit=2", {"limit": 2.0}),
        ("keep=False", {"keep": False}),
        ("shares=0, 0.25,1", {"shares": (0.0, 0.25, 1.0)}),
        ("way=down", {"way": "down"}),
    ],
)
def test_values_are_parsed_by_type(text: str, value: dict[str, object]):
    name, _, said = text.partition("=")
    parsed = parse_settings(Plain, {name: said})
    assert parsed == value
    assert parse_settings(Plain, {name: text_of(parsed[name])}) == value
    assert Plain(**parsed).settings()[name] == value[name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps=many", "--set plain.steps=many: expected a whole number"),
        ("steps=1.5", "expected a whole number"),
        ("steps=10", "choose 9 or less"),
        ("steps=0", "choose 1 or more"),
        ("rate=fast", "expected a number"),
        ("rate=nan", "not a number"),
        ("limit=x", "expected a number, or none"),
        ("keep=yes", "expected true or false"),
        ("shares=0.5,2", "choose 1 or less"),
        ("way=left", "expected one of up, down"),
        ("step=3", "did you mean 'steps'"),
        ("confidence=0.5", "use --confidence, which holds for all engines"),
        ("working=3", "unknown setting of plain"),
    ],
)
def test_a_wrong_setting_is_named(text: str, message: str):
    name, _, said = text.partition("=")
    with pytest.raises(UsageError) as error:
        parse_settings(Plain, {name: said})
    assert message in str(error.value)


def a_bundle_with(directory: Path, bundle: Bundle, settings: dict[str, dict[str, object]]) -> Bundle:
    shutil.copytree(bundle.directory, directory)
    replace(bundle.file, settings=settings).write(directory)
    return Bundle(directory)


def test_a_bundle_has_settings_of_its_own(bundle: Bundle, tmp_path: Path):
    own = a_bundle_with(tmp_path / "own", bundle, {"leap": {"guidance": [3, 6.5], "bisections": 2}, "absent": {"x": 1}})
    leap, default = load_engine("leap"), load_engine("leap").from_bundle(bundle).settings()
    expected = {**default, "guidance": (3.0, 6.5), "bisections": 2}
    assert leap.from_bundle(own).settings() == expected
    assert leap.from_bundle(own, bisections=1).settings() == {**expected, "bisections": 1}, "the caller's come first"
    assert load_engine("latent").from_bundle(own).settings() == load_engine("latent").from_bundle(bundle).settings()


def another(each: Setting) -> object:
    """A value of a setting that is not its default; None if none is known."""
    default, low, high = each.default, each.meaning.least, each.meaning.most
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1 if high is None or default < high else default - 1
    if isinstance(default, float):
        ends = (0.0 if low is None else low, 2 * default + 1 if high is None else high)
        return round(default + 0.1234567 * ((ends[1] if default < ends[1] else ends[0]) - default), 7)
    return default[:1] if isinstance(default, tuple) and len(default) > 1 else None


@pytest.mark.parametrize("name", engine_names())
def test_every_setting_of_a_bundle_arrives(bundle: Bundle, tmp_path: Path, name: str):
    engine = load_engine(name)
    values = {each.name: another(each) for each in settings_of(engine)}
    values = {key: value for key, value in values.items() if value is not None}
    own = a_bundle_with(tmp_path / "own", bundle, {name: values})
    settings = engine.from_bundle(own).settings()
    assert {key: settings[key] for key in values} == values
    assert not any(each.name in values and values[each.name] == each.default for each in settings_of(engine))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"guidence": 5}, "settings: leap.guidence=5: unknown setting of leap 'guidence': did you mean 'guidance'"),
        ({"bisections": "many"}, "settings: leap.bisections=many: expected a whole number"),
        ({"bisections": -1}, "settings: leap.bisections=-1: choose 0 or more"),
        ({"confidence": 0.5}, "use --confidence, which holds for all engines"),
    ],
)
def test_a_wrong_setting_of_a_bundle_is_named(bundle: Bundle, tmp_path: Path, values: dict[str, object], message: str):
    own = a_bundle_with(tmp_path / "own", bundle, {"leap": values})
    with pytest.raises(BundleError) as error:
        load_engine("leap").from_bundle(own)
    assert message in str(error.value) and str(error.value).startswith("bundle mnist: bundle.toml: ")


def test_a_value_out_of_range_is_refused_from_python_too():
    with pytest.raises(UsageError, match="engine plain: steps=0: choose 1 or more"):
        Plain(steps=0)
