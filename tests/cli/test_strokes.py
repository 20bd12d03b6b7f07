"""`--strokes` of `cfx explain` and `cfx bench`: six more figures where they are asked for, and no trace elsewhere."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from cfx.metrics.catalogue import BY_NAME, STROKES

EXAMPLES = Path(__file__).parents[2] / "examples"
FOUR, ONE = EXAMPLES / "four.png", EXAMPLES / "one.png"


@pytest.fixture
def bench(run, toy):
    """`cfx bench` of the examples with the toy bundle and the engine that takes no model."""

    def call(*arguments: object):
        asked = ("bench", "--bundle", toy, "--engines", "pixel", "--images", EXAMPLES, "--no-lpips", "--out", "here")
        return run(*asked, *arguments)

    return call


def test_a_record_has_the_six_changes_where_they_are_asked_for(explain):
    with_them = explain(FOUR, "--strokes", "--format", "json").records[0]
    without = explain(FOUR, "--format", "json").records[0]
    assert with_them["metrics"].keys() - without["metrics"].keys() == STROKES
    assert all(with_them["metrics"][name] >= 0 for name in STROKES)
    assert with_them["missing"] == without["missing"] == {"lpips": "not asked for (--lpips)"}
    assert {name: with_them["metrics"][name] for name in without["metrics"]} == without["metrics"]


def test_the_table_has_them_and_no_empty_rows(explain):
    labels = [BY_NAME[name].label for name in STROKES]
    asked, plain = explain(FOUR, ONE, "--strokes").stdout, explain(FOUR, ONE).stdout
    assert all(label in asked and label not in plain for label in labels)


def test_without_scikit_image_they_are_null_with_the_reason(explain, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    record = explain(FOUR, "--strokes", "--format", "json").records[0]
    assert all(record["metrics"][name] is None for name in STROKES)
    assert {record["missing"][name] for name in STROKES} == {"needs scikit-image; pip install 'cfx-toolkit[segments]'"}


def test_a_benchmark_has_them_in_every_format_and_gates(bench, tmp_path: Path):
    gate = ("--fail-under", "nearest-accepted.stroke_area<1e9", "--fail-under", "nearest-accepted.stroke_area<0")
    result = bench("--strokes", "--format", "csv", *gate)
    assert result.code == 1 and "stroke_area<1e9: passed" in result.stderr
    assert "stroke_area<0: failed, measured" in result.stderr
    assert {row["metric"] for row in csv.DictReader(io.StringIO(result.stdout))} > STROKES
    assert json.loads((tmp_path / "here" / "manifest.json").read_text())["config"]["strokes"] is True
    assert "change of thickness" in (tmp_path / "here" / "index.html").read_text()
    assert "| change of thickness ↓ |" in bench("--strokes", "--format", "markdown").stdout
    assert "change of thickness" in bench("--strokes").stdout


def test_a_benchmark_without_them_has_no_trace_of_them(bench, tmp_path: Path):
    for format in ("csv", "json", "table", "markdown"):
        text = bench("--format", format).stdout
        assert "stroke" not in text and "change of" not in text, format
    page = (tmp_path / "here" / "index.html").read_text()
    assert "change of thickness" not in page and "stroke_thickness" not in page
    assert not STROKES & json.loads((tmp_path / "here" / "records.jsonl").read_text().splitlines()[0])["metrics"].keys()
    failed = bench("--fail-under", "pixel.stroke_area<1")
    assert failed.code == 1 and "stroke_area has no value (n/a)" in failed.stderr
    other = bench("--strokes")
    assert other.code == 2, "another run: its records differ"
