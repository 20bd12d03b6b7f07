"""A run goes on where it was, whatever stopped it, and ends with the same records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from cfx.benchmarks.run import Run
from cfx.benchmarks.runner import LARGEST, batch_size_for
from cfx.counterfactuals.curve import Curve
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.problem import Problem
from cfx.errors import DataError, OutputError, UsageError
from cfx.reports.summary import Summary


def test_a_run_is_a_directory(make, perform, bundle):
    benchmark = make("vcnet", "pixel")
    run = perform(benchmark)
    assert {path.name for path in run.path.iterdir()} == {
        ".lock", "files.jsonl", "manifest.json", "pairs.jsonl", "records.jsonl", "summary.json", "index.html", "images",
    }  # fmt: skip
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["command"] == ["cfx", "bench"] and manifest["config"]["bundle"]["digest"] == bundle.digest
    assert manifest["config"]["seed"] == 0 and manifest["machine"]["threads"] == torch.get_num_threads()
    assert len(run.answers) == 60
    assert {answer.engine for answer in run.answers} == {"vcnet", "pixel", "nearest-accepted"}, "it is in every run"
    for answer in run.answers:
        assert answer.files.keys() == {"factual", "counterfactual"}
        assert all((run.path / file).is_file() for file in answer.files.values())
        assert answer.value("validity") == float(answer.valid)
    assert sum(answer.valid for answer in run.answers if answer.engine == "vcnet") == 20


@pytest.mark.parametrize("stop_after", [1, 4])
def test_interrupted_it_ends_with_the_same_records(make, perform, comparable, witness, tmp_path, stop_after):
    whole = perform(make("vcnet", "projection", out=tmp_path / "whole"))
    benchmark = make("vcnet", "projection")
    with pytest.raises(KeyboardInterrupt):
        perform(benchmark, witness(stop_after))
    assert not (benchmark.directory.path / "summary.json").exists()
    watcher = witness()
    resumed = perform(make("vcnet", "projection"), watcher)
    assert len(watcher.batches) == 9 - stop_after, "nothing is done twice"
    assert comparable(resumed) == comparable(whole)


@pytest.mark.parametrize("cut", [1, 2000])
def test_a_half_written_end_is_repaired(make, perform, comparable, tmp_path, cut):
    whole = perform(make())
    records = whole.path / "records.jsonl"
    expected, content = comparable(whole), records.read_bytes()
    records.write_bytes(content[:-cut])
    (whole.path / "summary.json").unlink()
    assert comparable(perform(make())) == expected
    assert len(records.read_bytes().splitlines()) == 40


@pytest.mark.parametrize("garbage", ["{not json", '{"pair": 3}', "[1, 2]", "null", "\x00\x00"])
def test_garbage_in_the_middle_is_refused_with_its_line(make, perform, garbage):
    records = perform(make()).path / "records.jsonl"
    lines = records.read_text().splitlines()
    lines[2] = garbage
    records.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"records.jsonl: line 3 is not a record"):
        perform(make())


def test_an_answer_given_twice_is_refused(make, perform):
    records = perform(make()).path / "records.jsonl"
    lines = records.read_text().splitlines()
    records.write_text("\n".join([*lines, lines[0]]) + "\n")
    with pytest.raises(
        DataError, match=r"line 41 has the key of an earlier record \(.*-\d\.png, target, \d, vcnet, 1\)"
    ):
        perform(make())


def test_another_configuration_is_refused_with_the_difference(make, perform):
    perform(make())
    with pytest.raises(UsageError, match=r"seed is 0 there and 1 here"):
        perform(make(seed=1))
    with pytest.raises(UsageError, match=r"engines.pixel is absent there"):
        perform(make("vcnet", "pixel"))
    with pytest.raises(UsageError, match=r"engines.vcnet is .* there and absent here"):
        perform(make("pixel"))


def test_a_directory_of_other_things_is_refused(make, perform, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match=r"holds other things \(thesis.tex\)"):
        perform(make())
    with pytest.raises(UsageError, match="a file, not a directory"):
        perform(make(out=tmp_path / "run" / "thesis.tex"))


def test_two_at_once_in_one_directory_are_refused(make):
    one, other = make(), make()
    refused = pytest.raises(UsageError, match="another process is using this directory")
    with one.directory.held(one.identity), refused, other.directory.held(other.identity):
        pass
    with one.directory.held(one.identity) as begun:  # the lock does not outlive its holder
        assert not begun


def test_a_finished_run_is_only_read(make, perform, witness):
    perform(make())
    watcher = witness()
    perform(make(), watcher)
    assert watcher.batches == []


def test_a_full_disk_is_one_line_and_resumable(make, perform, comparable, monkeypatch, tmp_path):
    import resource
    import signal

    whole = perform(make(out=tmp_path / "whole"))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    benchmark = make()
    with benchmark.directory.held(benchmark.identity):
        benchmark.sample()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, old[1]))  # in the middle of the second batch
        with pytest.raises(OutputError, match=r"records.jsonl: could not be written \(file too large\)"):
            perform(make())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert (benchmark.directory.path / "records.jsonl").stat().st_size == 12_000
    assert comparable(perform(make())) == comparable(whole)


@dataclass(frozen=True, kw_only=True)
class Greedy(Engine):
    """Runs out of memory where there are more than five images."""

    name: ClassVar[str] = "greedy"
    summary: ClassVar[str] = "test"
    paper: ClassVar[str] = "none"

    error: type[Exception] = MemoryError

    def find(self, problem: Problem) -> Curve:
        if len(problem) > 5:
            raise self.error("DefaultCPUAllocator: can't allocate memory")
        return Curve(lambda t, rows: problem.images[rows], bisections=0)


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, torch.OutOfMemoryError])
def test_out_of_memory_halves_the_batch(make, perform, witness, error):
    benchmark = make()
    benchmark.engines = {"greedy": Greedy(error=error)}
    watcher = witness()
    run = perform(benchmark, watcher)
    assert watcher.notes == [f"out of memory; continuing with batches of {size}" for size in (4,)]
    assert len(run.answers) == 20


def test_any_other_error_is_not_taken_for_want_of_memory(make, perform, witness):
    benchmark = make()
    benchmark.engines = {"greedy": Greedy(error=ValueError)}
    watcher = witness()
    run = perform(benchmark, watcher)
    assert watcher.notes == [] and len(run.answers) == 20, "searched in halves, it answers all"


@dataclass(frozen=True, kw_only=True)
class Picky(Greedy):
    """Fails on the image that is brightest in all."""

    name: ClassVar[str] = "picky"

    limit: float = 150.0

    def find(self, problem: Problem) -> Curve:
        if bool((problem.images.sum(dim=(1, 2, 3)) > self.limit).any()):
            raise ZeroDivisionError("too bright")
        return Curve(lambda t, rows: problem.images[rows], bisections=0)


def test_what_fails_on_one_image_costs_only_its_own_answer(make, perform, witness, digits):
    benchmark = make("vcnet")
    sums = sorted(digits[0][::20].sum(dim=(1, 2, 3)).tolist())
    benchmark.engines["picky"] = Picky(limit=(sums[-1] + sums[-2]) / 2)
    run = perform(benchmark)
    (failed,) = run.failed
    assert failed.engine == "picky" and failed.fault == "engine" and "ZeroDivisionError: too bright" in failed.reason
    assert len(run.answers) == 59 and run.missing(["vcnet", "picky"]) is None
    summary = Summary.read(run.path)
    assert summary.engines["picky"].pairs == 20 and summary.engines["vcnet"].valid == 20
    assert any(note.startswith("picky: no attempt at 1 of 20 questions, such as ") for note in summary.notes)
    (run.path / "summary.json").unlink()
    watcher = witness()
    perform(benchmark, watcher)
    assert watcher.batches == [], "it is a record: a resumed run does not search for it again"


def test_a_control_that_fails_on_one_image_ends_nothing(make, perform, digits):
    benchmark = make("vcnet")
    sums = sorted(digits[0][::20].sum(dim=(1, 2, 3)).tolist())
    benchmark.engines["pixel"] = Picky(limit=(sums[-1] + sums[-2]) / 2)  # by its name a control
    run = perform(benchmark)
    assert [failed.engine for failed in run.failed] == ["pixel"]
    assert Summary.read(run.path).engines["pixel"].control


def test_auto_picks_a_power_of_two_that_fits(bundle, monkeypatch):
    import cfx.benchmarks.runner as runner

    for free, size in ((2**40, LARGEST), (100_000_000, 32), (1, 1), (None, LARGEST // 4)):
        monkeypatch.setattr(runner, "available", lambda device, free=free: free)
        assert batch_size_for(bundle) == size


def test_unreadable_images_are_named_again_when_a_run_goes_on(make, perform, folder, tmp_path, digits):
    import shutil

    shutil.copytree(folder, tmp_path / "images")
    (tmp_path / "images" / "broken.png").write_bytes(b"no")
    run = perform(make(images=str(tmp_path / "images")))
    assert len(run.questions) == 20
    (said,) = Run.load(run.path).manifest.unreadable
    assert "broken.png" in said


def test_a_bench_measures_it_where_the_data_set_is_given(make, perform, data_root):
    run = perform(make("vcnet", metrics=("implausibility",), data=data_root))
    values = [answer.value("implausibility") for answer in run.answers if answer.engine == "vcnet" and answer.valid]
    assert values and all(value is not None and 0 < value < 0.6 for value in values)
    assert run.manifest.config["training_images"] != "none"
