"""What all tests share: real digits, the shipped bundle, and the folder of data sets where there is one."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # read when torch is imported; cli/threads.py says why
THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2  # each of pytest-xdist's processes has a core of its own
if THREADS == 1:
    os.environ["OMP_NUM_THREADS"] = "1"  # of the commands that tests run, too

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cfx.answers.answer import Answer, Cost, Envelope
from cfx.answers.pictures.held import InMemory, InRun
from cfx.answers.question import Question, Source
from cfx.answers.seen import Seen
from cfx.benchmarks.summary import Columns, gather
from cfx.bundles.bundle import Bundle, load_bundle
from cfx.images.sets.labelled import Labelled
from cfx.images.sets.opening import open_images
from cfx.progress import Task
from cfx.training.parts import PARTS
from cfx.training.recipe import Recipe

REPOSITORY = Path(__file__).parents[1]
FORKING = Path(__file__).parent / "forking.py"
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    said = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(said).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(said)
    sys.exit(int(server.recv(16)))
"""  # of the process of forking.py: what runs instead of `cfx`
EXAMPLES = REPOSITORY / "examples"
SCORES = {
    "judge_agrees": True, "referee_agrees": True, "judge_confidence": 0.98, "looks_real": True,
    "realism_percentile": 62.0, "class_percentile": 57.0, "sharpness_percentile": 41.0, "noise_percentile": 88.0,
    "l0": 0.25, "l1": 23.4, "l2": 3.2, "linf": 0.9, "lpips": None, "im1": 0.83, "im2": 0.021,
}  # fmt: skip
NOT_IN_A_COPY = (".venv", ".git", "build", "dist", "cfx-out", "*.egg-info", "__pycache__")

torch.set_num_threads(THREADS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests that share a fixture, and put groups with slow tests first.

    So no process is left alone with them at the end, and single tests fill the gaps.
    """
    slow: set[str] = set()
    groups = {item: group_of(item) for item in items}
    for item, group in groups.items():
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))
        if item.get_closest_marker("slow") is not None:
            slow.add(group or item.nodeid)
    items.sort(key=lambda item: ((groups[item] or item.nodeid) not in slow, groups[item] is None))


def group_of(item: pytest.Item) -> str | None:
    """The class or the file whose fixture a test shares with others, which one process therefore runs; None: alone.

    Fixtures of a conftest.py are cheap, or kept on disk: each process may make them for itself.
    """
    definitions = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009  # pytest has no public name for it
    owners = {
        definition.baseid
        for name in item.fixturenames  # pyright: ignore[reportAttributeAccessIssue]
        for definition in definitions.get(name, ())[-1:]
        if definition.scope != "function" and ".py" in definition.baseid and "conftest" not in definition.baseid
    }
    return min(owners, key=len, default=None)


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """400 digits of the MNIST test set, 40 a class: images (400, 1, 28, 28) in [0, 1], labels (400,) int64."""
    with np.load(Path(__file__).parent / "data" / "digits.npz") as file:
        images, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])
    return images.unsqueeze(1).float() / 255, labels


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The bundle that comes with cfx."""
    return load_bundle("mnist")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder in which torchvision's data sets lie."""
    root = os.environ.get("CFX_DATA")
    if not root:
        pytest.skip("CFX_DATA is not set to a folder with MNIST in torchvision's layout")
    return Path(root)


@pytest.fixture(scope="session")
def read_set(data_root: Path) -> Callable[[str, str], Labelled]:
    """Reads the training or the test split of one of torchvision's data sets."""

    def read(name: str, split: str) -> Labelled:
        images = open_images(name, root=data_root)
        indices = torch.tensor([place for place, own in enumerate(images.splits) if own == split])
        return images.load(indices, (1, 28, 28)).data

    return read


@pytest.fixture(scope="session")
def shorten() -> Callable[[Recipe, float], Recipe]:
    """A recipe whose every training has so many epochs, and a narrow velocity field: drawing with it takes longest."""

    def shortened(recipe: Recipe, epochs: float) -> Recipe:
        parts = {}
        for kind in PARTS:
            name, known = kind.makes[0], {field.name for field in dataclasses.fields(kind)}
            lengths = {field: epochs for field in ("epochs", "guide_epochs") if field in known}
            narrow = {"network": {"width": 16}} if name == "matching" else {}
            parts[name] = {**recipe.parts.get(name, {}), **lengths, **narrow}
        return dataclasses.replace(recipe, parts=parts)

    return shortened


@pytest.fixture(scope="session")
def shell() -> Callable[..., str]:
    """Runs a command that must end with one of some exit codes; returns its standard output, and error if asked."""

    def run(*command: object, cwd: Path | None = None, codes: tuple[int, ...] = (0,), stderr: bool = False) -> str:
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        words = [str(part) for part in command]
        done = subprocess.run(words, cwd=cwd, env=clean, capture_output=True, text=True)
        assert done.returncode in codes, f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr if stderr else done.stdout

    return run


@pytest.fixture(scope="session")
def copy_tree() -> Callable[[Path], Path]:
    """Copies this checkout without what Git ignores."""

    def copy(to: Path) -> Path:
        return Path(shutil.copytree(REPOSITORY, to, ignore=shutil.ignore_patterns(*NOT_IN_A_COPY, ".*_cache")))

    return copy


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory, copy_tree: Callable[[Path], Path]) -> Path:
    """A copy of this checkout, which nobody changes."""
    return copy_tree(tmp_path_factory.mktemp("tree") / "cfx")


