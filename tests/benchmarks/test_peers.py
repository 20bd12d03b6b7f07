"""The peers are asked about the same classifier, keep what they found, and fail in one line."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cfx.answers.question import Question, QuestionBatch, Source, targets_of
from cfx.answers.seen import Seen
from cfx.benchmarks.compare import read_finished
from cfx.benchmarks.questions import QUESTIONS, as_lines
from cfx.benchmarks.run import run_directory
from cfx.benchmarks.studies import peers as peers
from cfx.benchmarks.studies import peers_exchange as shared
from cfx.benchmarks.studies import peers_export
from cfx.benchmarks.studies.peers_exchange import Answers, Array, Explain, Stop, Work
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine
from cfx.errors import CfxError, DataError, UsageError
from cfx.images.writing import write_png
from cfx.reports.summary import Figures
from cfx.runs.identity import RunIdentity
from cfx.runs.manifest import Manifest

COUNT = 6


def pairs_of(bundle: Bundle, images: Tensor) -> list[Question]:
    """One question an image, towards the class after the one that the classifier sees."""
    seen = bundle.classifier(images).argmax(dim=1).tolist()
    names = bundle.classes
    return [
        Question(
            source=Source(name=f"digit {place}"),
            factual=Seen(names[one], 0.99),
            target=names[(one + 1) % 10],
            number=place,
            file=f"images/factual/{place:06d}.png",
        )
        for place, one in enumerate(seen)
    ]


@pytest.fixture
def images(digits: tuple[Tensor, Tensor]) -> Tensor:
    """A few digits of different classes."""
    return digits[0][::61][:COUNT]


@pytest.fixture
def pairs(bundle: Bundle, images: Tensor) -> list[Question]:
    """A question about each."""
    return pairs_of(bundle, images)


@pytest.fixture
def run(bundle: Bundle, images: Tensor, pairs: list[Question], tmp_path: Path) -> Path:
    """A run that has been begun: questions, pictures and a manifest."""
    directory = tmp_path / "run"
    for pair, image in zip(pairs, images, strict=True):
        write_png(directory / str(pair.file), image)
    home = run_directory(directory)
    home.write(QUESTIONS, as_lines(pairs))
    config = {"bundle": {"name": "mnist", "digest": bundle.digest}, "confidence": 0.9, "lpips": None, "seed": 0}
    config |= {"device": "cpu"}
    config |= {"images": "mnist test", "targets": "random"}
    home.begin(RunIdentity(config), command=["cfx", "bench"], batch_size=8, device="cpu")
    return directory


@pytest.fixture
def work(bundle: Bundle, images: Tensor, pairs: list[Question], digits: tuple[Tensor, Tensor]) -> Work:
    """The same questions as peers read them, with the digits for training images."""
    batch = QuestionBatch(pairs, images, targets_of(pairs, bundle))
    return peers_export.work_of(bundle, batch, 0.9, (digits[0] * 255).round().to(torch.uint8))


def channels_last(weights: Mapping[str, Array], images: Tensor) -> Array:
    """The network that `port` in peers_search.py builds, from the same arrays in the same order, without TensorFlow."""
    tensors = {name: torch.from_numpy(np.asarray(value)) for name, value in weights.items()}
    x = (images - tensors["mean"]) / tensors["deviation"]
    for place, pooled in enumerate(shared.POOLED):
        kernel, bias = tensors[f"convolution{place}.kernel"], tensors[f"convolution{place}.bias"]
        x = F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1).relu()
        x = F.max_pool2d(x, 2) if pooled else x
    x = x.permute(0, 2, 3, 1).flatten(1)  # what Keras flattens: row, column, channel
    x = (x @ tensors["hidden.kernel"] + tensors["hidden.bias"]).relu()
    return (x @ tensors["head.kernel"] + tensors["head.bias"]).numpy()


def test_exported_weights_are_the_explained_classifier(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> None:
    images, _ = digits
    logits = bundle.classifier(images).numpy()
    assert shared.difference(channels_last(peers_export.exported(bundle.classifier), images), logits) < 1e-4


def test_flattening_in_torchs_order_would_be_noticed(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> None:
    images, _ = digits
    weights = peers_export.exported(bundle.classifier)
    kernel = weights["hidden.kernel"]
    weights["hidden.kernel"] = kernel.reshape(7, 7, -1, kernel.shape[1]).transpose(2, 0, 1, 3).reshape(kernel.shape)
    with pytest.raises(Stop, match=r"^the port is not the explained classifier: on 400 images its logits are up to"):
        shared.difference(channels_last(weights, images), bundle.classifier(images).numpy())


def test_a_port_is_not_believed_on_a_few_images_or_on_nan() -> None:
    with pytest.raises(Stop, match="checked on 99 images only; 100 are needed"):
        shared.difference(np.zeros((99, 10)), np.zeros((99, 10)))
    with pytest.raises(Stop, match="not the explained classifier"):
        shared.difference(np.full((100, 10), np.nan), np.zeros((100, 10)))


def test_only_a_convnet_is_ported(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="supports only ConvNet, but the classifier is a ResidualNet"):
        peers_export.exported(bundle.part("judge"))


def test_work_comes_back_as_it_was(bundle: Bundle, images: Tensor, work: Work, tmp_path: Path) -> None:
    work.save(tmp_path / "work.npz")
    again = Work.load(tmp_path / "work.npz")
    for name, value in vars(work).items():
        if name == "weights":
            assert value.keys() == again.weights.keys()
            assert all(np.array_equal(array, again.weights[key]) for key, array in value.items())
        else:
            assert np.array_equal(value, getattr(again, name)), name
    assert isinstance(again.threshold, float)
    assert np.array_equal(work.images, images.numpy()), "PNG files hold the digits exactly"
    assert np.array_equal(work.targets, (work.factuals + 1) % 10)
    assert np.array_equal(work.logits.argmax(axis=1)[:COUNT], work.factuals)
    assert len(work.checked) >= shared.FEWEST_CHECKED + COUNT


def test_settings_ask_for_the_threshold() -> None:
    wachter = shared.settings_of("wachter", 0.9)
    assert wachter["target_proba"] - wachter["tol"] == pytest.approx(0.9 + shared.ROUNDING)
    assert shared.settings_of("proto", 0.9)["kappa"] == 0, "alibi's example"
    assert shared.settings_of("proto-confident", 0.9)["kappa"] == 0.8
    assert {shared.settings_of(name, 0.9)["peer"] for name in shared.PEERS} == set(shared.PEERS)


class Fake:
    """Brightens each image; finds nothing for one target, and can be interrupted."""

    setup_seconds = autoencoder_seconds = logit_difference = 0.0

    def __init__(self, hopeless: int = -1, stop_after: int | None = None) -> None:
        self.hopeless, self.stop_after = hopeless, stop_after
        self.asked = 0
        self.opened: list[int] = []

    def explainer(self, target: int) -> Explain:
        self.opened.append(target)

        def explain(factual: Array) -> Array | None:
            if self.asked == self.stop_after:
                raise KeyboardInterrupt
            self.asked += 1
            assert factual.shape == (1, 28, 28, 1)
            return None if target == self.hopeless else factual + 0.25

        return explain


Open = Callable[..., Answers]


@pytest.fixture
def opened(work: Work, tmp_path: Path) -> Open:
    """The answers of one peer to the questions, as they lie on disk."""

    def call(work: Work = work, **settings: float) -> Answers:
        return Answers(tmp_path / "answers", work, {"peer": "fake", **settings})

    return call


def test_what_is_answered_is_not_asked_again(opened: Open) -> None:
    stopped = Fake(stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        shared.answer_all(opened(), stopped)
    assert sum(map(len, opened().pending().values())) == COUNT - 4
    rest = Fake()
    shared.answer_all(opened(), rest)
    assert rest.asked == COUNT - 4
    assert not opened().pending()


def test_each_target_is_opened_once(opened: Open, work: Work) -> None:
    fake = Fake()
    shared.answer_all(opened(), fake)
    assert fake.opened == sorted(set(work.targets.tolist()))


def test_an_answer_is_kept_as_it_was_found(opened: Open, work: Work) -> None:
    hopeless = int(work.targets[0])
    shared.answer_all(opened(), Fake(hopeless))
    for row, target in enumerate(work.targets):
        kept = opened().get(row)
        assert kept is not None and kept.found == (target != hopeless) and kept.seconds >= 0
        expected = np.clip(work.images[row] + 0.25, 0, 1) if kept.found else work.images[row]
        assert np.array_equal(kept.image, expected) and kept.image.dtype == np.float32


def test_an_answer_to_another_question_is_not_taken(opened: Open, work: Work) -> None:
    shared.answer_all(opened(), Fake())
    another = (work.targets + 1) % 10
    assert sum(map(len, opened(dataclasses.replace(work, targets=another)).pending().values())) == COUNT
    assert sum(map(len, opened(dataclasses.replace(work, threshold=0.8)).pending().values())) == COUNT
    assert sum(map(len, opened(kappa=0.5).pending().values())) == COUNT
    weights = {name: value * 2 for name, value in work.weights.items()}
    assert sum(map(len, opened(dataclasses.replace(work, weights=weights)).pending().values())) == COUNT
    images = work.images.copy()
    images[2] = images[3]
    assert opened(dataclasses.replace(work, images=images)).pending() == {int(work.targets[2]): [2]}


def test_a_damaged_answer_is_asked_again(opened: Open, work: Work, tmp_path: Path) -> None:
    shared.answer_all(opened(), Fake())
    path = tmp_path / "answers" / "000001.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert opened().pending() == {int(work.targets[1]): [1]}
    assert not list(tmp_path.glob("**/*.partial"))


def test_progress_is_told_every_ten_images(opened: Open, work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    many = dataclasses.replace(work, images=np.repeat(work.images, 4, 0), targets=np.repeat(work.targets, 4))
    shared.answer_all(opened(many), Fake())
    out, err = capsys.readouterr()
    assert err.splitlines() == [f"{done} of 24 images" for done in (10, 20, 24)] and not out


def test_the_program_needs_neither_cfx_nor_torch(work: Work, tmp_path: Path) -> None:
    """As in the peers' environment; here TensorFlow and alibi are missing, too, which is one line."""
    work.save(tmp_path / shared.WORK)
    program = f"""
import runpy, sys
sys.path.insert(0, {str(peers.PROGRAM.parent)!r})
sys.modules.update(dict.fromkeys(("torch", "cfx", "safetensors", "alibi")))
sys.argv = ["search.py", {str(tmp_path)!r}, "--peer", "wachter"]
runpy.run_path({str(peers.PROGRAM)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and line.endswith("this program needs an environment with alibi[tensorflow]")


def program(directory: Path, text: str) -> Path:
    """A program called uv that does what `text`, in Python, says."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "uv"
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def fake_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts such a program first on PATH."""

    def call(text: str) -> None:
        program(tmp_path / "bin", text)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    return call


def test_without_uv_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CfxError, match=r"^uv: not found on PATH; .*`pip install uv`, then the same command again$"):
        peers.ask(tmp_path, "proto", 1)


def test_a_failing_peer_is_one_line(tmp_path: Path, fake_uv: Callable[[str], None]) -> None:
    fake_uv("import sys; print('10 of 20 images\\nerror: the disk is full\\n', file=sys.stderr); sys.exit(3)")
    with pytest.raises(CfxError, match=r"^peer proto: failed with exit code 3: the disk is full$"):
        peers.ask(tmp_path, "proto", 1)


def test_a_peer_that_writes_nothing_is_one_line(tmp_path: Path, fake_uv: Callable[[str], None]) -> None:
    fake_uv("")
    with pytest.raises(DataError, match=r"found\.npz: not a valid answer of a peer .*; run the same command again$"):
        peers.ask(tmp_path, "proto", 1)


def test_the_environment_is_pinned_and_clean(
    tmp_path: Path, fake_uv: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What uv is asked for, and what the peer does not inherit from the environment of cfx."""
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    fake_uv(f"import json, os, sys; json.dump([sys.argv[1:], dict(os.environ)], open({str(tmp_path / 'told')!r}, 'w'))")
    with pytest.raises(DataError):
        peers.ask(tmp_path / "run.peers", "wachter", 1)
    told, environment = json.loads((tmp_path / "told").read_text())
    assert told[:5] == ["run", "--isolated", "--no-project", "--python", peers.PYTHON]
    assert "alibi[tensorflow]==0.9.4" in told
    assert told[-6:] == [str(peers.PROGRAM), str(tmp_path / "run.peers"), "--peer", "wachter", "--threads", "1"]
    assert "PYTHONPATH" not in environment and environment["OMP_NUM_THREADS"] == "1"


