"""Gates: what they accept, what they measure, and what they say of nonsense."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from cfx.benchmarks.summary import summarise
from cfx.errors import UsageError
from cfx.intervals import Estimate
from cfx.reports.gates import Gate, check_engines, check_gate, parse_gate, write_junit
from cfx.reports.summary import BundleName, Summary

ENGINES = ["latent", "vcnet"]
TOY = BundleName(name="toy", digest="0")
NOTHING = Summary(bundle=TOY, pairs=0, common_pairs=0, compared=(), engines={})


def parse(text: str, engines: list[str], *, baseline: list[str] | None = None) -> Gate:
    """As the command does it, in two steps."""
    gate = parse_gate(text, baseline=baseline is not None)
    check_engines([gate], engines, baseline)
    return gate


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("latent.validity", "cannot be parsed; expected ENGINE.METRIC>=NUMBER"),
        ("validity>=0.9", "cannot be parsed"),
        ("latent.validity=0.9", "cannot be parsed"),
        ("latent.validity>=", "cannot be parsed"),
        ("latent.validity>=high", "'high' is not a number"),
        ("latent.validity>=nan", "nan is not a finite number"),
        ("latnt.validity>=0.9", "unknown engine 'latnt': did you mean 'latent'"),
        ("latent.valdity>=0.9", "unknown metric 'valdity': did you mean 'validity'"),
        ("latent.frechet.median<3", "one value for all images, and so no median"),
        ("latent.validity>=baseline", "there is no baseline; name an earlier run with --baseline"),
        ("", "cannot be parsed"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(text, says):
    with pytest.raises(UsageError) as error:
        parse(text, ENGINES)
    assert says in str(error.value) and repr(text) in str(error.value)


def test_a_baseline_must_have_the_engine():
    with pytest.raises(UsageError, match="the baseline has vcnet, but not latent"):
        parse("latent.validity>=baseline", ENGINES, baseline=["vcnet"])
    assert parse("vcnet.validity >= baseline", ENGINES, baseline=["vcnet"]).limit is None


@pytest.mark.parametrize(
    ("text", "passed", "measured"),
    [
        ("latent.validity>=0.75", True, 0.75),
        ("latent.validity>0.75", False, 0.75),
        ("latent.l1<=20", True, 20),
        ("latent.l1<20", False, 20),
        ("latent.l1.median <= 10", True, 10),
        ("latent.lpips<1", False, None),
    ],
)
def test_gates_measure_the_valid_ones_and_validity_all(answers, text, passed, measured):
    told = [(True, 10.0), (True, 10.0), (True, 40.0), (False, 1000.0)]
    summary = summarise(answers(latent=told), bundle=TOY)
    outcome = check_gate(parse(text, ENGINES), summary, {})
    assert (outcome.passed, outcome.measured) == (passed, measured)
    assert outcome.says.startswith(f"{text}: {'passed' if passed else 'failed'}")
    assert str(measured) in outcome.says if measured is not None else "has no value" in outcome.says


@pytest.mark.parametrize(
    ("sign", "low", "high", "passed"),
    [(">=", -0.02, 0.01, True), (">=", -0.02, -0.01, False), (">=", 0.01, 0.02, True),
     ("<=", -0.02, 0.01, True), ("<=", 0.01, 0.02, False)],
)  # fmt: skip
def test_against_a_baseline_only_what_is_beyond_the_interval_fails(sign, low, high, passed):
    gate = parse(f"latent.validity{sign}baseline", ENGINES, baseline=["latent"])
    change = Estimate((low + high) / 2, low, high, 0.0, 100)
    assert check_gate(gate, NOTHING, {("latent", "validity"): change}).passed is passed
    assert not check_gate(gate, NOTHING, {}).passed, "nothing to compare is no success"


def test_junit_says_what_failed(answers, tmp_path):
    summary = summarise(answers(latent=[(True, 10.0), (False, 1.0)]), bundle=TOY)
    gates = [parse(text, ENGINES) for text in ("latent.validity>=0.9", "latent.l1<=20")]
    write_junit(tmp_path / "report.xml", [check_gate(gate, summary, {}) for gate in gates], "cfx bench runs/<x>")
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("cfx bench runs/<x>", "2", "1")
    failed, passed = suite
    assert failed.get("name") == "latent.validity>=0.9"
    assert "measured 0.5" in (failed[0].get("message") or "") and failed[0].tag == "failure"
    assert [child.tag for child in passed] == ["system-out"]