@pytest.fixture(scope="session")
def on_path() -> Callable[[Path], Path]:
    """Describes a tree called cfx as an installed package does, so that its engines are found; returns its directory.

    That is what comes on Python's path. That a wheel of the tree holds the same is a law of test_packaging.
    """

    def describe(tree: Path) -> Path:
        assert tree.name == "cfx"
        project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        about = tree.parent / "cfx_toolkit-0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0\n")
        groups = [f"[{group}]\n" + lines(entries) for group, entries in project["entry-points"].items()]
        (about / "entry_points.txt").write_text("\n".join(groups))
        return tree.parent

    def lines(entries: dict[str, str]) -> str:
        return "".join(f"{name} = {where}\n" for name, where in entries.items())

    return describe


@pytest.fixture(scope="module")
def command() -> Iterator[Callable[..., Path]]:
    """Starts a process that imports cfx once; returns a `cfx`, whose every call runs in a fork of it.

    For tests of many commands: each is a process of its own, but does not wait for torch to be imported.
    """
    begun: dict[tuple[Path | None, Path], tuple[Path, subprocess.Popen[bytes]]] = {}
    with tempfile.TemporaryDirectory(prefix="cfx") as short:  # the address of a socket has 100 characters at most

        def start(path: Path | None = None, python: Path = Path(sys.executable)) -> Path:
            if (path, python) not in begun:
                directory = Path(short) / str(len(begun))
                directory.mkdir()
                begun[path, python] = begin(directory, [python, FORKING, directory / "socket", *filter(None, [path])])
            return begun[path, python][0]

        yield start
        for _, process in begun.values():
            process.terminate()
            process.wait()


