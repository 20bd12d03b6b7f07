"""What counterfactuals are tested on: labelled images that asked no question, or the other half of all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import cfx.benchmarks.suite as suite
from cfx.answers.question import Question, Source
from cfx.answers.seen import Seen
from cfx.benchmarks import unasked
from cfx.benchmarks.run import Run
from cfx.benchmarks.suite import Benchmark
from cfx.benchmarks.unasked import Unasked
from cfx.bundles.bundle import Bundle
from cfx.images.sets.labelled import Labelled
from cfx.metrics.scene import Missing
from cfx.runs.directory import SUMMARY
from cfx.runs.inputs import DataSetInputs, FileInputs


def asked(*indices: int, name: str = "test") -> list[Question]:
    """Questions about the images with these indices."""
    return [
        Question(source=Source(name=f"{name} {index}"), factual=Seen("4", 1.0), target="9") for index in indices
    ]  # fmt: skip


def of(bundle: Bundle, labelled: Labelled, questions: list[Question]) -> Unasked:
    return Unasked(bundle, DataSetInputs(labelled, "test"), questions)


def test_images_that_asked_no_question(bundle: Bundle, labelled: Labelled):
    tests = of(bundle, labelled[:20], asked(3, 5, 3, 11)).tests(torch.tensor([0, 3]))
    rest = [index for index in range(20) if index not in (3, 5, 11)]
    assert tests.images.images.equal(labelled.images[rest]) and tests.images.labels.equal(labelled.labels[rest])
    assert tests.apart.tolist() == [True, True], "of both chosen questions"


def test_where_most_images_asked_the_odd_ones_are_tested_on(bundle: Bundle, labelled: Labelled):
    questions = asked(*range(11))
    tests = of(bundle, labelled[:20], questions).tests(torch.arange(11))
    assert tests.images.labels.equal(labelled.labels[1:20:2])
    assert tests.apart.tolist() == [True, False] * 5 + [True], "the odd ones' own counterfactuals are left out"


def test_of_many_images_always_the_same_sample(bundle: Bundle, labelled: Labelled, monkeypatch):
    monkeypatch.setattr(unasked, "MOST", 7)
    first, second = (of(bundle, labelled, asked(0)).tests(torch.tensor([0])).images for _ in range(2))
    assert len(first) == 7 and first.images.equal(second.images)


def test_why_there_is_nothing_to_test_on(bundle: Bundle, labelled: Labelled, folder: Path):
    chosen = torch.tensor([0])
    for inputs in (None, FileInputs(sorted(folder.iterdir()), bundle)):
        with pytest.raises(Missing, match="the images have no labels"):
            Unasked(bundle, inputs, asked(0)).tests(chosen)
    with pytest.raises(Missing, match="other names than when the questions were sampled"):
        of(bundle, labelled, asked(0, name="before")).tests(chosen)
    with pytest.raises(Missing, match="every image asked a question"):
        of(bundle, labelled[:1], asked(0)).tests(chosen)


def test_a_run_without_labels_says_so(make: Callable[..., Benchmark], perform: Callable[..., Run]):
    benchmark = make("vcnet", count=2)
    perform(benchmark)
    summary = benchmark.finished_summary(benchmark.load())
    assert summary is not None
    (told,) = summary.engines["vcnet"].metrics["substitutability"].values()
    assert told is None
    assert "substitutability: the images have no labels (vcnet, nearest-accepted)" in summary.notes


def test_a_summary_that_is_made_again_has_the_same_value(
    make: Callable[..., Benchmark], perform: Callable[..., Run], labelled: Labelled, monkeypatch
):
    monkeypatch.setattr(suite, "shipped_test_images", lambda bundle, data: labelled)
    benchmark = make("vcnet", images=None, count=60, batch_size=30)
    values = []
    for _ in range(2):
        run = perform(benchmark)
        summary = benchmark.finished_summary(run)
        assert summary is not None
        (told,) = summary.engines["vcnet"].metrics["substitutability"].values()
        assert told is not None
        values.append(told.mean)
        (run.path / SUMMARY).unlink()
    assert values[0] == values[1] > 0.5
