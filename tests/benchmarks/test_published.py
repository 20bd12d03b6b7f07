"""The study of published counterfactuals: theirs are scored as they are, and engines are asked the same questions.

tests/data/published holds 50 of the 10,000 rows: the first 44, three without a counterfactual of GB, and three whose
target their classifier sees in the factual already (Hvilshøj et al. 2021, MIT, with its licence).
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cfx.benchmarks.compare import changes_against, read_finished, same_questions
from cfx.benchmarks.studies import published_runs
from cfx.benchmarks.studies.published import Study, main, study
from cfx.benchmarks.studies.published_data import (
    GEN,
    METHODS,
    find,
    picture_of,
    read_published,
    read_real,
    row_of,
    write_questions,
)
from cfx.benchmarks.studies.published_picture import GAP, NAME, TITLE, ZOOM, draw, shared_rows
from cfx.benchmarks.studies.published_table import ELASTIC, STRANGER, Scored, differences, elastic_net
from cfx.benchmarks.studies.stranger import MODULE, sees, stranger
from cfx.images.sets.labelled import Labelled
from cfx.progress import SILENT

DATA = Path(__file__).parents[1] / "data" / "published"
ROWS = 50
OF_THESE_ROWS = {"GB": 16.362516, "GL": 41.131025, GEN: 92.816408}
"""ElasticNet of the committed rows, computed by numpy from pixels in [-.5, .5]."""
PRINTED = {"GB": 16.07, "GL": 42.76, GEN: 99.17}
"""ElasticNet of all rows, as Hvilshøj et al. print it."""


def elastic_net_of(directory: Path) -> dict[str, float]:
    """ElasticNet of each method by the study's own functions, over the rows that are questions."""
    factuals, _ = read_real(directory)
    found = {}
    for name in METHODS:
        method = read_published(directory, name, len(factuals))
        change = method.floats(method.asked.tolist()) - torch.from_numpy(factuals[method.asked]).float()[:, None] / 255
        flat = change.flatten(1)
        lengths = elastic_net(flat.abs().sum(dim=1).double().numpy(), flat.norm(dim=1).double().numpy())
        found[name] = float(lengths.mean())
    return found


def test_their_elastic_net_comes_out_of_their_images():
    assert elastic_net_of(DATA) == pytest.approx(OF_THESE_ROWS, abs=1e-3)


def test_what_they_print_comes_out_of_all_their_images():
    where = os.environ.get("CFX_PUBLISHED")
    if where is None:
        pytest.skip("CFX_PUBLISHED is not set to a folder with the archives of Hvilshøj et al.")
    assert elastic_net_of(find(Path(where))) == pytest.approx(PRINTED, abs=0.01)


def test_what_is_no_question_is_left_out(tmp_path):
    factuals, labels = read_real(DATA)
    methods = {name: read_published(DATA, name, ROWS) for name in METHODS}
    assert (int((methods["GB"].targets < 0).sum()), len(methods["GB"].asked)) == (3, 47), "none was found"
    assert (int((methods[GEN].targets == methods[GEN].before).sum()), len(methods[GEN].asked)) == (3, 47)
    assert methods["GL"].valid.all() and int(methods["GB"].valid.sum()) == 47
    files = write_questions(factuals, [*methods.values()], tmp_path)
    assert [row_of(line.split(",")[0]) for line in files[GEN].read_text().splitlines()[1:]] == [*methods[GEN].asked]
    assert (tmp_path / picture_of(ROWS - 1)).is_file() and labels[:4].tolist() == [7, 2, 1, 0]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    out = tmp_path_factory.mktemp("runs")
    return out, study(DATA, ["vcnet", "nearest-accepted"], 30, out, SILENT)


@pytest.fixture
def runs(done: tuple[Path, Study]) -> tuple[Path, list[Scored]]:
    return done[0], done[1].rows


def test_theirs_are_scored_as_they_are_published(runs):
    out, rows = runs
    assert [row.name for row in rows] == ["GB", "GL", GEN, "vcnet", "nearest-accepted"]
    for name in METHODS:
        run = read_finished(out / name).run
        method = read_published(DATA, name, ROWS)
        for answer in run.answers:
            row = row_of(answer.question.source.name)
            assert np.array_equal(pixels(run.path / answer.files["counterfactual"]), method.images[row])
            assert answer.valid == method.valid[row] and answer.question.target == str(method.targets[row])
    assert rows[0].valid.mean == pytest.approx(47 / 50), "over all rows of the file"
    assert rows[0].sets["substitutability"] is None, "of thirty digits some class has no answer in an even row"
    assert rows[0].seconds is None and rows[3].seconds is not None


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def test_engines_are_asked_the_questions_of_gen(runs):
    out, rows = runs
    theirs, ours = read_finished(out / GEN), read_finished(out / "vcnet")
    assert same_questions(theirs.run.questions, ours.run.questions)
    assert not same_questions(read_finished(out / "GB").run.questions, ours.run.questions)
    by_compare = changes_against([ours, theirs], GEN)["vcnet", "l1"]
    assert by_compare is not None and by_compare.count == 30
    (line,) = [line for line in differences(rows).splitlines() if line.startswith("| `vcnet`")]
    assert f"{by_compare.mean:+.3g} ({by_compare.low:+.3g} to {by_compare.high:+.3g})" in line
    l1 = rows[3].values["l1"]
    assert np.allclose(rows[3].values[ELASTIC] - l1, ours.columns["vcnet"].values["l2"])


