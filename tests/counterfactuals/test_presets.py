"""Presets: what they set, what overrules what, what is refused, and that engines keep their laws under them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle, load_bundle
from cfx.counterfactuals.declared import fault_of
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.engines.delta_clue import DeltaClue
from cfx.counterfactuals.engines.leap import Leap
from cfx.counterfactuals.engines.pixel import PixelAscent
from cfx.counterfactuals.engines.svce import SparseVCE
from cfx.counterfactuals.preset import PAPER, Preset, preset_of
from cfx.counterfactuals.registry import engine_names, load_engine
from cfx.counterfactuals.search.ascent import Plateau
from cfx.counterfactuals.settings import parse_settings, settings_of, text_of
from cfx.errors import BundleError, UsageError

MNIST = Path(__file__).parents[2] / "bundles" / "mnist"
PRESETS = [(engine, preset) for engine in engine_names() for preset in load_engine(engine).presets]
OURS = ("leap", "latent", "revise", "deduce", "svce", "clue", "delta-clue", "projection")
FEWER: dict[str, dict[str, object]] = {"revise": {"max_steps": 30}, "delta-clue": {"starts": 2}}  # tests must be fast


def test_the_engines_of_papers_have_their_papers_settings():
    assert {(engine, PAPER) for engine in OURS} <= set(PRESETS)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_preset_sets_what_the_engine_has_and_says_what_is_published_and_what_differs(name: str, preset: str):
    kind = load_engine(name)
    about = preset_of(kind, preset)
    assert about.published and about.differs and about.settings
    known = {each.name for each in settings_of(kind)} | {"confidence"}
    assert set(about.settings) <= known
    texts = {each: text_of(value) for each, value in about.settings.items() if each != "confidence"}
    assert parse_settings(kind, texts) == {each: about.settings[each] for each in texts}, "--set can say the same"
    defaults = {each.name: each.default for each in settings_of(kind)}
    assert any(about.settings[each] != defaults[each] for each in texts), "it changes something"


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_engines_keep_their_laws_under_a_preset(bundle: Bundle, digits: tuple[Tensor, Tensor], name: str, preset: str):
    kind = load_engine(name)
    engine = kind.from_bundle(bundle, preset=preset, **FEWER.get(name, {}))
    for setting, value in preset_of(kind, preset).settings.items():
        assert getattr(engine, setting) == FEWER.get(name, {}).get(setting, value)
    assert engine.settings()["preset"] == preset, "the record says so"
    images, labels = digits[0][::100], digits[1][::100]
    targets = bundle.classifier(images).argmax(dim=1) if kind.any_class else (labels + 4) % 10
    found = engine.search(bundle.classifier, images, targets, path=True)
    assert torch.equal((found.images * 255).round() / 255, found.images)
    assert bool(((found.images >= 0) & (found.images <= 1)).all())
    seen = bundle.classifier(found.images).softmax(dim=1)
    sure = seen.gather(1, found.targets[:, None]).squeeze(1)
    assert torch.allclose(sure, found.confidence, atol=1e-4)
    honest = (seen.argmax(dim=1) == found.targets) & (sure >= engine.confidence)
    assert torch.equal(found.valid, honest)
    assert found.path is not None and torch.equal(found.path[:, 0], images)
    again = engine.search(bundle.classifier, images[1:2], targets[1:2])
    assert bool(again.valid[0]) == bool(found.valid[1]), "the others in a batch change nothing"
    assert torch.allclose(again.images[0], found.images[1], atol=0.1)


def test_what_is_set_overrules_the_preset_and_that_overrules_the_bundle(tmp_path: Path):
    bundle = Bundle(Path(shutil.copytree(MNIST, tmp_path / "mnist")))
    bundle.update(settings={"deduce": {"step": 0.5, "momentum": 0.1, "class_weight": 3.0}})
    bundle, kind = load_bundle(str(tmp_path / "mnist")), load_engine("deduce")
    own = kind.from_bundle(bundle).settings()
    assert (own["step"], own["momentum"], own["class_weight"]) == (0.5, 0.1, 3.0)
    under = kind.from_bundle(bundle, preset=PAPER, momentum=0.3).settings()
    assert (under["step"], under["momentum"], under["confidence"]) == (0.2, 0.3, 0.5)
    assert kind.from_bundle(bundle, preset=PAPER, confidence=0.9).confidence == 0.9
    assert kind.from_bundle(bundle, **under).settings() == under, "a record's settings make the same engine"


def test_a_preset_that_there_is_not_is_refused_in_one_line(bundle: Bundle):
    with pytest.raises(UsageError, match=r"^engine deduce: no preset 'papr'; choose paper, or none$"):
        load_engine("deduce").from_bundle(bundle, preset="papr")
    with pytest.raises(UsageError, match=r"^engine swap: preset 'paper': it has no presets; leave out the preset$"):
        load_engine("swap").from_bundle(bundle, preset="paper")
    with pytest.raises(UsageError, match=r"^engine deduce: no preset 'papr'"):
        replace(load_engine("deduce").from_bundle(bundle), preset="papr")


def test_a_preset_whose_parts_a_bundle_lacks_is_refused_with_their_names(tmp_path: Path):
    copy = Path(shutil.copytree(MNIST, tmp_path / "mnist"))
    text = (copy / "bundle.toml").read_text(encoding="utf-8")
    start = text.index("[parts.ensemble]")
    (copy / "bundle.toml").write_text(text[:start] + text[text.index("\n[parts.", start) + 1 :], encoding="utf-8")
    bundle = load_bundle(str(copy))
    with pytest.raises(BundleError, match="bundle mnist: preset paper of engine clue needs ensemble, which the bundle"):
        load_engine("clue").from_bundle(bundle, preset=PAPER)


@dataclass(frozen=True, kw_only=True)
class Extended(PixelAscent):
    """An engine of another package that extends one of cfx, and says nothing of its own."""

    name: ClassVar[str] = "mine"


@dataclass(frozen=True, kw_only=True)
class Misset(PixelAscent):
    name: ClassVar[str] = "mine"
    presets: ClassVar[Mapping[str, Any]] = {PAPER: Preset({"pace": 1}, "none", "nothing")}


@dataclass(frozen=True, kw_only=True)
class FarSet(DeltaClue):
    name: ClassVar[str] = "mine"
    presets: ClassVar[Mapping[str, Any]] = {PAPER: Preset({"delta": -1}, "none", "nothing")}


@dataclass(frozen=True, kw_only=True)
class NeedsMore(PixelAscent):
    name: ClassVar[str] = "mine"
    presets: ClassVar[Mapping[str, Any]] = {PAPER: Preset({}, "none", "nothing", needs=("flow",))}


@dataclass(frozen=True, kw_only=True)
class Written(PixelAscent):
    name: ClassVar[str] = "mine"
    presets: ClassVar[Mapping[str, Any]] = {PAPER: {"step": 1}}


@pytest.mark.parametrize(
    ("engine", "fault"),
    [
        (Extended, None),
        (Misset, "its preset 'paper' sets 'pace', which is no setting of it"),
        (FarSet, "its preset 'paper' sets delta to -1, which is out of range: choose 0.01 or more"),
        (NeedsMore, "its preset 'paper' needs the part 'flow', which the engine does not use"),
        (Written, "its preset 'paper' is {'step': 1}; write Preset(settings, published, differs)"),
    ],
)
def test_faults_of_presets_are_named(engine: type[Engine], fault: str | None):
    assert fault_of(engine, "mine") == fault


def test_an_engine_that_extends_another_inherits_neither_its_fidelity_nor_its_presets():
    assert (Extended.fidelity.kind, Extended.fidelity.departs) == ("variant", "its author does not say")
    clue, nabla = load_engine("clue"), load_engine("nabla-clue")
    assert issubclass(nabla, clue) and clue.presets and nabla.presets is not clue.presets
    assert Extended.presets == {}


def test_an_untightened_answer_is_the_end_of_the_search(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, targets = digits[0][::80], (digits[1][::80] + 3) % 10
    near, far = (
        load_engine("pixel").from_bundle(bundle, tightened=tightened).search(bundle.classifier, images, targets)
        for tightened in (True, False)
    )
    both = near.valid & far.valid
    assert bool(both.any()) and torch.equal(near.valid, far.valid)
    assert float(near.confidence[both].mean()) <= float(far.confidence[both].mean())
    assert bool((near.forward_calls > far.forward_calls)[both].all())


def test_small_leaps_bring_the_target_nearer_and_leave_what_is_the_target_as_it_is(
    bundle: Bundle, digits: tuple[Tensor, Tensor]
):
    images, labels = digits[0][::50], digits[1][::50]
    engine = Leap.from_bundle(bundle, leaps=4, lift_steps=5, land_steps=5, tightened=False)
    targets = (labels + 4) % 10
    before = bundle.classifier(images).softmax(dim=1).gather(1, targets[:, None])
    changed = engine.search(bundle.classifier, images, targets)
    assert float((changed.confidence > before[:, 0]).float().mean()) > 0.8
    assert (changed.steps == 4).all() and (changed.forward_calls == 5).all(), "asked before each leap, and at the end"
    kept = engine.search(bundle.classifier, images, labels)
    moved = [(each.images - images).abs().flatten(1).sum(dim=1).mean() for each in (kept, changed)]
    assert float(moved[0]) < 0.7 * float(moved[1])
    injected = replace(engine, injections=2).search(bundle.classifier, images, targets)
    assert float(injected.confidence.mean()) > float(changed.confidence.mean())


def test_svce_of_the_paper_is_surer_within_the_same_ball(digits: tuple[Tensor, Tensor]):
    bundle = load_bundle("mnist", explained="robust_classifier")
    images, targets = digits[0][::50], (digits[1][::50] + 3) % 10
    early = SparseVCE.from_bundle(bundle, radii=(9.0,), bisections=0, tightened=False)
    late = SparseVCE.from_bundle(bundle, preset=PAPER, confidence=0.9)
    first, surest = (each.search(bundle.classifier, images, targets) for each in (early, late))
    assert (surest.steps == 75).all() and bool((first.steps < 75)[first.valid].all())
    both = first.valid & surest.valid
    assert bool(both.any()) and float(surest.confidence[both].mean()) > float(first.confidence[both].mean())
    change = (surest.images - images).abs().flatten(1)
    assert bool((change.pow(1.5).sum(dim=1).pow(1 / 1.5) <= 9 * 1.01).all())


def test_a_plateau_is_where_the_cost_has_hardly_changed():
    costs = torch.tensor([[10.0, 10.0, 10.0], [9.0, 5.0, 10.0], [9.0, 4.0, 10.0], [8.0, 3.0, 10.0], [8.0, 2.0, 10.0]])
    assert not bool(Plateau().reached(costs[:3]).any()), "three steps at least"
    assert Plateau().reached(costs[:4]).tolist() == [False, False, True]
    assert Plateau(share=0.11).reached(costs).tolist() == [True, False, True]


def test_delta_clue_stays_in_its_ball_and_more_starts_cost_less(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][::40]
    seen = bundle.classifier(images).argmax(dim=1)
    for starts in (1, 3):
        engine = DeltaClue.from_bundle(bundle, preset=PAPER, starts=starts, delta=1.5)
        found = engine.search(bundle.classifier, images, seen, path=True)
        origin = engine.vae.encode(images)
        assert bool(found.valid.any())
        away = (engine.vae.encode(found.images) - origin).norm(dim=1)
        assert float(away.median()) < 2.5, "encoding what was decoded adds a little"
