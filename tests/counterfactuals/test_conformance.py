"""Every engine passes the conformance suite."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cfx.counterfactuals.registry import engine_names
from cfx.testing import EngineSuite


class TestAuto(EngineSuite):
    engine = "auto"
    settings: ClassVar[dict[str, object]] = {
        "engines": ("leap", "vcnet", "swap")
    }  # not each of them for a lost question
    alike = 0.8  # which of two answers is nearer may depend on the last digit
    uncounted = 1  # it looks for the layer of its features


class TestLeap(EngineSuite):
    engine = "leap"


class TestGraft(EngineSuite):
    engine = "graft"
    uncounted = 1  # it looks for the layer of its features


class TestLatent(EngineSuite):
    engine = "latent"
    alike = 0.5


class TestDiffeo(EngineSuite):
    engine = "diffeo"
    alike = 0.5


class TestVCNet(EngineSuite):
    engine = "vcnet"


class TestProjection(EngineSuite):
    engine = "projection"


class TestSwap(EngineSuite):
    engine = "swap"
    uncounted = 1  # it looks for the layer of its features


class TestRevise(EngineSuite):
    engine = "revise"
    alike = 0.5


class TestDeduce(EngineSuite):
    engine = "deduce"
    alike = 0.5
    uncounted = 1  # it looks for the layer of its features


class TestJsma(EngineSuite):
    engine = "jsma"
    alike = 0.5


class TestSvce(EngineSuite):
    engine = "svce"
    alike = 0.5


class TestDive(EngineSuite):
    engine = "dive"
    alike = 0.5


class TestClue(EngineSuite):
    engine = "clue"
    alike = 0.5
    uncounted = 2 * EngineSuite.count  # it says how unsure the classifier was, and is


class TestDeltaClue(EngineSuite):
    engine = "delta-clue"
    alike = 0.5
    uncounted = 2 * EngineSuite.count  # it says how unsure the classifier was, and is


class TestNablaClue(EngineSuite):
    engine = "nabla-clue"
    alike = 0.5
    uncounted = 2 * EngineSuite.count  # it says how unsure the classifier was, and is


class TestGlamClue(EngineSuite):
    engine = "glam-clue"
    uncounted = 2 * EngineSuite.count


class TestPixel(EngineSuite):
    engine = "pixel"
    alike = 0.5


@pytest.mark.parametrize("name", engine_names())
def test_every_engine_is_under_test(name: str):
    assert name in {suite.engine for suite in EngineSuite.__subclasses__()}
