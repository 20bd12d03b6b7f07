"""What a run says of one pair and one engine: a line of records.jsonl. docs/run.md describes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError

Value = float | bool | None


@dataclass(frozen=True)
class Seen:
    """The most probable class of an image, by name, and its probability."""

    name: str
    confidence: float


@dataclass(frozen=True)
class Record:
    """One answer.

    Attributes:
        pair: number of the question in the run, from 0.
        engine: engine or control, by name.
        input: the image as a user knows it: a path, or "mnist test 4211".
        factual: what the explained classifier sees in it.
        target: the class asked for.
        counterfactual: what the classifier sees in the image found.
        valid, confidence: as in `Counterfactuals`; the confidence is the target's.
        metrics: every metric of `metrics.evaluate` by name; None where it could not be had.
        cost: steps, forward_calls, backward_calls, seconds (the batch's time divided by its images) and
            peak_memory_mb (of the process during the batch's search).
        factual_image, image: PNG files, relative to the run's directory.
        notes: why a value is None.
    """

    pair: int
    engine: str
    input: str
    factual: Seen
    target: str
    counterfactual: Seen
    valid: bool
    confidence: float
    metrics: Mapping[str, Value]
    cost: Mapping[str, Value]
    factual_image: str
    image: str
    notes: tuple[str, ...] = ()

    def as_json(self) -> str:
        """The record on one line; six significant digits, which is what single precision holds."""
        return json.dumps(_rounded(asdict(self)), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Read a line again.

        Raises:
            ValueError, KeyError, TypeError: it is no record.
        """
        fields: dict[str, Any] = json.loads(line)
        for name in ("factual", "counterfactual"):
            fields[name] = Seen(**fields[name])
        return cls(**{**fields, "pair": int(fields["pair"]), "notes": tuple(fields["notes"])})

    def value(self, metric: str) -> float | None:
        """A metric or cost as a number; yes is 1, no is 0; None where it could not be had."""
        special: Mapping[str, Value] = {"validity": self.valid, "confidence": self.confidence}
        for values in (special, self.metrics, self.cost):
            if metric in values:
                found = values[metric]
                return None if found is None else float(found)
        return None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if value - value == 0 else None  # NaN and infinity are no numbers
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return value


def read_records(path: Path) -> Iterator[Record]:
    """The records in a file, without a half-written last line; none where there is no file.

    Raises:
        DataError: a line is not a record, or answers a question a second time.
    """
    answered: set[tuple[str, int]] = set()
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith("\n"):
                    return
                record = _parsed(path, number, line)
                if (record.engine, record.pair) in answered:
                    raise DataError(
                        f"{path}: line {number} answers pair {record.pair} by {record.engine} a second time; "
                        "remove the line, or start with another directory"
                    )
                answered.add((record.engine, record.pair))
                yield record
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); start with another directory") from error


def repair(path: Path) -> bool:
    """Cut off a last line that a killed process has left half-written; whether there was one."""
    try:
        with open(path, "r+b") as file:
            whole = file.read().rfind(b"\n") + 1
            size = file.tell()
            file.truncate(whole)
    except FileNotFoundError:
        return False
    return whole < size


def _parsed(path: Path, number: int, line: str) -> Record:
    try:
        return Record.from_json(line)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: line {number} is not a record ({type(error).__name__}: {error}); "
            "remove the line, or start with another directory"
        ) from error
