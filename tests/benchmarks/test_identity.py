"""A run never answers for something else, and `compare` does not compare what is incomplete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cfx.benchmarks.compare import other_differences, read_finished, same_questions
from cfx.benchmarks.run import Run
from cfx.benchmarks.suite import Benchmark
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine
from cfx.errors import BundleError, DataError, UsageError
from cfx.images.finding import find_images
from cfx.images.sets.labelled import Labelled
from cfx.images.writing import write_png
from cfx.runs import identity
from cfx.runs.inputs import DataSetInputs, FileInputs
from cfx.runs.manifest import Manifest

ENGINE = "vcnet"


@pytest.fixture
def images(folder: Path, tmp_path: Path) -> Path:
    """A directory of digits that a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "images"))


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as error:
        action()
    return str(error.value)


# What a run depends on


def test_other_pixels_under_the_same_name(make, perform, images, digits):
    perform(make(images=str(images)))
    first = sorted(images.iterdir())[0]
    write_png(first, digits[0][7])
    said = refused(lambda: perform(make(images=str(images))))
    assert "images.sha256 is" in said and "start anew with --fresh" in said


def test_the_same_pixels_under_another_name_go_on(make, perform, images, witness, tmp_path):
    before = perform(make(images=str(images)))
    moved = images.rename(tmp_path / "elsewhere")
    watcher = witness()
    after = perform(make(images=str(moved)), watcher)
    assert watcher.batches == [] and len(after.answers) == len(before.answers)


@pytest.mark.parametrize("change", ["an image added", "an image removed", "an image that becomes unreadable"])
def test_other_images_in_the_directory(make, perform, images, digits, change):
    perform(make(images=str(images)))
    first = sorted(images.iterdir())[0]
    if change == "an image added":
        write_png(images / "zzz.png", digits[0][3])
    elif change == "an image removed":
        first.unlink()
    else:
        first.write_bytes(b"no")
    assert "images." in refused(lambda: perform(make(images=str(images))))


def test_a_data_set_with_other_files(labelled: Labelled):
    other = Labelled(labelled.images.clone(), labelled.labels)
    assert DataSetInputs(labelled, "a").digest() == DataSetInputs(other, "b").digest()
    other.images[3, 0, 5, 5] ^= 1
    assert DataSetInputs(labelled, "a").digest() != DataSetInputs(other, "a").digest()
    relabelled = Labelled(labelled.images, labelled.labels.roll(1))
    assert DataSetInputs(labelled, "a").digest() != DataSetInputs(relabelled, "a").digest()


def test_other_targets(make, perform, images, tmp_path):
    listed = tmp_path / "targets.csv"
    name = sorted(images.iterdir())[0].name
    listed.write_text(f"{name},3\n")
    perform(make(images=str(images), targets=str(listed)))
    listed.write_text(f"{name},4\n")
    assert "targets.sha256 is" in refused(lambda: perform(make(images=str(images), targets=str(listed))))


def test_other_code(make, perform, monkeypatch):
    perform(make())
    monkeypatch.setattr("cfx.runs.identity.code_digest", lambda: "0" * 64)
    assert "code is " in refused(lambda: perform(make()))


def test_another_version_of_a_plug_in(make, perform, monkeypatch):
    monkeypatch.setattr("cfx.runs.identity.plugin_of", lambda name: "elsewhere 1.0")
    perform(make())
    monkeypatch.setattr("cfx.runs.identity.plugin_of", lambda name: "elsewhere 1.1")
    said = refused(lambda: perform(make()))
    assert 'plugins.vcnet is "elsewhere 1.0" there and "elsewhere 1.1" here' in said


def test_the_code_digest_is_of_every_module_and_nothing_else(tmp_path, monkeypatch):
    package = tmp_path / "cfx"
    (package / "room").mkdir(parents=True)
    (package / "room" / "__init__.py").touch()
    (package / "room" / "a.py").write_text("a = 1\n")
    (package / "tests").mkdir()
    (package / ".venv").mkdir()
    monkeypatch.setattr(identity, "PACKAGE", package)

    def digest() -> str:
        identity.code_digest.cache_clear()
        return identity.code_digest()

    try:
        first = digest()
        (package / "tests" / "__init__.py").touch()
        (package / ".venv" / "b.py").write_text("b = 1\n")
        (package / "room" / "notes.txt").write_text("c")
        assert digest() == first
        (package / "room" / "a.py").write_text("a = 2\n")
        second = digest()
        (package / "room" / "a.py").rename(package / "room" / "b.py")
        assert len({first, second, digest()}) == 3
    finally:
        identity.code_digest.cache_clear()


