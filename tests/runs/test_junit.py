"""JUnit reports are what CI servers accept, whatever happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema

from cfx.runs.gates import Outcome
from cfx.runs.junit import JUnitReport

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd")))


def outcome(gate: str, passed: bool, measured: float | None, says: str) -> Outcome:
    return Outcome(gate=gate, subject="latent", passed=passed, measured=measured, count=3, says=says)


FAILED = outcome("latent.validity>=0.9", False, 0.5, "failed, measured 0.5")
PASSED = outcome("latent.l1<=20", True, 10, "passed, measured 10")
NOTHING = outcome("latent.lpips<1", False, None, "failed, lpips has no value (n/a)")
HOSTILE = outcome("latent.l1<=1 \x1b[2J", False, 3, "a\x00b\n]]>&<\ud800\ufffe\x85 'quoted'")


def write(path: Path, outcomes: Sequence[Outcome] = (), error: tuple[str, str] | None = None) -> ElementTree.Element:
    JUnitReport(
        command="bench",
        run="runs/<x>\x07",
        began=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        seconds=12.34567,
        outcomes=outcomes,
        subject_seconds={"latent": 1.5},
        error=error,
    ).write(path)
    SCHEMA.validate(str(path))
    return ElementTree.parse(path).getroot()[0]


@pytest.mark.parametrize("outcomes", [(), (PASSED,), (FAILED, PASSED, NOTHING, HOSTILE), (FAILED, FAILED, FAILED)])
@pytest.mark.parametrize("error", [None, ("timeout", "the time is up"), ("refused", "\x00\x1b")])
def test_every_report_follows_the_schema_and_counts_right(tmp_path, outcomes, error):
    suite = write(tmp_path / "report.xml", outcomes, error)
    assert int(suite.get("tests", "")) == len(suite) == len(outcomes) + (error is not None)
    assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
    assert int(suite.get("errors", "")) == len(suite.findall("testcase/error"))


def test_it_says_what_failed_when_and_how_long_it_took(tmp_path):
    suite = write(tmp_path / "report.xml", (FAILED, PASSED, NOTHING))
    assert (suite.get("time"), suite.get("timestamp")) == ("12.346", "2026-01-02T03:04:05")
    failed, passed, nothing = suite
    assert failed.get("name") == "latent.validity>=0.9" and failed.get("time") == "1.500"
    assert failed[0].attrib == {"type": "gate", "message": "failed, measured 0.5"}
    assert [child.tag for child in passed] == ["system-out"]
    assert nothing[0].get("type") == "no-value"


def test_equal_gates_have_different_names(tmp_path):
    suite = write(tmp_path / "report.xml", (FAILED, FAILED, FAILED))
    name = FAILED.gate
    assert [case.get("name") for case in suite] == [name, f"{name} (2)", f"{name} (3)"]


def test_control_characters_are_written_as_escapes(tmp_path):
    (case,) = write(tmp_path / "report.xml", (HOSTILE,))
    assert case[0].text == "a\\x00b\\n]]>&<\\ud800\\ufffe\\x85 'quoted'"
    assert case.get("name") == "latent.l1<=1 \\x1b[2J"
