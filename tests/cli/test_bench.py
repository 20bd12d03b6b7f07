"""`cfx bench` and `cfx compare` from the outside."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import xmlschema
from PIL import Image

from cfx.benchmarks.run import Run

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def bench(run, toy):
    """`cfx bench` of the examples with the toy bundle and the engine that takes no model."""

    def call(*arguments: object):
        asked = ("bench", "--bundle", toy, "--engines", "pixel", "--images", EXAMPLES, "--no-lpips")
        return run(*asked, *arguments)

    return call


def test_a_table_and_a_run_directory(bench, tmp_path):
    result = bench("--out", "here")
    assert result.code == 0
    assert "pairs that all compared engines solved" in result.stdout and "judges agree" in result.stdout
    assert "here/index.html" in result.stderr
    for name in ("manifest.json", "records.jsonl", "summary.json", "index.html"):
        assert (tmp_path / "here" / name).stat().st_size > 100, name


def test_the_default_directory_is_the_same_for_the_same_question(bench, tmp_path):
    assert bench().code == bench().code == 0
    assert bench("--seed", 1).code == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_json_is_one_object_and_csv_a_table(bench):
    summary = json.loads(bench("--out", "here", "--format", "json").stdout)
    assert summary["schema"] == 2 and summary["pairs"] == len(list(EXAMPLES.glob("*.png")))
    rows = list(csv.DictReader(io.StringIO(bench("--out", "here", "--format", "csv").stdout)))
    validity = next(row for row in rows if row["metric"] == "validity")
    assert float(validity["mean"]) == summary["engines"]["pixel"]["metrics"]["validity"]["all"]["mean"]
    markdown = bench("--out", "here", "--format", "markdown").stdout
    assert "| L1 ↓ |" in markdown and "`pixel` (control)" in markdown


def test_gates_decide_the_exit_code_and_say_what_they_measured(bench, tmp_path):
    passing, failing = "pixel.validity>=0.5", "pixel.l1<=0.001"
    assert bench("--out", "a", "--fail-under", passing).code == 0
    result = bench("--out", "a", "--fail-under", passing, "--fail-under", failing, "--junit", "report.xml")
    assert result.code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("gate ")]
    assert len(lines) == 2 and "passed, measured" in lines[0] and "failed, measured" in lines[1]
    assert ElementTree.parse(tmp_path / "report.xml").getroot().get("failures") == "1"


def test_a_baseline_is_compared_pair_by_pair_and_gated(bench):
    assert bench("--out", "before").code == 0
    same = bench("--out", "after", "--baseline", "before", "--fail-under", "pixel.l1<=baseline")
    assert same.code == 0 and "change against before" in same.stdout
    worse = bench("--out", "worse", "--confidence", 0.999, "--baseline", "before", "--fail-under", "pixel.l1<=baseline")
    assert worse.code == 1 and "changed by +" in worse.stderr
    other = bench("--out", "other", "--seed", 1, "--baseline", "before")
    assert other.code == 2 and "asks other questions" in other.stderr


def test_gates_are_in_the_results(bench, tmp_path):
    gates = ("--fail-under", "pixel.validity>=0.5", "--fail-under", "pixel.l1.p95<=0.001")
    result = bench("--out", "a", *gates, "--format", "json")
    said = [line.removeprefix("gate ") for line in result.stderr.splitlines() if line.startswith("gate ")]
    for summary in (json.loads(result.stdout), json.loads((tmp_path / "a" / "summary.json").read_text())):
        assert [gate["says"] for gate in summary["gates"]] == said
        assert [(gate["gate"], gate["passed"]) for gate in summary["gates"]] == [
            ("pixel.validity>=0.5", True), ("pixel.l1.p95<=0.001", False),
        ]  # fmt: skip
        figure = summary["engines"]["pixel"]["metrics"]["l1"]["all"]
        assert summary["gates"][1]["measured"] == figure["p95"] >= figure["median"] > 0
    page = (tmp_path / "a" / "index.html").read_text()
    assert '<li class="failed">pixel.l1.p95&lt;=0.001: failed' in page
    bench("--out", "a")
    assert ">Gates</h3>" not in (tmp_path / "a" / "index.html").read_text(), "they are those of the last command"


def test_a_finished_run_says_that_nothing_was_searched(bench):
    assert "nothing was searched" not in bench("--out", "a").stderr
    again = bench("--out", "a")
    assert re.search(r"note: a: finished on \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00; nothing was searched", again.stderr)
    assert again.progress == (), "nothing began"
    fresh = bench("--out", "a", "--fresh")
    assert "nothing was searched" not in fresh.stderr and fresh.code == 0


def test_a_baseline_may_be_of_another_version(bench, monkeypatch):
    assert bench("--out", "before").code == 0
    monkeypatch.setattr("cfx.runs.identity.code_digest", lambda: "f" * 64)
    assert "code is" in bench("--out", "before").error
    result = bench("--out", "after", "--baseline", "before", "--fail-under", "pixel.l1<=baseline+0.5")
    assert result.code == 0 and re.search(
        r"note: code is \w{12}\.\.\. in before and ffffffffffff\.\.\. in after", result.stderr
    )
    assert bench("--out", "after", "--baseline", "before", "--fail-under", "pixel.l1<baseline").code == 1, "it is equal"
    few = bench("--out", "after", "--baseline", "before", "--fail-under", "pixel.l1<=baseline", "--min-pairs", 1000)
    assert few.code == 1 and "pairs only (--min-pairs 1000)" in few.stderr


def test_an_incomplete_baseline_is_refused(bench, run, tmp_path):
    bench("--out", "before")
    records = tmp_path / "before" / "records.jsonl"
    records.write_text(records.read_text().splitlines(keepends=True)[0])
    gate = ("--fail-under", "pixel.l1<=baseline", "--junit", "report.xml")
    result = bench("--out", "after", "--baseline", "before", *gate)
    assert result.code == 2 and "records.jsonl is not complete (pixel has 1 of" in result.error
    assert "is not complete" in run("compare", "before", "before").error
    assert error_in(tmp_path / "report.xml")[0] == "refused"


def error_in(report: Path) -> tuple[str, str]:
    """Type and message of the error in a JUnit report that follows the schema."""
    xmlschema.XMLSchema(str(Path(__file__).parents[1] / "runs" / "junit.xsd")).validate(str(report))
    (error,) = ElementTree.parse(report).getroot().findall("testsuite/testcase/error")
    return error.get("type", ""), error.get("message", "")


@pytest.mark.parametrize(
    "wrong",
    [("--seed", "one"), ("--no-such-option",), ("--bundle", "mnst"), ("--fail-under", "x"), ("--images", "nowhere"),
     ("--out", "images"), ("--device", "gpu")],
    ids=" ".join,
)  # fmt: skip
def test_an_older_report_never_survives_a_refused_run(bench, tmp_path, wrong):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "thesis.tex").write_text("precious")
    for option in (("--junit", "report.xml"), ("--junit=report.xml",)):
        (tmp_path / "report.xml").write_text("<testsuites/>")
        result = bench("--fail-under", "pixel.validity>=0", *option, *wrong)
        kind, message = error_in(tmp_path / "report.xml")
        assert result.code == 2 and kind == "refused" and message == result.error


def test_an_unreadable_image_is_an_error_in_the_report(bench, tmp_path):
    shutil.copytree(EXAMPLES, tmp_path / "images")
    (tmp_path / "images" / "broken.png").write_bytes(b"no")
    result = bench("--images", "images", "--out", "r", "--fail-under", "pixel.validity>=0", "--junit", "report.xml")
    kind, message = error_in(tmp_path / "report.xml")
    assert result.code == 2 and kind == "unreadable-input" and "broken.png" in message
    assert ElementTree.parse(tmp_path / "report.xml").getroot()[0].get("tests") == "2"


def test_when_the_time_is_up_the_records_are_kept(bench, tmp_path):
    arguments = (
        "--targets",
        "all",
        "--batch-size",
        1,
        "--out",
        "r",
        "--fail-under",
        "pixel.validity>=0",
        "--junit",
        "x.xml",
    )
    result = bench(*arguments, "--timeout", "1s")
    assert result.code == 1 and "the time is up after 1 s; run the same command again to resume r" in result.stderr
    assert error_in(tmp_path / "x.xml")[0] == "timeout" and not (tmp_path / "r" / "summary.json").exists()
    before = (tmp_path / "r" / "records.jsonl").read_text() if (tmp_path / "r" / "records.jsonl").exists() else ""
    assert bench(*arguments).code == 0
    assert (tmp_path / "r" / "records.jsonl").read_text().startswith(before[: before.rfind("\n") + 1])
    assert not ElementTree.parse(tmp_path / "x.xml").getroot().findall(".//error")


def test_compare(bench, run):
    bench("--out", "a")
    bench("--out", "b", "--confidence", 0.99)
    result = run("compare", "a", "b")
    assert result.code == 0 and "a: pixel" in result.stdout and "change against a" in result.stdout
    assert "difference from a: pixel" in run("compare", "a", "b", "--against", "a: pixel").stdout
    found = json.loads(run("compare", "a", "b", "--against", "a: pixel", "--format", "json").stdout)
    assert found["against"] == "a: pixel" and found["differences"]["b: pixel"]["confidence"]["low"] > 0
    refused = run("compare", "a", "b", "--against", "a: pixel", "--format", "csv")
    assert refused.code == 2 and "is printed with --format table or json only" in refused.error
    assert "--against pixl: unknown engine" in run("compare", "a", "b", "--against", "pixl").error
    assert json.loads(run("compare", "a", "b", "--format", "json").stdout)["engines"].keys() == {
        "a: pixel", "a: nearest-accepted", "b: pixel", "b: nearest-accepted",
    }  # fmt: skip
    assert "no run there" in run("compare", "a", "nowhere").error


def test_controls_stand_beside_the_engines(run, folder_of_classes, toy):
    result = run("bench", "--bundle", toy, "--engines", "pixel", "--images", folder_of_classes, "--controls", "-n", 4,
                 "--no-lpips", "--format", "json", "--out", "c")  # fmt: skip
    assert result.code == 0, result.stderr
    engines = json.loads(result.stdout)["engines"]
    real = ["random-real", "nearest-real", "nearest-accepted", "blurred-real"]
    assert list(engines) == ["pixel", "factual", *real], "no VAE, no redrawn-real"
    assert all(engines[name]["pool"] == len(list(folder_of_classes.iterdir())) for name in real)
    assert all(about["control"] for about in engines.values())


@pytest.fixture
def folder_of_classes(digits, toy, tmp_path):
    """Real digits of which the toy's classifier sees each class at least twice."""
    import torch

    from cfx.bundles.bundle import Bundle
    from cfx.images.writing import write_png

    seen = Bundle(toy).classifier(digits[0]).argmax(dim=1)
    directory = tmp_path / "digits"
    for label in range(10):
        for place in (seen == label).nonzero().flatten()[:3].tolist():
            write_png(directory / f"{place:03d}.png", digits[0][place])
    assert torch.bincount(seen, minlength=10).min() >= 2
    return directory


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--engines", "latnt"], "unknown engine 'latnt': did you mean 'latent'"),
        (["--format", "html"], "unknown format 'html'"),
        (["--fail-under", "pixel.validity"], "cannot be parsed; expected ENGINE.METRIC>=NUMBER"),
        (["--fail-under", "vcnet.validity>=1"], "unknown engine 'vcnet': known are nearest-accepted, pixel"),
        (["--fail-under", "pixel.valid>=1"], "unknown metric 'valid'"),
        (["--junit", "report.xml"], "--junit: reports gates, and there are none"),
        (["--metrics", "implausable"], "unknown metric of --metrics 'implausable': did you mean 'implausibility'"),
        (["--metrics", "implausibility,l1"], "unknown metric of --metrics 'l1'"),
        (["--batch-size", "many"], "--batch-size many: expected auto or a positive whole number"),
        (["--batch-size", "0"], "--batch-size 0: expected auto or a positive whole number"),
        (["--images", "nowhere"], "nowhere: no such file"),
        (["--targets", "nowhere.csv"], "nowhere.csv: neither random, runner-up, all, label nor a CSV file"),
        (["--targets", "label"], "is none of the classes 0, 1, 2"),
        (["--baseline", "nowhere"], "--baseline nowhere: no run there"),
        (["--confidence", "2"], "choose a probability between 0 and 1"),
        (["--bundle", "mnst"], "unknown bundle 'mnst'"),
        (["-n", "0"], "-n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_before_any_work(bench, tmp_path, arguments, says):
    result = bench(*arguments)
    assert result.code == 2 and says in result.error
    assert not (tmp_path / "runs").exists()


def test_without_images_or_data_it_says_what_to_give(run, toy, monkeypatch):
    monkeypatch.delenv("CFX_DATA", raising=False)
    result = run("bench", "--engines", "vcnet")
    assert result.code == 2
    assert "no images to ask about: give a directory of images (--images)" in result.error
    assert "cfx knows no data set of that name" in run("bench", "--bundle", toy, "--engines", "pixel").error


def test_metrics_on_request_are_added_and_are_part_of_what_the_run_is(bench, tmp_path):
    result = bench("--metrics", "implausibility", "--out", "r", "--format", "json")
    assert result.code == 0
    assert "implausibility" not in json.loads(result.stdout)["engines"]["pixel"]["metrics"], "it has no value"
    record = json.loads((tmp_path / "r" / "records.jsonl").read_text().splitlines()[0])
    assert record["metrics"]["implausibility"] is None and record["metrics"]["l1"] > 0
    assert record["missing"]["implausibility"] == "cfx does not know the images that bundle toy was made from"
    assert bench("--metrics", "implausibility", "--out", "r").code == 0, "it is the same run"
    refused = bench("--out", "r")
    assert refused.code == 2 and 'metrics is ["implausibility"] there and absent here' in refused.error


def test_an_unreadable_image_is_named_and_the_rest_is_done(bench, tmp_path):
    shutil.copytree(EXAMPLES, tmp_path / "images")
    (tmp_path / "images" / "broken.png").write_bytes(b"no")
    for _ in range(2):  # the second time it only reads what it did
        result = bench("--images", "images", "--out", "run")
        assert result.code == 2 and result.stderr.count("error:") == 1 and "broken.png" in result.stderr
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    assert len(lines) == 2 * len(list(EXAMPLES.glob("*.png"))), "of pixel, and of the control of every run"


def test_a_directory_of_another_configuration_is_refused(bench):
    bench("--out", "run")
    assert "seed is 0 there and 1 here" in bench("--out", "run", "--seed", 1).error


class Killed(BaseException):
    """Ends a command as a kill does: nothing catches it."""


def die() -> None:
    raise Killed


# What a run calls when it may be killed, and the number of the call that never ends.
SEAMS = {
    "cfx.benchmarks.runner:as_png": 6,
    "cfx.benchmarks.run:Run.append": 3,
    "cfx.reports.page:Page.write": 1,
    "cfx.reports.summary:Summary.write": 1,
}


@pytest.fixture
def many(toy):
    """The words of a `cfx bench` with a few batches."""
    return ("bench", "--bundle", str(toy), "--engines", "pixel", "--targets", "all", "--images", str(EXAMPLES),
            "-n", "2", "--batch-size", "4", "--no-lpips", "--out")  # fmt: skip


def comparable(out: Path) -> list[dict]:
    """The records of a run without what a clock or the system's memory says."""
    found = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    for record in found:
        del record["cost"]["seconds"], record["cost"]["peak_memory_mb"]
    return found


def test_killed_anywhere_and_started_again_it_ends_with_the_same_records(run, many, tmp_path, monkeypatch):
    assert run(*many, "whole").code == 0
    for number, (seam, last) in enumerate(SEAMS.items()):
        out = tmp_path / str(number)
        with monkeypatch.context() as patched:
            patched.setattr(seam.replace(":", "."), until(pkgutil.resolve_name(seam), last))
            with pytest.raises(Killed):
                run(*many, out)
        assert not (out / "summary.json").exists(), seam
        assert run(*many, out).code == 0
        assert comparable(out) == comparable(tmp_path / "whole"), seam
        assert (out / "summary.json").exists() and (out / "index.html").exists(), seam


def until(function, last: int, end: Callable[[], object] = die):
    """A function that ends the run when it is called for the `last` time."""
    calls = itertools.count(1)

    def call(*arguments, **options):
        if next(calls) == last:
            end()
        return function(*arguments, **options)

    return call


@pytest.mark.slow
def test_a_killed_process_leaves_a_run_that_can_go_on(run, many, tmp_path):
    """SIGKILL as soon as something is recorded."""
    records = tmp_path / "killed" / "records.jsonl"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cfx.cli", *many, "killed", "--batch-size", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (records.exists() and records.stat().st_size):
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was not killed, so nothing was tested"
    before = records.read_text()
    assert run(*many, "killed", "--batch-size", "1").code == 0
    assert run(*many, "whole", "--batch-size", "1").code == 0
    assert records.read_text().startswith(before[: before.rfind("\n") + 1]), "what was recorded is kept"
    assert comparable(tmp_path / "killed") == comparable(tmp_path / "whole")


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal_it_says_how_to_go_on(run, many, tmp_path, monkeypatch, number, code):
    with monkeypatch.context() as patched:
        append = until(Run.append, 2, lambda: signal.raise_signal(number))
        patched.setattr(Run, "append", append)
        result = run(*many, "run")
    assert result.code == code and result.stderr.endswith("interrupted; run the same command again to resume run\n")
    assert run(*many, "run").code == 0


@pytest.mark.slow
def test_an_interrupted_process_ends_as_interrupted(many, tmp_path):
    command = [sys.executable, "-m", "cfx.cli", *many, "run", "--batch-size", "1"]
    # Whoever started the tests in the background may have had SIGINT ignored, and children inherit that.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    while process.poll() is None and not (tmp_path / "run" / "records.jsonl").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130 and said.endswith("interrupted; run the same command again to resume run\n")
    assert "Traceback" not in said


def test_a_region_is_kept_by_all_and_is_part_of_what_the_run_is(run, tmp_path):
    asked = ("bench", "--images", EXAMPLES, "--engines", "vcnet", "--targets", "runner-up", "--format", "json")
    result = run(*asked, "--region", "0,0,28,14", "--out", tmp_path / "run")
    assert result.code == 0, result.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    assert {line["within"]["share"] for line in lines} == {0.5}
    for line in lines:
        found, factual = (
            np.asarray(Image.open(tmp_path / "run" / line["files"][kind])) for kind in ("counterfactual", "factual")
        )
        assert (found[14:] == factual[14:]).all()
    other = run(*asked, "--region", "0,14,28,14", "--out", tmp_path / "run")
    assert other.code == 2 and "region" in other.error
    assert "is not inside its 28x28 pixels" in run(*asked, "--region", "0,0,29,1", "--out", tmp_path / "b").error


def test_several_answers_are_recorded_and_the_first_are_compared(run, tmp_path):
    asked = ("bench", "--images", EXAMPLES, "--engines", "vcnet", "--targets", "runner-up", "-n", "6", "--no-lpips")
    one = json.loads(run(*asked, "--format", "json", "--out", tmp_path / "one").stdout)
    result = run(*asked, "--format", "json", "--answers", "3", "--out", tmp_path / "run")
    assert result.code == 0, result.stderr
    path = tmp_path / "run" / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    keys = [(line["pair"], line["engine"], line["place"]) for line in lines]
    assert len(set(keys)) == len(keys) > 6 and {line["pair"] for line in lines} == set(range(6))
    assert all((tmp_path / "run" / line["files"]["counterfactual"]).exists() for line in lines)
    metrics, alone = (found["engines"]["vcnet"]["metrics"] for found in (json.loads(result.stdout), one))
    assert metrics["l1"] == alone["l1"], "figures are those of the first answers"
    apart = [line["diversity"] for line in lines if line["place"] == 1 and "diversity" in line]
    assert metrics["answers_diversity"]["valid"]["mean"] == pytest.approx(sum(apart) / len(apart), 1e-4)
    last = [line for line in lines if line["pair"] == 5]
    assert len(last) > 1, "so that there is something to lose"
    content = path.read_text().splitlines(keepends=True)
    path.write_text("".join(content[:-1]))  # as if killed between two answers to one question
    (tmp_path / "run" / "index.html").unlink()
    assert run(*asked, "--answers", "3", "--out", tmp_path / "run").code == 0
    again = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["pair"], line["engine"], line["place"]) for line in again] == keys
    other = run(*asked, "--answers", "2", "--out", tmp_path / "run")
    assert other.code == 2 and "answers" in other.error
    assert len([*(tmp_path / "run" / "images").glob("[nv]*/*.png")]) == len(lines), "of vcnet and nearest-accepted"
    assert run(*asked, "--fresh", "--out", tmp_path / "run").code == 0
    assert len([*(tmp_path / "run" / "images" / "vcnet").iterdir()]) == 6, "no second answer of the earlier run is left"


def test_an_engine_without_any_attempt_is_an_error_and_the_rest_is_done(bench, monkeypatch, tmp_path):
    from cfx.counterfactuals.engines.pixel import PixelAscent
    from cfx.counterfactuals.problem import NothingToOffer

    def find(self, problem):
        raise NothingToOffer("no pixel to begin with")

    monkeypatch.setattr(PixelAscent, "find", find)
    result = bench("--out", "a", "--fail-under", "pixel.validity>=0", "--junit", "gates.xml")
    assert result.code == 2
    assert (
        "error: engine pixel: no attempt at any of the " in result.stderr and "no pixel to begin with" in result.stderr
    )
    assert (tmp_path / "a" / "summary.json").exists() or Path("a/summary.json").exists()
    assert 'type="no-attempt"' in Path("gates.xml").read_text()