@pytest.mark.parametrize("part", ["classifier", "conditional_vae", "judge"])
def test_a_changed_byte_of_a_part_is_found_before_anything_is_read(bundle: Bundle, make, perform, tmp_path, part):
    perform(make())
    copy = Path(shutil.copytree(bundle.directory, tmp_path / "copy"))
    path = copy / f"{part}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    changed = Bundle(copy)
    engine = load_engine(ENGINE).from_bundle(bundle)  # as if it had been loaded before the change
    with pytest.raises(BundleError, match=f"part '{part}': {part}.safetensors is missing or not the file"):
        Benchmark(changed, {ENGINE: engine}, make().settings)


def test_every_part_that_is_used_counts(make, bundle: Bundle):
    config = json.loads(json.dumps(make(ENGINE, "latent").identity.values))
    assert set(config["parts"]) == {"classifier", "conditional_vae", "vae", "anchors"} | set(bundle.judges.names())
    assert config["parts"]["vae"] == bundle.parts["vae"].sha256
    assert "flow" not in config["parts"]


# Starting anew


def test_fresh_starts_anew_and_deletes_only_what_the_run_wrote(make, perform, comparable):
    before = perform(make(ENGINE, "pixel"))
    directory = before.path
    for mine in ("notes.txt", "images/mine.txt", f"images/{ENGINE}/mine.png", "images/other/000001.png"):
        (directory / mine).parent.mkdir(exist_ok=True)
        (directory / mine).write_text("precious")
    (directory / ".records.jsonl.123.partial").write_text("left by a kill")
    after = perform(make(seed=1), fresh=True)
    assert {answer.engine for answer in after.answers} == {ENGINE, "nearest-accepted"}
    assert comparable(after) != comparable(before) and len(after.answers) == 40
    kept = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert {"notes.txt", "images/mine.txt", f"images/{ENGINE}/mine.png", "images/other/000001.png"} < kept
    assert not (directory / "images" / "pixel").exists() and ".records.jsonl.123.partial" not in kept


def test_fresh_needs_no_run_to_be_there(make, perform):
    assert len(perform(make(), fresh=True).answers) == 40


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"thesis.tex": "precious"}, r"holds other things \(thesis.tex\) and no run"),
        ({"manifest.json": '{"name": "a web app", "icons": []}', "index.html": "x"}, "manifest.json is not that of a"),
        ({"manifest.json": '{"schema": 2, "config"'}, "manifest.json is not that of a run, so nothing was deleted"),
    ],
)
def test_fresh_refuses_what_is_no_run(make, perform, tmp_path, files, says):
    directory = tmp_path / "run"
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_text(content)
    with pytest.raises(UsageError, match=says):
        perform(make(), fresh=True)
    assert {path.name: path.read_text() for path in directory.iterdir() if path.name != ".lock"} == files


# Completeness


def test_missing_records_are_refused_by_whoever_reads_a_run(make, perform, tmp_path):
    directory = perform(make(ENGINE, "pixel")).path
    records = directory / "records.jsonl"
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:5]))
    with pytest.raises(
        DataError,
        match=r"records.jsonl is not complete \(vcnet has 5 of 20, pixel has 0 of 20, nearest-accepted has 0 of 20 ",
    ):
        read_finished(directory)
    records.unlink()
    with pytest.raises(DataError, match="vcnet has 0 of 20, pixel has 0 of 20"):
        read_finished(directory)


def test_bench_itself_completes_them(make, perform, comparable):
    whole = comparable(perform(make()))
    records = make().directory.path / "records.jsonl"
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:5]))
    assert comparable(perform(make())) == whole
    assert len(read_finished(make().directory.path).run.answers) == 40


@pytest.mark.parametrize("change", [lambda text: text[: text.index("\n") + 1], lambda text: text.replace('"3"', '"4"')])
def test_other_questions_than_the_run_began_with_are_refused(make, perform, change):
    path = perform(make()).path / "pairs.jsonl"
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    with pytest.raises(DataError, match=r"pairs.jsonl: not the file that the run began with .*start anew with --fresh"):
        perform(make())
    path.unlink()
    with pytest.raises(DataError, match=r"no questions, of 20"):
        read_finished(path.parent)


