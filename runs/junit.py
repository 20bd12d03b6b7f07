"""JUnit reports for CI servers, in the form that Jenkins and Maven's Surefire define."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from ..errors import printable
from ..files import write_bytes
from .gates import Outcome


@dataclass(frozen=True, kw_only=True)
class JUnitReport:
    """The outcome of a command with gates.

    Attributes:
        command: the command, such as "bench".
        run: the run's directory, as text; empty if it is not known.
        began: when the command began, UTC.
        seconds: how long it took.
        outcomes: the gates, each a test case.
        subject_seconds: seconds that each subject took, the time of its gates' test cases.
        error: why the gates say nothing, or not everything, which is one more test case; (kind, message).
    """

    command: str
    run: str = ""
    began: datetime
    seconds: float
    outcomes: Sequence[Outcome] = ()
    subject_seconds: Mapping[str, float] = field(default_factory=dict)
    error: tuple[str, str] | None = None

    def write(self, path: Path) -> None:
        """Write the report.

        Raises:
            OutputError: the file could not be written.
        """
        failed = sum(not outcome.passed for outcome in self.outcomes)
        counts = {
            "tests": str(len(self.outcomes) + (self.error is not None)),
            "failures": str(failed),
            "errors": str(int(self.error is not None)),
            "time": _time(self.seconds),
        }
        root = ElementTree.Element("testsuites", {"name": "cfx", **counts})
        began = self.began.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        about = {"name": _text(f"cfx {self.command} {self.run}".rstrip()), **counts, "skipped": "0", "timestamp": began}
        suite = ElementTree.SubElement(root, "testsuite", about)
        for outcome, name in zip(self.outcomes, unique([outcome.gate for outcome in self.outcomes]), strict=True):
            seconds = self.subject_seconds.get(outcome.subject, 0.0)
            case = self._case(suite, self._classname(outcome.subject), name, seconds)
            if outcome.passed:
                ElementTree.SubElement(case, "system-out").text = _text(outcome.says)
            else:
                kind = "gate" if outcome.measured is not None else "no-value"
                self._fault(case, "failure", kind, outcome.says)
        if self.error is not None:
            kind, message = self.error
            self._fault(
                self._case(suite, ".".join(filter(None, ("cfx", self.command))), "run", self.seconds),
                "error",
                kind,
                message,
            )
        ElementTree.indent(root)
        write_bytes(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")

    def _classname(self, *subject: str) -> str:
        return ".".join(filter(None, ("cfx", self.command, *subject)))

    @staticmethod
    def _case(suite: ElementTree.Element, classname: str, name: str, seconds: float) -> ElementTree.Element:
        about = {"classname": _text(classname), "name": _text(name), "time": _time(seconds)}
        return ElementTree.SubElement(suite, "testcase", about)

    @staticmethod
    def _fault(case: ElementTree.Element, tag: str, kind: str, message: str) -> None:
        about = {"type": kind, "message": _text(message)}
        ElementTree.SubElement(case, tag, about).text = _text(message)


def unique(names: Sequence[str]) -> list[str]:
    """The names, with " (2)", " (3)" ... appended to repetitions."""
    counts: dict[str, int] = {}
    result = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return result


def _time(seconds: float) -> str:
    return f"{max(0.0, seconds):.3f}"


def _text(text: str) -> str:
    """Text for XML 1.0, which has no way to write most control characters."""
    return printable(text).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
