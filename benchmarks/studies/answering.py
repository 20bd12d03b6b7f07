"""Answers more questions than fit into one batch, for studies that keep no run."""

from __future__ import annotations

from ...answers.answer import Answer
from ...answers.pipeline import AnswerOptions, answer_batch
from ...answers.question import QuestionBatch
from ...bundles.bundle import Bundle
from ...counterfactuals.engine import Engine

BATCH = 100  # images


def answer_all(bundle: Bundle, name: str, engine: Engine, batch: QuestionBatch, options: AnswerOptions) -> list[Answer]:
    """The answers of an engine, in the order of `answer_batch`, whose arguments these are."""
    parts = (batch.only(range(start, min(start + BATCH, len(batch)))) for start in range(0, len(batch), BATCH))
    return [answer for part in parts for answer in answer_batch(bundle, name, engine, part, options)]