def test_a_finished_run_is_read_and_an_interrupted_one_goes_on(tmp_path, monkeypatch, runs):
    monkeypatch.setattr(published_runs, "BATCH", 8)
    scoring, done = published_runs.describe, []

    def once(*arguments, **options):
        if done:
            raise KeyboardInterrupt
        done.append(True)
        return scoring(*arguments, **options)

    monkeypatch.setattr(published_runs, "describe", once)
    command = [str(DATA), "--engines", "vcnet", "-n", "30", "--out", str(tmp_path)]
    assert main(command) == 130
    first = (tmp_path / "GB" / "records.jsonl").read_text()
    assert len(first.splitlines()) == 8
    monkeypatch.setattr(published_runs, "describe", scoring)
    assert main(command) == 0
    assert (tmp_path / "GB" / "records.jsonl").read_text().startswith(first)
    monkeypatch.setattr(published_runs, "describe", None)
    monkeypatch.setattr("cfx.benchmarks.runner.record", None)
    assert main(command) == 0, "nothing is scored and nothing is searched"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path / "GEN.npz").unlink(), "no GEN.npz; the images are those of github.com/fhvilshoj"),
        (lambda path: rewrite(path / "GB.npz", cfs=np.zeros((50, 32, 32), np.uint8)), "found uint8, 50 x 32 x 32"),
        (lambda path: rewrite(path / "GL.npz", q=np.zeros(50)), "q: expected integers, 50; found float64, 50"),
        (lambda path: rewrite(path / "GEN.npz", q=np.full(50, 12)), "q: expected digits, or -1"),
        (lambda path: rewrite(path / "GEN.npz", cfs=None), "no array 'cfs'"),
        (lambda path: np.savez(path / "GB.npz", q=np.array([{}], dtype=object)), "not an archive of plain arrays"),
        (lambda path: (path / "Real.npz").write_bytes(pickle.dumps([1])), "not an archive of plain arrays"),
    ],
)
def test_a_damaged_archive_is_one_line(tmp_path, capsys, change, message):
    shutil.copytree(DATA, tmp_path / "data")
    change(tmp_path / "data")
    assert main([str(tmp_path / "data"), "--out", str(tmp_path / "runs"), "-n", "5"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and not (tmp_path / "runs").exists()


def rewrite(path: Path, **changed: np.ndarray | None) -> None:
    """Write an archive anew with other arrays; None leaves one out."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **{name: array for name, array in (arrays | changed).items() if array is not None})


def test_without_a_method_the_others_are_scored(tmp_path, capsys):
    shutil.copytree(DATA, tmp_path / "data")
    (tmp_path / "data" / "GL.npz").unlink()
    assert main([str(tmp_path / "data"), "--out", str(tmp_path / "runs"), "-n", "5", "--engines", "vcnet"]) == 0
    told = capsys.readouterr()
    assert "no GL.npz, so gradients and prototypes" in told.err and "`GEN`" in told.out and "`GL`" not in told.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-n", "51"], "-n 51: expected 1 to 50"),
        (["--engines", "vcnt"], "did you mean 'vcnet'?"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, capsys, options, message):
    assert main([str(DATA), "--out", str(tmp_path / "runs"), *options]) == 2
    assert message in capsys.readouterr().err


def test_the_strangers_classifier_is_read_as_its_maker_reads_it(read_set: Callable[[str, str], Labelled]):
    pytest.importorskip(MODULE)
    judge, test_set = stranger(), read_set("mnist", "test")
    assert judge is not None
    right = (sees(judge, test_set.floats()) == test_set.labels).float().mean()
    assert float(right) == pytest.approx(0.9906, abs=0.0005)


def test_the_strangers_classifier_judges_where_it_is_installed(runs):
    _, rows = runs
    if stranger() is None:
        pytest.skip("digit-recognizer-py is not installed")
    assert np.nanmean(rows[3].values[STRANGER]) > 0.9


def test_the_picture_shows_what_all_methods_were_asked(done):
    _, its = done
    row, *_ = shared_rows(its.methods)
    assert {int(method.targets[row]) for method in its.methods} == {int(its.methods[0].targets[row])}
    picture = np.array(draw(its.factuals, its.methods, its.runs).convert("L"))
    left, side = NAME + GAP, 28 * ZOOM

    def shown(line: int) -> np.ndarray:
        top = TITLE + line * (side + GAP) + GAP // 2
        return picture[top : top + side : ZOOM, left : left + side : ZOOM]

    assert np.array_equal(shown(0), its.factuals[row])
    for line, method in enumerate(its.methods, start=1):
        assert np.array_equal(shown(line), method.images[row])
