"""Gates: what they accept, what they measure, and what they say of nonsense."""

from __future__ import annotations

import pytest

from cfx.benchmarks.settings import GATES
from cfx.benchmarks.summary import summarise
from cfx.errors import UsageError
from cfx.intervals import Estimate
from cfx.metrics.measure import Measure
from cfx.reports.summary import BundleName, Summary
from cfx.runs.gates import Gate, Vocabulary, check_subjects, parse_gate
from cfx.runs.outcomes import check_gate

ENGINES = ["latent", "vcnet"]
TOY = BundleName(name="toy", digest="0")
NOTHING = Summary(bundle=TOY, pairs=0, common_pairs=0, compared=(), engines={})


def parse(text: str, engines: list[str], *, baseline: list[str] | None = None) -> Gate:
    """As the command does it, in two steps."""
    gate = parse_gate(text, GATES, baseline=baseline is not None)
    check_subjects([gate], GATES, engines, baseline)
    return gate


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("latent.validity", "cannot be parsed; expected ENGINE.METRIC>=NUMBER"),
        ("validity>=0.9", "cannot be parsed"),
        ("latent.validity=0.9", "cannot be parsed"),
        ("latent.validity>=", "cannot be parsed"),
        ("latent.validity>=high", "'high' is not a number"),
        ("latent.validity>=nan", "'nan' is not a number"),
        ("latent.l1<=1e999", "1e999 is not a finite number"),
        ("latent.l1<=1_000", "'1_000' is not a number"),
        ("latent.l1<=\uff11\uff12", "is not a number"),
        ("latent.l1<=0x10", "'0x10' is not a number"),
        ("latent.validity>=99", "validity lies between 0 and 1, so 99 means nothing; write 0.99 for 99 %"),
        ("latent.judge_agrees>=-0.1", "judge_agrees lies between 0 and 1"),
        ("latent.l1.p99<3", "cannot be parsed"),
        ("latent.validity>=baseline-", "'baseline-' is not a number"),
        ("latent.validity>=baseline-two", "'baseline-two' is not a number"),
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
    assert parse("vcnet.validity >= baseline", ENGINES, baseline=["vcnet"]).baseline


@pytest.mark.parametrize(
    ("text", "name"),
    [(" latent.validity >= 0.990 ", "latent.validity>=0.99"), ("latent.l1.p95<1e2", "latent.l1.p95<100"),
     ("latent.validity>=baseline-0.020", "latent.validity>=baseline-0.02"),
     ("latent.l1<=baseline+2", "latent.l1<=baseline+2"), ("latent.l1<=baseline", "latent.l1<=baseline")],
)  # fmt: skip
def test_a_gate_has_one_normal_form(text, name):
    gate = parse(text, ENGINES, baseline=ENGINES)
    assert gate.name == name and parse(gate.name, ENGINES, baseline=ENGINES).name == name


@pytest.mark.parametrize(
    ("text", "passed", "measured"),
    [
        ("latent.validity>=0.75", True, 0.75),
        ("latent.validity>0.75", False, 0.75),
        ("latent.l1<=20", True, 20),
        ("latent.l1<20", False, 20),
        ("latent.l1.median <= 10", True, 10),
        ("latent.l1.p95 <= 36", False, 37),
        ("latent.lpips<1", False, None),
    ],
)
def test_gates_measure_the_valid_ones_and_validity_all(answers, text, passed, measured):
    told = [(True, 10.0), (True, 10.0), (True, 40.0), (False, 1000.0)]
    summary = summarise(answers(latent=told), bundle=TOY)
    outcome = check_gate(parse(text, ENGINES), GATES, summary.figures, {})
    assert (outcome.passed, outcome.measured) == (passed, measured)
    assert outcome.says.startswith(f"{text}: {'passed' if passed else 'failed'}")
    assert str(measured) in outcome.says if measured is not None else "has no value" in outcome.says


