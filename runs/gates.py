"""Gates: conditions that a run must meet for its command to exit with 0.

    SUBJECT[@CASE].MEASURE[.median|.p95] OPERATOR NUMBER       latent.validity>=0.99, vcnet.im1.median<0.5
    SUBJECT[@CASE].MEASURE OPERATOR baseline[+NUMBER|-NUMBER]  latent.judge_agrees>=baseline-0.02

Each command says in a `Vocabulary` what its subjects and measures are: those of `cfx bench` are engines and metrics.
`baseline` means the mean of an earlier run on the same images; the number is a tolerance. Such a gate looks at the
paired difference and its 95 % interval: `>=` and `<=` fail if the measure is surely worse, which is if the whole
interval lies on the wrong side of the tolerance; `>` and `<` pass only if it is surely better. Nothing here imports
torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..documents import Table
from ..errors import UsageError, unknown_name
from ..metrics.measure import Measure

Statistic = Literal["mean", "median", "p95"]
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
FORM = re.compile(r"\s*([\w-]+(?:@[\w-]+)?)\.(\w+?)(?:\.(median|p95))?\s*(>=|<=|>|<)\s*([^=\s]\S*)\s*")
LIMIT = re.compile(NUMBER, re.ASCII | re.IGNORECASE)
BASELINE = re.compile(rf"baseline([+-]{NUMBER.removeprefix('[+-]?')})?", re.ASCII | re.IGNORECASE)
OPTION = "--fail-under"


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What the gates of a command may name.

    Attributes:
        measures: by name.
        subject, measure: what a subject and a measure are called, such as "engine" and "metric".
        cases: the cases of a subject that have figures of their own, written SUBJECT@CASE.
        counted: what figures are computed over, such as "pairs".
        least: the option that says over how many at least.
        example: a gate, for messages.
    """

    measures: Mapping[str, Measure]
    subject: str = "subject"
    measure: str = "measure"
    cases: Collection[str] = ()
    counted: str = "images"
    least: str = "--min-images"
    example: str

    @property
    def expected(self) -> str:
        """How a gate is written, for messages."""
        subject = f"{self.subject.upper()}[@CASE]" if self.cases else self.subject.upper()
        return f"expected {subject}.{self.measure.upper()}>=NUMBER, such as {self.example!r}"


@dataclass(frozen=True)
class Gate:
    """One condition.

    Attributes:
        text: the gate as it was typed.
        subject: what is measured, SUBJECT or SUBJECT@CASE.
        measure: name of what is measured of it.
        statistic: what is compared: the mean, the median or the 95th percentile.
        sign: ">=", "<=", ">" or "<".
        limit: the number to compare with; for a baseline, the tolerance, which is added to it.
        baseline: whether `limit` is relative to an earlier run.
    """

    text: str
    subject: str
    measure: str
    statistic: Statistic
    sign: str
    limit: float
    baseline: bool = False

    @property
    def name(self) -> str:
        """The gate in one normal form, in which equal gates are equal."""
        statistic = "" if self.statistic == "mean" else f".{self.statistic}"
        limit = f"{self.limit:.12g}"
        if self.baseline:
            limit = f"baseline{self.limit:+.12g}" if self.limit else "baseline"
        return f"{self.subject}.{self.measure}{statistic}{self.sign}{limit}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a gate.

    Attributes:
        gate: the gate in its normal form.
        subject: what was measured.
        passed: whether the condition is met.
        measured: the figure, or its change against the baseline; None if it has no value, and the gate has failed.
        count: how many images, or questions, the figure is computed over.
        says: a sentence for the user.
    """

    gate: str
    subject: str
    passed: bool
    measured: float | None
    count: int
    says: str

    def as_json(self, *, subject: str = "subject", count: str = "count") -> dict[str, object]:
        """The JSON object; `subject` and `count` are the names of these fields in a command's own words."""
        return {
            "gate": self.gate,
            subject: self.subject,
            "passed": self.passed,
            "measured": self.measured,
            count: self.count,
            "says": self.says,
        }

    @classmethod
    def from_json(cls, table: Table, *, subject: str = "subject", count: str = "count") -> Outcome:
        """The inverse of `as_json`."""
        return cls(
            gate=table.need("gate", str),
            subject=table.need(subject, str),
            passed=table.need("passed", bool),
            measured=table.get("measured", float),
            count=table.need(count, int),
            says=table.need("says", str),
        )


def parse_gate(text: str, vocabulary: Vocabulary, *, baseline: bool) -> Gate:
    """Parse a gate. The subject's name is checked later, by `check_subjects`.

    Args:
        text: the gate as on the command line.
        vocabulary: of the command.
        baseline: whether an earlier run is given.

    Raises:
        UsageError: the text cannot be parsed, names an unknown measure or case, or can never be met.
    """
    where = f"{OPTION} {text!r}"
    match = FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"{where}: cannot be parsed; {vocabulary.expected}")
    subject, name, wanted, sign, limit = match.groups()
    statistic: Statistic = wanted if wanted == "median" or wanted == "p95" else "mean"
    measure = _measured(where, vocabulary, subject, name)
    if wanted and measure.of_set:
        raise UsageError(f"{where}: {name} has one value for all images, and so no {wanted}")
    relative = BASELINE.fullmatch(limit)
    if relative is not None:
        if not baseline:
            raise UsageError(f"{where}: there is no baseline; name an earlier run with --baseline")
        if wanted or measure.of_set:
            raise UsageError(f"{where}: only a mean over images can be compared with a baseline")
        return Gate(text, subject, name, "mean", sign, float(relative[1] or 0), baseline=True)
    if LIMIT.fullmatch(limit) is None:
        raise UsageError(f"{where}: {limit!r} is not a number; {vocabulary.expected}")
    number = float(limit)
    if number - number != 0:
        raise UsageError(f"{where}: {limit} is not a finite number; {vocabulary.expected}")
    if measure.kind == "share" and not 0 <= number <= 1:
        raise UsageError(f"{where}: {name} lies between 0 and 1, so {limit} means nothing; write 0.99 for 99 %")
    return Gate(text, subject, name, statistic, sign, number)


def _measured(where: str, vocabulary: Vocabulary, subject: str, name: str) -> Measure:
    """What a gate measures; raises UsageError if there is no such measure or case."""
    if name not in vocabulary.measures:
        raise UsageError(f"{where}: {unknown_name(vocabulary.measure, name, vocabulary.measures)}")
    _, at, case = subject.partition("@")
    if at and case not in vocabulary.cases:
        raise UsageError(f"{where}: {unknown_name('case', case, vocabulary.cases)}")
    return vocabulary.measures[name]


def check_subjects(
    gates: Iterable[Gate], vocabulary: Vocabulary, subjects: Sequence[str], baseline: Sequence[str] | None = None
) -> None:
    """Raise a UsageError if a gate names a subject that the run, or the earlier run, does not have.

    Args:
        gates: the gates.
        vocabulary: of the command.
        subjects: names of the run's subjects.
        baseline: names of the earlier run's subjects; None if there is no earlier run.
    """
    for gate in gates:
        name, _, _ = gate.subject.partition("@")
        if name not in subjects:
            raise UsageError(f"{OPTION} {gate.text!r}: {unknown_name(vocabulary.subject, name, subjects)}")
        if gate.baseline and baseline is not None and name not in baseline:
            raise UsageError(f"{OPTION} {gate.text!r}: the baseline has {', '.join(baseline)}, but not {name}")