def begin(directory: Path, words: list[Path]) -> tuple[Path, subprocess.Popen[bytes]]:
    """Start forking.py; returns the client, which is called `cfx`, and the process, once it can be asked."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    process = subprocess.Popen(list(map(str, words)), env=clean, cwd=directory)
    address, client = directory / "socket", directory / "cfx"
    while not address.exists():
        assert process.poll() is None, "cfx cannot be imported"
        time.sleep(0.05)
    client.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    client.chmod(0o755)
    return client, process


@pytest.fixture(scope="session")
def build_wheel(
    tmp_path_factory: pytest.TempPathFactory, copy_tree: Callable[[Path], Path], shell: Callable[..., str]
) -> Callable[[Path], Path]:
    """Builds the wheel of a checkout from a copy, so that neither old build folders get in nor new ones stay."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not on PATH")
    pytest.importorskip("setuptools", reason="the build backend is not installed here")

    def build(checkout: Path) -> Path:
        source = copy_tree(tmp_path_factory.mktemp("source") / "cfx") if checkout == REPOSITORY else checkout
        out = tmp_path_factory.mktemp("wheel")
        # without isolation nothing is downloaded: the backend is there, torch depends on it
        options = ("--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", out)
        shell("uv", "build", *options, cwd=source)
        (made,) = out.glob("*.whl")
        return made

    return build


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory, shell: Callable[..., str]) -> Callable[[Path], Path]:
    """Installs a wheel into a clean environment, whose dependencies are borrowed from this one; returns its python."""

    def installed(wheel: Path) -> Path:
        clean = tmp_path_factory.mktemp("environment") / "clean"
        shell("uv", "venv", "--python", sys.executable, clean)
        python = clean / "bin" / "python"
        shell("uv", "pip", "install", "--no-deps", "--python", python, wheel)
        site = Path(shell(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        # a folder named in a .pth file comes after the environment's own, and the .pth files in it, by which an
        # editable cfx is found, are not read
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        return python

    return installed


def answered(number: int, engine: str, valid: bool, **values: float | bool | None) -> Answer:
    """A made-up answer."""
    return Answer(
        question=Question(source=Source(name="a.png"), factual=Seen("4", 0.9), target="9", number=number, file="f.png"),
        engine=engine,
        counterfactual=Seen("4", 0.9),
        valid=valid,
        target_confidence=0.95,
        metrics=values,
        cost=Cost(steps=1, forward_calls=2, backward_calls=1, seconds=0.5, peak_memory_mb=100.0 + number),
        envelope=Envelope(bundle="mnist", digest="0", settings={}, confidence=0.9, device="cpu", seed=0),
        pictures=InRun(Path(), {}),
    )


@pytest.fixture
def answers() -> Callable[..., dict[str, Columns]]:
    """Columns out of (valid, L1) pairs by engine; the one called control is a control."""

    def call(**told: Sequence[tuple[bool, float]]) -> dict[str, Columns]:
        found = [
            answered(number, engine, valid, l1=l1)
            for engine, pairs in told.items()
            for number, (valid, l1) in enumerate(pairs)
        ]
        count = max(len(pairs) for pairs in told.values())
        return gather(found, count, {engine: engine == "control" for engine in told})

    return call


@pytest.fixture
def pictures() -> tuple[Image.Image, Image.Image]:
    """A real four and a real nine."""
    with Image.open(EXAMPLES / "four.png") as four, Image.open(EXAMPLES / "nine.png") as nine:
        return four.copy(), nine.copy()


@pytest.fixture
def answer() -> Answer:
    """A made-up answer, with everything that can be said of one."""
    image = torch.zeros(1, 28, 28)
    return Answer(
        question=Question(source=Source(name="four.png"), factual=Seen("4", 0.998), target="9"),
        engine="vcnet",
        counterfactual=Seen("9", 0.953),
        valid=True,
        target_confidence=0.953,
        metrics=SCORES,
        cost=Cost(steps=3, forward_calls=20, backward_calls=4, seconds=0.0123),
        envelope=Envelope(
            bundle="mnist", digest="00ff", settings={"confidence": 0.9}, confidence=0.9, device="cpu", seed=0
        ),
        pictures=InMemory(image, image),
        files={"counterfactual": "cfx-out/four.vcnet.9.png"},
        missing={"lpips": "not asked for (--lpips)"},
    )


class Told:
    """Progress that calls a function: tell(label, done, total, figures)."""

    def __init__(self, tell: Callable[[str, int, int | None, dict[str, float]], object]) -> None:
        self.tell = tell

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        yield _Told(self, label, total, done)

    def note(self, text: str) -> None:
        pass


class _Told:
    def __init__(self, progress: Told, label: str, total: int | None, done: int) -> None:
        self.progress, self.label, self.total, self.done = progress, label, total, done

    def advance(self, count: int = 1, **figures: float) -> None:
        self.done += count
        self.progress.tell(self.label, self.done, self.total, figures)


@pytest.fixture(scope="session")
def told() -> type[Told]:
    """Makes progress of a function that is told of every step."""
    return Told