def found_of(images: Tensor, found: Tensor) -> peers.Found:
    seconds = torch.ones(len(images))
    return peers.Found(images, found, seconds, seconds, {"peer": "proto", "settings": {"kappa": 0.0}})


def mean_of(figures: Figures) -> float:
    found = figures["all"]
    assert found is not None
    return found.mean


def test_a_peers_answers_are_judged_as_an_engines(
    bundle: Bundle, images: Tensor, pairs: list[Question], run: Path, tmp_path: Path
) -> None:
    targets = targets_of(pairs, bundle)
    engine = load_engine("vcnet").from_bundle(bundle).search(bundle.classifier, images, targets)
    told = engine.images.clone()
    told[0] = images[0]  # nothing was found there
    found = found_of(told, torch.arange(COUNT) > 0)
    answers = peers.counterfactuals_of(bundle, found.images, targets, 0.9)
    assert torch.equal(answers.images[1:], engine.images[1:]), "what is 8 bits already is not changed"
    assert torch.equal(answers.valid[1:], engine.valid[1:]) and not answers.valid[0]
    assert torch.allclose(answers.confidence[1:], engine.confidence[1:], atol=1e-4)
    manifest = Manifest.read(run)
    for _ in range(2):  # the second time, what was scored stays
        scored = peers.score(bundle, run, pairs, found, "proto", manifest, tmp_path / "proto")
    assert [answer.valid for answer in scored.answers] == answers.valid.tolist()
    assert scored.questions == pairs and scored.manifest.more["peer"] == found.about
    told_by_cfx = read_finished(tmp_path / "proto").summary.engines["proto"].metrics
    assert mean_of(told_by_cfx["validity"]) == pytest.approx(float(answers.valid.float().mean()))
    assert mean_of(told_by_cfx["images_per_second"]) == 1
    assert told_by_cfx["forward_calls"]["all"] is None, "unknown is not free"
    said = peers.report(bundle, scored, found)
    assert said["found"] == COUNT - 1 and said["valid"] == int(answers.valid.sum()) and said["mean_seconds"] == 1


