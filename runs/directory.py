"""The directory of a run: manifest.json, its questions, records.jsonl, images/, summary.json, index.html.

If a run is interrupted, the same command resumes it: the questions are written once, records are appended batch by
batch, and the summary and the page are computed from them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..answers.answer import Answer
from ..documents import Table, to_json
from ..errors import DataError, OutputError, UsageError, reason_of
from ..files import HELD, append_text, locked
from .identity import differences
from .manifest import MANIFEST, Manifest, QuestionsFile, machine, versions

RECORDS, SUMMARY, PAGE = "records.jsonl", "summary.json", "index.html"
LOCK, IMAGES = ".lock", "images"
PARTIAL = re.compile(r"\..+\.\d+\.partial")  # what `write_bytes` leaves if the process is killed
PICTURE = re.compile(r"\d+\.png")


@dataclass(frozen=True)
class RunDirectory:
    """The directory of a run, for any command whose work can be resumed.

    Attributes:
        path: the directory.
        questions: name of the file with the questions, which is written before the manifest.
    """

    path: Path
    questions: str

    @contextmanager
    def held(self, config: Mapping[str, object], *, fresh: bool = False) -> Iterator[bool]:
        """Lock the directory, and check that it belongs to this run.

        Args:
            config: everything that the records depend on.
            fresh: delete the run in the directory first.

        Yields:
            Whether the run was begun before.

        Raises:
            UsageError: another process uses the directory, or it belongs to a run with another config, or holds
                other things than a run.
            DataError: its manifest is damaged.
            OutputError: the directory is not writable.
        """
        directory = self.path
        if directory.exists() and not directory.is_dir():
            raise UsageError(f"--out {directory}: a file, not a directory; choose another name")
        if directory.is_dir() and not (directory / MANIFEST).exists():
            left_by_a_kill = (LOCK, LOCK + HELD, IMAGES, self.questions)
            strangers = sorted(
                path.name
                for path in directory.iterdir()
                if path.name not in left_by_a_kill and not PARTIAL.fullmatch(path.name)
            )
            if strangers:
                raise UsageError(
                    f"--out {directory}: holds other things ({', '.join(strangers[:3])}) and no run; "
                    "choose a new directory"
                )
        with locked(directory / LOCK):
            if fresh:
                self._clear()
            begun = (directory / MANIFEST).exists()
            if begun:
                found = differences(Manifest.read(directory).config, json.loads(json.dumps(config, default=str)))
                if found:
                    raise UsageError(
                        f"--out {directory}: belongs to another run: {'; '.join(found)}; "
                        "choose another directory, use the same options, or start anew with --fresh"
                    )
                repair(directory / RECORDS)
            yield begun

    def _clear(self) -> None:
        """Delete the files of the run in the directory, and nothing else. The manifest goes last.

        Raises:
            UsageError: manifest.json is not that of a run.
            OutputError: a file cannot be deleted.
        """
        directory = self.path
        engines = engines_in(directory / MANIFEST) if (directory / MANIFEST).exists() else []
        results = [directory / name for name in (SUMMARY, PAGE, RECORDS, self.questions)]
        folders = [directory / IMAGES / name for name in ("factual", *engines)]
        pictures = [path for folder in folders for path in folder.glob("*") if PICTURE.fullmatch(path.name)]
        partial = [path for path in directory.rglob(".*.partial") if PARTIAL.fullmatch(path.name)]
        try:
            for path in (*results, *pictures, *partial, directory / MANIFEST):
                path.unlink(missing_ok=True)
            for folder in (*folders, directory / IMAGES):
                with suppress(OSError):  # it holds other things, or does not exist
                    folder.rmdir()
        except OSError as error:
            raise OutputError(
                f"--fresh {directory}: could not be emptied ({reason_of(error)}); choose another directory"
            ) from error

    def begin(
        self,
        config: Mapping[str, object],
        *,
        command: Sequence[str],
        batch_size: int,
        device: str,
        inputs: Mapping[str, str] | None = None,
        unreadable: Sequence[str] = (),
        **more: object,
    ) -> Manifest:
        """Write the manifest of a run, after its questions."""
        manifest = Manifest(
            command=tuple(command),
            begun=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config,
            inputs=inputs or {},
            batch_size=batch_size,
            questions=self._questions_file(),
            versions=versions(),
            machine=machine(device),
            unreadable=tuple(unreadable),
            more=more,
        )
        manifest.write(self.path)
        return manifest

    def _questions_file(self) -> QuestionsFile | None:
        """Count and digest of the questions; None if the run has no file of them."""
        try:
            content = (self.path / self.questions).read_bytes()
        except FileNotFoundError:
            return None
        return QuestionsFile(count=content.count(b"\n"), sha256=hashlib.sha256(content).hexdigest())

    def manifest(self) -> Manifest:
        """Read the manifest, and check that the questions are those that it was written with.

        Raises:
            UsageError: there is no run.
            DataError: the manifest or the questions are damaged.
        """
        manifest, found = Manifest.read(self.path), self._questions_file()
        if manifest.questions is not None and found != manifest.questions:
            there = "no questions" if found is None else f"{found.count} questions"
            raise DataError(
                f"{self.path / self.questions}: not the file that the run began with ({there}, of "
                f"{manifest.questions.count}); restore it, or start anew with --fresh"
            )
        return manifest

    def set_batch_size(self, manifest: Manifest, engine: str, size: int) -> Manifest:
        """Write the batch size of one engine into the manifest, so that a resumed run uses it too."""
        updated = replace(manifest, batch_sizes={**manifest.batch_sizes, engine: size})
        updated.write(self.path)
        return updated

    def append(self, answers: Sequence[Answer]) -> None:
        """Append records, all in one write.

        Raises:
            OutputError: the disk is full or not writable.
        """
        lines = [to_json(answer.as_json()) for answer in answers]
        append_text(self.path / RECORDS, "".join(line + "\n" for line in lines))

    def records_digest(self) -> str:
        """The sha256 of the records, by which a summary knows whether it was computed from them."""
        try:
            return hashlib.sha256((self.path / RECORDS).read_bytes()).hexdigest()
        except FileNotFoundError:
            return ""

    def answers(self) -> Iterator[Answer]:
        """Read the answers, in the order of the records.

        Raises:
            DataError: a line is not a record, or answers a question a second time.
        """
        return read_records(self.path / RECORDS)


def engines_in(manifest: Path) -> list[str]:
    """The engines of a run of any schema, from its manifest.json.

    Raises:
        UsageError: the file is not the manifest of a run.
    """
    try:
        found = json.loads(manifest.read_bytes())
        if isinstance(found["schema"], int) and isinstance(found["command"], list):
            return [str(name) for name in found["config"].get("engines", {})]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    raise UsageError(
        f"--fresh {manifest.parent}: {manifest.name} is not that of a run, so nothing was deleted; choose another "
        "directory, or delete it yourself"
    )


def read_records(path: Path) -> Iterator[Answer]:
    """Read the records of a file, without a half-written last line. A missing file has no records.

    Raises:
        DataError: a line is not a record, or answers a question a second time.
    """
    answered: set[tuple[str, int | None, int]] = set()
    remedy = "remove the line, or start anew with --fresh"
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith("\n"):
                    return
                where = f"{path}: line {number}"
                try:
                    answer = Answer.from_json(Table(json.loads(line), where, DataError))
                except (ValueError, DataError) as error:
                    reason = str(error).removeprefix(f"{where}: ")
                    raise DataError(f"{where} is not a record ({reason}); {remedy}") from error
                key = answer.engine, answer.question.number, answer.place
                if key in answered:
                    raise DataError(
                        f"{where} answers pair {answer.question.number} by {answer.engine} a second time; {remedy}"
                    )
                answered.add(key)
                yield answer
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); start anew with --fresh") from error


def repair(path: Path) -> bool:
    """Cut off a half-written last line, which a killed process leaves; return whether there was one."""
    try:
        with open(path, "r+b") as file:
            whole = file.read().rfind(b"\n") + 1
            size = file.tell()
            file.truncate(whole)
    except FileNotFoundError:
        return False
    return whole < size
