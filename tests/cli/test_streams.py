"""What stdout and stderr may be connected to: closed pipes, full disks, old encodings, nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest
from PIL import Image

from cfx.cli.app import main
from cfx.cli.exit_code import ExitCode
from cfx.cli.terminal.terminal import Terminal

EXAMPLES = Path(__file__).parents[2] / "examples"
With = Callable[..., int]  # a stream and a command line -> the exit code


@pytest.fixture
def with_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> With:
    """Call the command line with another stdout."""
    monkeypatch.chdir(tmp_path)

    def call(stream: TextIO | None, *arguments: object) -> int:
        monkeypatch.setattr(sys, "stdout", stream)
        return main([str(argument) for argument in arguments])

    return call


def closed_pipe() -> TextIO:
    """A pipe that nobody reads, as after `| head -n 1`."""
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w", encoding="utf-8")


def in_encoding(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def text_in(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(stream.encoding)


def explained(toy: Path, *arguments: object) -> tuple[object, ...]:
    images = sorted(EXAMPLES.glob("*.png"))
    return ("explain", "--bundle", toy, "--engine", "pixel", "--html", *images, *arguments)


def test_a_closed_pipe_does_not_stop_a_command_that_writes_files(with_stdout: With, toy: Path, tmp_path: Path):
    assert with_stdout(None, *explained(toy, "--out", "whole")) in (0, 1)
    code = with_stdout(closed_pipe(), *explained(toy, "--out", "piped", "--format", "json", "--batch-size", 1))
    assert code in (0, 1)
    names = [sorted(path.name for path in (tmp_path / out).iterdir()) for out in ("whole", "piped")]
    assert names[0] == names[1] and len(names[0]) > len(list(EXAMPLES.glob("*.png")))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("info", "--format", "json")])
def test_a_command_that_only_prints_ends_with_the_pipe(with_stdout: With, arguments: tuple[str, ...]):
    assert with_stdout(closed_pipe(), *arguments) == ExitCode.PIPE_CLOSED


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", [("--help",), ("info",), None])
def test_a_full_disk_below_stdout_is_one_line(with_stdout: With, toy: Path, capsys, arguments):
    with contextlib.suppress(OSError), open("/dev/full", "w") as full:
        code = with_stdout(full, *(arguments or explained(toy, "--out", "out")))
    assert code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "error: stdout: could not be written (no space left on device); free some space"
    if arguments is None:
        assert Path("out/index.html").exists(), "the files are complete nevertheless"


def test_without_stdout_the_files_are_written(with_stdout: With, toy: Path):
    assert with_stdout(None, *explained(toy, "--out", "out")) in (0, 1)
    assert Path("out/index.html").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_old_encodings_get_plain_characters(with_stdout: With, toy: Path, encoding: str):
    stream = in_encoding(encoding)
    assert with_stdout(stream, *explained(toy, "--out", "out")) in (0, 1)
    text = text_in(stream)
    assert ("↑ judges agree" if encoding == "utf-8" else "^ judges agree") in text and "\\u" not in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_json_in_every_encoding(with_stdout: With, toy: Path, tmp_path: Path, encoding: str):
    image = tmp_path / "Übung ↑ 数.png"
    image.write_bytes((EXAMPLES / "four.png").read_bytes())
    stream = in_encoding(encoding)
    assert with_stdout(stream, "explain", "--bundle", toy, "--engine", "pixel", image, "--format", "json") in (0, 1)
    assert json.loads(text_in(stream))["input"] == str(image)


def test_columns_is_respected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert Terminal().out.width == 160
    monkeypatch.setenv("COLUMNS", "72")
    assert Terminal().out.width == 72


def test_work_says_when_it_begins_and_ends_and_quiet_says_nothing(run, toy: Path):
    arguments = ("explain", "--bundle", toy, "--engine", "pixel", EXAMPLES / "four.png", EXAMPLES / "seven.png")
    result = run(*arguments, "--html")
    begun, done = result.progress
    assert begun == "cfx explain: 2 images with pixel" and re.fullmatch(r"cfx explain: done in \d+:\d\d", done)
    assert "note: cfx-out/index.html" in result.stderr
    quiet = run(*arguments, "--html", "--quiet")
    assert quiet.stderr == "" and quiet.progress == ()
    assert quiet.stdout.count("\n") == result.stdout.count("\n")


def test_quiet_keeps_errors_and_gates(run, toy: Path):
    result = run("bench", "--bundle", toy, "--engines", "pixel", "--images", EXAMPLES, "--no-lpips", "--out", "run",
                 "--fail-under", "pixel.l1<=0.001", "-q", "--format", "csv")  # fmt: skip
    assert result.code == 1 and result.progress == ()
    assert result.stderr.startswith("gate pixel.l1<=0.001: failed") and result.stderr.count("\n") == 1
    assert run("explain", "missing.png", "-q").error.startswith("missing.png: no such file")


@pytest.mark.parametrize("command", ["explain", "bench", "compare", "init", "train", "info"])
def test_the_options_that_all_commands_have(run, command: str):
    text = run(command, "--help").stdout
    assert "--quiet" in text and "--threads" in text


def test_threads_are_set(run, toy: Path):
    import torch

    before = torch.get_num_threads()
    try:
        assert run("info", "--threads", 3).code == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_help_speaks_of_things_and_is_not_cut_off(run):
    for command in ("", "explain", "bench", "compare", "init", "train", "info"):
        text = run(*filter(None, [command]), "--help").stdout
        body = text.split("\n", 1)[1]
        assert not re.search(r"<(list\[)?(str|int|float|bool|path)", body, re.IGNORECASE), f"{command}: a Python type"
        assert "..." not in body, f"{command}: a cut-off line"
    assert "IMAGES  Image files" in run("explain", "--help").stdout


def test_version_and_completion(run):
    assert run("-V").stdout == run("--version").stdout
    assert "_CFX_COMPLETE=complete_bash" in run("--show-completion", "bash").stdout


def test_what_c_libraries_say_is_not_shown(tmp_path: Path):
    """Libtiff names a damaged file "tempfile.tif" on stderr; cfx names it itself."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.tif", compression="tiff_lzw")
    content = bytearray((tmp_path / "cut.tif").read_bytes())
    content[100:1500] = b"\xff" * 1400
    (tmp_path / "cut.tif").write_bytes(content)
    for options, noisy in (([], False), (["--debug"], True)):
        command = [sys.executable, "-m", "cfx.cli", *options, "explain", "cut.tif"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2 and ("tempfile.tif" in done.stderr) == noisy
        assert done.stderr.splitlines()[-1].startswith("error: cut.tif: the image is cut off or damaged")
        assert noisy or done.stderr.count("\n") == 1