def test_records_of_another_run_make_the_summary_new(make, perform, tmp_path):
    directory = perform(make()).path
    other = perform(make(confidence=0.99, out=tmp_path / "other")).path
    before = (directory / "summary.json").read_bytes()
    shutil.copy(other / "records.jsonl", directory / "records.jsonl")
    shutil.copytree(other / "images", directory / "images", dirs_exist_ok=True)
    perform(make())
    assert (directory / "summary.json").read_bytes() != before


@pytest.mark.parametrize("lost", ["summary.json", "index.html"])
def test_the_summary_and_the_page_can_be_made_again(make, perform, witness, lost):
    directory = perform(make()).path
    summaries = []
    for _ in range(2):  # the first is computed from records, whose numbers have six digits
        (directory / lost).unlink()
        watcher = witness()
        perform(make(), watcher)
        assert watcher.batches == [] and (directory / lost).exists()
        summaries.append(json.loads((directory / "summary.json").read_text()) | {"finished": None})
    assert summaries[0] == summaries[1]


# Comparing


def test_runs_are_compared_by_their_pixels_not_by_names(make, perform, images, tmp_path):
    here = perform(make(images=str(images), out=tmp_path / "a"))
    there = perform(make(images=str(images.rename(tmp_path / "moved")), out=tmp_path / "b"))
    assert same_questions(here.questions, there.questions)
    names = [question.source.name for question in here.questions]
    assert names != [question.source.name for question in there.questions]


def test_the_same_names_with_other_pixels_are_other_questions(make, perform, images, digits, tmp_path):
    here = perform(make(images=str(images), targets="all", count=1, out=tmp_path / "a"))
    image = images / Path(here.questions[0].source.name).name
    pixels = FileInputs(find_images([str(image)]).paths, make().bundle).read(0)
    pixels[0, 0, 0] = 1 - pixels[0, 0, 0]
    write_png(image, pixels)
    there = perform(make(images=str(images), targets="all", count=1, out=tmp_path / "b"))
    assert [q.source.name for q in here.questions] == [q.source.name for q in there.questions]
    assert not same_questions(here.questions, there.questions)


def test_other_differences_are_only_named(make, perform, tmp_path):
    here, there = perform(make(out=tmp_path / "a")), perform(make(confidence=0.95, out=tmp_path / "b"))
    found = other_differences(here, there)
    assert f"confidence is 0.9 in {tmp_path / 'a'} and 0.95 in {tmp_path / 'b'}" in found
    assert other_differences(here, here) == []


# The sizes of batches


def test_a_slow_engine_gets_small_batches_and_keeps_them(make, perform, comparable, monkeypatch, witness):
    import cfx.benchmarks.runner as runner

    monkeypatch.setattr(runner, "LONGEST", 0.001)
    clock = iter(range(10**6))
    monkeypatch.setattr(runner, "perf_counter", lambda: float(next(clock)) * 2)
    watcher = witness()
    run = perform(make(batch_size=None), watcher)
    assert Run.load(run.path).batch_sizes == {ENGINE: 1, "nearest-accepted": 1}
    assert [count for _, count in watcher.batches] == [1] * 40
    monkeypatch.undo()
    (run.path / "records.jsonl").unlink()
    watcher = witness()
    perform(make(batch_size=None), watcher)
    assert [count for _, count in watcher.batches] == [1] * 40, "a resumed run searches in the same batches"


@pytest.mark.parametrize(
    ("few", "twice", "size"),
    [(1.0, 1.1, 256), (2.0, 4.0, 16), (20.0, 40.0, 2), (30.0, 60.0, 1), (120.0, 240.0, 1), (1.5, 1.4, 512)],
)
def test_the_size_follows_from_two_searches(few, twice, size):
    from cfx.benchmarks.runner import size_by_speed

    assert size_by_speed(few, twice) == size


def test_a_run_directory_of_an_unknown_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no run there"):
        Manifest.read(tmp_path)
    with pytest.raises(UsageError, match="no run there"):
        Run.load(tmp_path)
