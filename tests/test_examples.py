"""The examples in docstrings run, from the root of the repository, and print what they say."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITH_EXAMPLES = (
    "cfx.answers.explain",
    "cfx.counterfactuals.engine",
    "cfx.metrics.measure",
    "cfx.metrics.scene",
    "cfx.reports.section",
    "cfx.training.part",
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_a_module_run(module: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    done = doctest.testmod(import_module(module))
    assert done.attempted and not done.failed
