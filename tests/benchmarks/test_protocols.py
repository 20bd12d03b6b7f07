"""The study of other papers' protocols: it measures the pictures of a run, and prints a paper's figures beside them."""

from __future__ import annotations

import numpy as np
import pytest

from cfx.benchmarks.compare import Finished, read_finished
from cfx.benchmarks.studies import protocols
from cfx.benchmarks.studies.protocols import PROTOCOLS, Column, Measured, Protocol, as_markdown, main, rescored
from cfx.bundles.bundle import Bundle


@pytest.fixture
def run(make, perform) -> Finished:
    return read_finished(perform(make("vcnet")).path)


def test_pictures_measure_what_the_run_measured(run: Finished, bundle: Bundle, monkeypatch):
    monkeypatch.setattr(protocols, "BATCH", 8)
    found = rescored(bundle, run, "vcnet", frozenset(("l1", "im1", "cout")), count=15)
    columns = run.columns["vcnet"]
    rows = columns.valid & (np.arange(len(columns.valid)) < 15)
    for name, values in found.items():
        assert np.allclose(values, columns.values[name][rows], rtol=1e-4, atol=1e-5), name


def test_the_paper_stands_beside_the_engines():
    paper = Protocol((Column("cost", "l1", 2.0),), (("Wachter", ".99", "45.5"),))
    lines = as_markdown(paper, {"pixel": Measured(0.5, {"l1": np.array([1.0, 2.0, 6.0])})}).splitlines()
    assert lines[0] == "|  | valid | cost |" and lines[2] == "| Wachter, as printed | .99 | 45.5 |"
    assert lines[3].startswith("| `pixel` | 0.500 | 6 (") and lines[3].endswith("median 4 |")
    assert as_markdown(paper, {"jsma": Measured(0.0, {"l1": np.zeros(0)})}).endswith("| `jsma` | 0.000 | n/a |")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_command_prints_a_row_for_each(run: Finished, name: str, capsys):
    for row in PROTOCOLS[name].printed:
        assert len(row) == 2 + len(PROTOCOLS[name].columns)
    assert main([str(run.run.path), "--paper", name, "--engines", "vcnet"]) == 0
    assert capsys.readouterr().out.count("\n| ") == len(PROTOCOLS[name].printed) + 1


def test_what_is_no_run_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path), "--paper", "leapfactual"]) == 2
    assert "no run there" in capsys.readouterr().err
