"""Which questions a run asks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cfx.answers.targets import EveryTarget, LabelTarget, RandomTarget, RunnerUpTarget
from cfx.benchmarks.questions import QuestionSampler, Sample, load_batch, read_questions
from cfx.benchmarks.run import run_directory
from cfx.bundles.bundle import Bundle
from cfx.errors import DataError, UsageError
from cfx.images.finding import find_images
from cfx.images.sets.labelled import Labelled
from cfx.images.writing import write_png
from cfx.runs.inputs import DataSetInputs, FileInputs, open_inputs, read_targets


def sample(bundle: Bundle, inputs, directory: Path, targets="random", count=None, seed=0):
    policies = {"random": RandomTarget(seed), "all": EveryTarget(), "runner-up": RunnerUpTarget()}
    which = "all" if inputs.labels is None else "wrong" if targets == "label" else "right"
    if targets == "label":
        targets = LabelTarget(inputs.labels)
    elif isinstance(targets, str):
        targets = policies[targets]
    wanted = Sample(targets=targets, which=which, count=count, seed=seed)
    sampler = QuestionSampler(bundle, inputs, run_directory(directory), wanted)
    return sampler.sample(), sampler


def test_of_a_data_set_only_what_the_classifier_gets_right_is_asked(bundle: Bundle, labelled, tmp_path):
    pairs, _ = sample(bundle, DataSetInputs(labelled, "mnist test"), tmp_path, count=60)
    assert len(pairs) == 60 and len({pair.source.name for pair in pairs}) == 60
    for pair in pairs:
        index = int(pair.source.name.removeprefix("mnist test "))
        assert pair.factual.name == str(int(labelled.labels[index])) != pair.target
    images = load_batch(tmp_path, pairs, bundle).images
    first = int(pairs[0].source.name.split()[-1])
    assert torch.equal(images[0], labelled.floats(slice(first, first + 1))[0]), "kept bit for bit"
    assert read_questions(tmp_path) == pairs


def test_the_same_seed_asks_the_same(bundle: Bundle, labelled, tmp_path):
    inputs = DataSetInputs(labelled, "mnist test")
    first, again, other = (sample(bundle, inputs, tmp_path / name, count=30, seed=seed)[0]
                           for name, seed in (("a", 0), ("b", 0), ("c", 1)))  # fmt: skip
    assert first == again != other


def test_targets_of_each_policy(bundle: Bundle, folder, tmp_path):
    inputs = FileInputs(find_images([str(folder)]).paths, bundle)
    every, _ = sample(bundle, inputs, tmp_path / "all", "all", count=3)
    assert len(every) == 27 and all(pair.target != pair.factual.name for pair in every)
    assert {pair.target for pair in every if pair.source.name == every[0].source.name} == set("0123456789") - {
        every[0].factual.name
    }
    nearest, _ = sample(bundle, inputs, tmp_path / "runner-up", "runner-up")
    probabilities = bundle.classifier(load_batch(tmp_path / "runner-up", nearest, bundle).images).softmax(dim=1)
    assert [int(p.target) for p in nearest] == probabilities.topk(2).indices[:, 1].tolist()
    assert len(nearest) == 20, "without labels, all images are asked about, in the directory's order"
    assert [p.source.name for p in nearest] == sorted(p.source.name for p in nearest)


def test_labels_are_asked_of_what_the_classifier_gets_wrong(bundle: Bundle, labelled, tmp_path):
    images = labelled.floats(slice(0, 100))
    seen = bundle.classifier(images).argmax(dim=1)
    labels = seen.clone()
    labels[::10] = (seen[::10] + 1) % 10  # as if it had been wrong on these
    inputs = DataSetInputs(Labelled(labelled.images[:100], labels), "mnist test")
    pairs, _ = sample(bundle, inputs, tmp_path, "label")
    assert len(pairs) == 10 and {pair.goal for pair in pairs} == {"label"}
    for pair in pairs:
        index = int(pair.source.name.split()[-1])
        assert index % 10 == 0 and int(pair.target) == int(labels[index]) != int(pair.factual.name)
    assert read_questions(tmp_path) == pairs
    with pytest.raises(DataError, match="the classifier is right on them"):
        sample(bundle, DataSetInputs(Labelled(labelled.images[:100], seen), "mnist test"), tmp_path / "none", "label")


def test_labels_of_files_are_the_names_of_their_folders(bundle: Bundle, labelled, tmp_path):
    images = labelled.floats(slice(0, 30))
    seen = bundle.classifier(images).argmax(dim=1).tolist()
    for place, (image, label) in enumerate(zip(images, seen, strict=True)):
        folder = (label + 1) % 10 if place % 10 == 0 else label  # as if it had been wrong on three of them
        write_png(tmp_path / "digits" / str(folder) / f"{place}.png", image)
    inputs = open_inputs(bundle, str(tmp_path / "digits"), labelled=True)
    pairs, _ = sample(bundle, inputs, tmp_path / "run", "label")
    assert sorted(int(Path(pair.source.name).stem) for pair in pairs) == [0, 10, 20]
    for pair in pairs:
        assert pair.goal == "label" and pair.target == Path(pair.source.name).parent.name != pair.factual.name
    before = inputs.digest()
    first = next((tmp_path / "digits").rglob("0.png"))
    right = tmp_path / "digits" / str(seen[0])
    right.mkdir(exist_ok=True)
    first.rename(right / "0.png")
    assert open_inputs(bundle, str(tmp_path / "digits"), labelled=True).digest() != before
    write_png(tmp_path / "digits" / "unsorted" / "x.png", images[0])
    with pytest.raises(UsageError, match="its folder, 'unsorted', is none of the classes"):
        open_inputs(bundle, str(tmp_path / "digits"), labelled=True)


def test_random_targets_do_not_depend_on_the_other_images(bundle: Bundle, folder, tmp_path):
    paths = find_images([str(folder)]).paths
    whole, _ = sample(bundle, FileInputs(paths, bundle), tmp_path / "whole")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    gapped, sampler = sample(bundle, FileInputs([*paths[:5], broken, *paths[6:]], bundle), tmp_path / "gapped")
    assert [(p.source.name, p.target) for p in gapped] == [
        (p.source.name, p.target) for p in whole if p.source.name != str(paths[5])
    ]
    assert len(sampler.unreadable) == 1 and str(broken) in sampler.unreadable[0]


def test_a_targets_file(bundle: Bundle, folder, tmp_path):
    names = sorted(path.name for path in folder.iterdir())
    table = tmp_path / "targets.csv"
    table.write_text(f"image,target\n{names[0]},7\n\n{names[4]}, 9\n{names[0]},3\n{names[0]},0\n{names[4]},9\n")
    paths, listed = read_targets(table, bundle.classes, folder)
    pairs, sampler = sample(bundle, FileInputs(paths, bundle), tmp_path / "run", listed)
    assert [(Path(p.source.name).name, p.target) for p in pairs] == [(names[0], "7"), (names[0], "3"), (names[4], "9")]
    assert sampler.notes == [f"{folder / names[0]} (line 6): the model already sees 0"] and not sampler.unreadable
    assert pairs[0].file == pairs[1].file


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"image,target\nfour.png,ten\n", "line 2: unknown class 'ten'"),
        (b"four.png,9\ngone.png,3\n", "line 2: "),
        (b"four.png,9\ngone.png,3\n", "gone.png: no such file"),
        (b"image,target\nfour.png\n", "line 2: 1 columns; expected two"),
        (b"gone.png,9\nfour.png\nfour.png,3\nlost.png,1\n", r"no such .* \(and 2 more wrong rows: lines 2, 4\)"),
        (b"four.png,ten\nfour.png,9\nfour.png,x\n", r"'ten'.* \(and 1 more wrong row: line 3\)"),
        (b"image,target\n", "no rows"),
        (b"\xff\xfe\x00", "is text in UTF-16"),
    ],
)
def test_what_is_wrong_with_a_targets_file_is_said_with_its_line(bundle: Bundle, content, says, tmp_path):
    table = tmp_path / "targets.csv"
    table.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_targets(table, bundle.classes, Path(__file__).parents[2] / "examples")


def test_a_word_that_is_no_policy_is_taken_for_a_file(bundle: Bundle, tmp_path):
    with pytest.raises(DataError, match="neither random, runner-up, all, label nor a CSV file"):
        read_targets(tmp_path / "randm", bundle.classes)


def test_nothing_to_ask_is_an_error(bundle: Bundle, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"of 1 images, 1 cannot be read, such as .*broken\.png: not an image"):
        sample(bundle, FileInputs([tmp_path / "broken.png"], bundle), tmp_path / "run")
    assert not (tmp_path / "run" / "pairs.jsonl").exists()


def test_a_directory_without_a_run(tmp_path):
    with pytest.raises(UsageError, match="no run there"):
        read_questions(tmp_path)


def test_labels_of_files_may_stand_in_a_table(bundle: Bundle, folder, tmp_path):
    names = sorted(path.name for path in folder.iterdir())
    table = tmp_path / "labels.csv"
    table.write_text("image,label\n" + "".join(f"{folder / name},{name.split('-')[1][0]}\n" for name in names))
    inputs = open_inputs(bundle, str(table), labelled=True)
    assert inputs.labels is not None and inputs.labels.tolist() == [int(name.split("-")[1][0]) for name in names]
    table.write_text(f"image,label\n{folder / names[0]},0\n{folder / names[0]},1\n")
    with pytest.raises(DataError, match="more than one class; an image has one label"):
        open_inputs(bundle, str(table), labelled=True)
    with pytest.raises(DataError, match=r"gone.csv: no such file; give a folder for each class, or a CSV"):
        open_inputs(bundle, str(tmp_path / "gone.csv"), labelled=True)
