"""The study of confidence: more is asked of an engine, and what its answers are is drawn against what they have."""

from __future__ import annotations

import pytest

import cfx.benchmarks.studies.confidence as study
from cfx.benchmarks.studies.confidence import as_markdown, makers, measure, panels, questions
from cfx.benchmarks.studies.curves import CurvePoint, Panel, draw_curves
from cfx.bundles.bundle import Bundle
from cfx.metrics.catalogue import BY_NAME
from cfx.runs.inputs import DataSetInputs


def test_questions_are_of_images_that_the_classifier_gets_right(bundle: Bundle, labelled):
    inputs = DataSetInputs(labelled, "test")
    batch = questions(bundle, inputs, 12)
    assert len(batch) == 12 and len({question.source.name for question in batch.questions}) == 12
    for question, target in zip(batch.questions, batch.targets.tolist(), strict=True):
        label = int(labelled.labels[int(question.source.name.split()[-1])])
        assert question.factual.name == bundle.classes[label] != bundle.classes[target]


def test_each_engine_is_asked_for_each_confidence(bundle: Bundle, labelled, monkeypatch):
    monkeypatch.setattr(study, "ASKED", (0.6, 0.95))
    inputs = DataSetInputs(labelled, "test")
    points = list(measure(bundle, questions(bundle, inputs, 8), makers(bundle, inputs, ["vcnet"])))
    assert [(point.engine, point.asked) for point in points] == [
        (engine, asked) for engine in ("vcnet", "nearest-accepted") for asked in (0.6, 0.95)
    ]
    for less, more in (points[:2], points[2:]):
        for metric in ("confidence", "l1"):
            here, there = less.figures[metric], more.figures[metric]
            assert here is not None and there is not None and here.mean < there.mean, metric
        assert all((figure := point.figures["confidence"]) and figure.mean >= point.asked for point in (less, more))
    text = as_markdown(points).splitlines()
    assert len(text) == 6 and text[2].startswith("| `vcnet` | 0.6 | 100.0% |")
    drawn = panels(points)
    assert [panel.y.name for panel in drawn] == ["looks_real", "judge_agrees", "l1"]
    picture = draw_curves(drawn, controls=["nearest-accepted"])
    assert picture.width == 3 * 640 and len(picture.getcolors(2**20) or ()) > 10, "more than its white ground"


def test_a_higher_figure_is_drawn_higher_and_a_control_is_grey():
    confidence, l1 = BY_NAME["confidence"], BY_NAME["l1"]
    curves = {"low": [CurvePoint(0.6, 10), CurvePoint(0.9, 10)], "high": [CurvePoint(0.6, 20), CurvePoint(0.9, 20)]}
    picture = draw_curves([Panel(confidence, l1, curves)], controls=["high"]).crop((100, 0, 640, 440))
    blue = [
        y
        for y in range(picture.height)
        for x in range(0, picture.width, 7)
        if picture.getpixel((x, y)) == (29, 79, 140)
    ]
    grey = [y for y in range(60, 430) if picture.getpixel((14, y)) == (110, 114, 120)]
    assert blue and grey and max(grey) < min(blue)


def test_what_solves_nothing_has_no_point():
    nothing = study.Point("lost", 0.9, 0.0, dict.fromkeys(study.METRICS))
    assert all(panel.curves == {} for panel in panels([nothing]))
    assert "| `lost` | 0.9 | 0.0% | n/a | n/a | n/a | n/a |" in as_markdown([nothing])
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_curves(panels([nothing]))