def test_what_an_8_bit_file_cannot_hold_is_rounded_before_it_is_judged(
    bundle: Bundle, images: Tensor, pairs: list[Question]
) -> None:
    found = found_of((images + 0.001).clamp(0, 1), torch.ones(COUNT, dtype=torch.bool))
    assert torch.allclose(peers.counterfactuals_of(bundle, found.images, targets_of(pairs, bundle), 0.9).images, images)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["-n", "0"], "-n 0: expected at least one question"),
        (["--run", "nowhere"], "nowhere: no run there"),
        (["--data", "nowhere"], "nowhere: no MNIST there"),
    ],
    ids=["no questions", "no run", "no data"],
)
def test_wrong_usage_is_one_line(
    change: list[str], told: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--run", str(run), "--data", str(tmp_path), "--peer", "proto", "--out", str(tmp_path / "out")]
    assert peers.main([*given, *change]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {told}") and err.count("\n") == 1 and not out


def test_a_run_of_another_bundle_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["bundle"]["digest"] = "0" * 64
    (run / "manifest.json").write_text(json.dumps(manifest))
    given = ["--run", str(run), "--data", str(tmp_path), "--peer", "proto", "--out", str(tmp_path / "out")]
    assert peers.main(given) == 2
    assert "made with another version of the bundle 'mnist'; give that version's directory with --bundle" in (
        capsys.readouterr().err
    )


@pytest.mark.slow
@pytest.mark.parametrize("peer", shared.PEERS)
@pytest.mark.skipif(os.environ.get("CFX_PEERS") != "1", reason="CFX_PEERS is not 1: alibi and TensorFlow take minutes")
def test_alibi_itself(peer: str, bundle: Bundle, work: Work, pairs: list[Question], tmp_path: Path) -> None:
    """Two images through the real thing, and a second time out of what was kept."""
    exchange = tmp_path / "run.peers"
    exchange.mkdir()
    two = dataclasses.replace(work, images=work.images[:2], factuals=work.factuals[:2], targets=work.targets[:2])
    two.save(exchange / shared.WORK)
    found = peers.ask(exchange, peer, 1)
    assert found.images.shape == (2, 1, 28, 28) and found.images.dtype == torch.float32
    assert float(found.images.min()) >= 0 and float(found.images.max()) <= 1
    assert 0 < found.about["logit_difference"] < 1e-4 and (found.seconds > 0.1).all()
    answers = peers.counterfactuals_of(bundle, found.images, targets_of(pairs[:2], bundle), 0.0)
    assert torch.equal(answers.valid, found.found), "where the peer sees the target, our classifier sees it, too"
    again = peers.ask(exchange, peer, 1)
    assert torch.equal(found.images, again.images) and torch.equal(found.seconds, again.seconds)