@pytest.mark.parametrize(
    ("gate", "low", "high", "passed"),
    [
        # "not surely worse"
        (">=baseline", -0.02, 0.01, True), (">=baseline", -0.02, -0.01, False), (">=baseline", 0.01, 0.02, True),
        ("<=baseline", -0.02, 0.01, True), ("<=baseline", 0.01, 0.02, False), (">=baseline", 0.0, 0.0, True),
        # "surely better"; equality is not
        (">baseline", -0.02, 0.01, False), (">baseline", 0.01, 0.02, True), (">baseline", 0.0, 0.0, False),
        ("<baseline", -0.02, -0.01, True), ("<baseline", 0.0, 0.0, False), ("<baseline", -0.02, 0.0, False),
        # with a tolerance
        (">=baseline-0.02", -0.03, -0.01, True), (">=baseline-0.02", -0.04, -0.03, False),
        (">baseline+0.02", 0.01, 0.03, False), (">baseline+0.02", 0.03, 0.04, True),
        ("<=baseline+0.02", 0.01, 0.03, True), ("<=baseline+0.02", 0.03, 0.04, False),
    ],
)  # fmt: skip
def test_against_a_baseline_the_paired_interval_decides(gate, low, high, passed):
    parsed = parse(f"latent.validity{gate}", ENGINES, baseline=["latent"])
    change = Estimate((low + high) / 2, low, high, 0.0, 100)
    assert check_gate(parsed, GATES, NOTHING.figures, {("latent", "validity"): change}).passed is passed
    assert not check_gate(parsed, GATES, NOTHING.figures, {}).passed, "nothing to compare is no success"
    few = check_gate(parsed, GATES, NOTHING.figures, {("latent", "validity"): change}, least=101)
    assert not few.passed and "on 100 pairs only (--min-pairs 101)" in few.says


def test_few_pairs_prove_nothing(answers):
    summary = summarise(answers(latent=[(True, 10.0), (False, 1.0), (False, 1.0)]), bundle=TOY)
    gate = parse("latent.l1<=20", ENGINES)
    assert check_gate(gate, GATES, summary.figures, {}).passed
    outcome = check_gate(gate, GATES, summary.figures, {}, least=2)
    assert not outcome.passed and outcome.count == 1
    assert outcome.says.endswith(
        "failed, measured 10 on 1 pairs; median 10, p95 10, but on 1 pairs only (--min-pairs 2)"
    )


SUPERVISORS = Vocabulary(
    measures={each.name: each for each in (Measure("auroc", "AUROC", "higher", "share"),)},
    subject="supervisor",
    cases=("misclassified", "unlike"),
    example="rmd@misclassified.auroc>=0.9",
)


def test_any_command_has_gates_of_its_own_subjects_measures_and_cases():
    gate = parse_gate("rmd@misclassified.auroc>=0.9", SUPERVISORS, baseline=False)
    check_subjects([gate], SUPERVISORS, ["rmd", "msp"])
    figures = {"rmd@misclassified": {"auroc": Estimate(0.93, 0.91, 0.95, None, 400)}}
    outcome = check_gate(gate, SUPERVISORS, figures, {})
    assert outcome.passed and outcome.says.endswith("passed, measured 0.93 (93.0 %) on 400 images")
    assert outcome.as_json()["subject"] == "rmd@misclassified" and outcome.as_json()["count"] == 400
    few = check_gate(gate, SUPERVISORS, figures, {}, least=500)
    assert not few.passed and few.says.endswith("but on 400 images only (--min-images 500)")
    assert not check_gate(gate, SUPERVISORS, {}, {}).passed, "without a figure it fails"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rmd@misclasified.auroc>=0.9", "unknown case 'misclasified': did you mean 'misclassified'"),
        ("rmd.validity>=0.9", "unknown measure 'validity': known are auroc"),
        ("rnd@unlike.auroc>=0.9", "unknown supervisor 'rnd': did you mean 'rmd'"),
        ("auroc>=0.9", "expected SUPERVISOR[@CASE].MEASURE>=NUMBER, such as 'rmd@misclassified.auroc>=0.9'"),
    ],
)
def test_a_wrong_name_is_refused_in_the_words_of_the_command(text, says):
    with pytest.raises(UsageError) as error:
        check_subjects([parse_gate(text, SUPERVISORS, baseline=False)], SUPERVISORS, ["rmd", "msp"])
    assert says in str(error.value)
