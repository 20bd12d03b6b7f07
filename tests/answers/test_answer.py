"""An answer as JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cfx.answers.answer import Answer
from cfx.documents import Table
from cfx.errors import DataError


@pytest.fixture
def record(answer: Answer) -> Answer:
    """The answer as a run holds it."""
    return replace(
        answer,
        question=replace(answer.question, number=7, file="factuals/7.png"),
        files={"factual": "factuals/7.png", "counterfactual": "vcnet/7.png"},
        notes=("the image was inverted",),
    )


def test_what_a_run_holds_comes_back(record: Answer):
    table = Table(json.loads(json.dumps(record.as_json())), "records.jsonl line 1")
    again = Answer.from_json(table, record.envelope, Path("run"))
    assert again.as_json() == record.as_json() and again.key == record.key
    assert again.threshold == record.threshold
    assert again.question.number == 7 and again.question.file == "factuals/7.png"


def test_the_fields_of_schema_2(answer: Answer, record: Answer):
    names = (
        "input engine goal target factual counterfactual target_confidence valid place metrics cost files notes missing"
    )
    told = answer.as_json()
    assert list(told) == names.split() and list(record.as_json()) == ["pair", *names.split()]
    assert told["factual"] == {"class": "4", "confidence": 0.998}
    assert told["goal"] == "target" and told["place"] == 1
    cost = ["seconds", "steps", "forward_calls", "backward_calls"]
    assert told["cost"] == {"seconds": 0.0123, "steps": 3, "forward_calls": 20, "backward_calls": 4}
    assert list(Table(record.as_json(), "").need_table("cost").values) == [*cost, "peak_memory_mb"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"valid": "yes"}, "line 3: valid must be true or false, found 'yes'"),
        ({"place": True}, "line 3: place must be a whole number, found True"),
        ({"target": None}, "line 3: target is missing"),
        ({"factual": "4"}, "line 3: factual must be a table, found '4'"),
        ({"counterfactual": {"class": "9"}}, "line 3: counterfactual: confidence is missing"),
        ({"metrics": {"l1": "far"}}, "line 3: metrics: l1 must be a number, true, false or null, found 'far'"),
        ({"notes": ["a", 3]}, r"line 3: notes\[1\] must be text, found 3"),
        ({"missing": {"lpips": 1}}, "line 3: missing: lpips must be text, found 1"),
    ],
)
def test_a_damaged_record_is_refused(record: Answer, change: dict[str, object], message: str):
    damaged = {**record.as_json(), **change}
    with pytest.raises(DataError, match=message):
        Answer.from_json(Table(damaged, "line 3"), record.envelope, Path())
