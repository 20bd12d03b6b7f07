"""The options of commands whose runs can be resumed and gated, parsed before torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...errors import UsageError
from ...runs.gates import Gate, Vocabulary, parse_gate
from .choices import check_output, check_run, seconds
from .types import given_path

FailUnderOption = Annotated[
    list[str] | None,
    typer.Option(metavar="EXPR", help="Gate that the run must pass, such as 'latent.validity>=0.99'; repeatable."),
]
BaselineOption = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Earlier run on the same questions to compare with.", parser=given_path),
]
JUnitOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the gates to FILE as a JUnit report.", parser=given_path),
]
TimeoutOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Stop after TIME, such as 20m, with exit code 1; the run can be resumed."),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Directory of the run  [default: runs/, named after the settings]", parser=given_path
    ),
]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Start anew: first delete the files of the run in the directory.")
]


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """What a command with gates was asked, parsed.

    Attributes:
        vocabulary: what its gates may name.
        gates: the gates.
        least: a gate fails if its figure is computed over fewer images or questions.
        seconds: seconds after which the command stops; None for no limit.
        baseline: directory of an earlier run.
        junit: file of the JUnit report.
        fresh: delete the run in the directory first.
    """

    vocabulary: Vocabulary
    gates: tuple[Gate, ...] = ()
    least: int = 1
    seconds: float | None = None
    baseline: Path | None = None
    junit: Path | None = None
    fresh: bool = False


def gate_options(
    vocabulary: Vocabulary,
    fail_under: Sequence[str] | None = None,
    *,
    least: int = 1,
    timeout: str | None = None,
    baseline: Path | None = None,
    junit: Path | None = None,
    fresh: bool = False,
) -> GateOptions:
    """Check and parse the options of a command with gates, and delete the report of an earlier run.

    The arguments are the options as they were given.

    Raises:
        UsageError: a gate or the time cannot be parsed, there is nothing to report, or a path cannot be what it is for.
    """
    check_output("--junit", junit, directory=False)
    check_run("--baseline", baseline)
    if junit is not None and not fail_under:
        raise UsageError("--junit: reports gates, and there are none; give at least one --fail-under")
    gates = tuple(parse_gate(text, vocabulary, baseline=baseline is not None) for text in fail_under or ())
    limit = None if timeout is None else seconds("--timeout", timeout)
    if junit is not None:
        junit.unlink(missing_ok=True)  # a report of an earlier run must not be taken for one of this run
    return GateOptions(
        vocabulary=vocabulary,
        gates=gates,
        least=least,
        seconds=limit,
        baseline=baseline,
        junit=junit,
        fresh=fresh,
    )
