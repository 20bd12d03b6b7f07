"""The summary of a run: means with intervals by engine, metric and basis. docs/run.md describes its JSON.

A basis is a set of questions that a figure is computed over. There are three: `all` questions (for validity and cost),
the `valid` ones that the engine solved itself, and the `common` ones that all compared engines solved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..documents import Table, read_json, to_json
from ..errors import UsageError
from ..files import write_text
from ..intervals import Estimate
from ..metrics.catalogue import BY_NAME, METRICS
from ..runs.directory import SUMMARY
from ..runs.gates import Outcome

SCHEMA = 2
Basis = Literal["all", "valid", "common"]
BASES: tuple[Basis, ...] = ("all", "valid", "common")

Figures = Mapping[Basis, Estimate | None]
"""One metric of one engine, on each basis that it is computed over; None if it has no value."""


@dataclass(frozen=True, kw_only=True)
class BundleName:
    """The bundle that a run explains: its name, and the sha256 of its bundle.toml."""

    name: str
    digest: str

    @classmethod
    def from_json(cls, table: Table) -> BundleName:
        """The inverse of `vars`."""
        return cls(name=table.need("name", str), digest=table.need("digest", str))


@dataclass(frozen=True, kw_only=True)
class EngineSummary:
    """One engine of a summary.

    Attributes:
        control: whether it is a control. Figures of controls are over all of their answers.
        pairs: number of questions.
        valid: number of questions that it solved.
        metrics: figures by metric, in the catalogue's order.
        pool: number of real images that a control chooses from; None if it does not.
    """

    control: bool
    pairs: int
    valid: int
    metrics: Mapping[str, Figures]
    pool: int | None = None

    @property
    def kind(self) -> str:
        """What stands with its name in tables: "control", for some with the number of images; "" for an engine."""
        if not self.control:
            return ""
        return "control" if self.pool is None else f"control, of {self.pool:,}"

    @property
    def seconds(self) -> float:
        """Seconds of all its searches; 0 if they were not measured."""
        found = self.estimate("seconds", "all")
        return 0.0 if found is None else found.mean * found.count

    def basis_of(self, metric: str, wanted: Basis) -> Basis | None:
        """The basis to read a metric on: `wanted` if the metric has it, else the one it has; None if it has none."""
        figures = self.metrics.get(metric, {})
        if wanted in figures:
            return wanted
        return next((basis for basis in BASES if basis in figures), None)

    def estimate(self, metric: str, basis: Basis = "valid") -> Estimate | None:
        """One figure; None if it has no value."""
        found = self.basis_of(metric, basis)
        return self.metrics[metric][found] if found else None

    def as_json(self) -> dict[str, object]:
        """The JSON object."""
        metrics = {
            name: {basis: None if figure is None else asdict(figure) for basis, figure in figures.items()}
            for name, figures in self.metrics.items()
        }
        pool = {} if self.pool is None else {"pool": self.pool}
        return {"control": self.control, **pool, "pairs": self.pairs, "valid": self.valid, "metrics": metrics}

    @classmethod
    def from_json(cls, table: Table) -> EngineSummary:
        """The inverse of `as_json`."""
        metrics: dict[str, Figures] = {}
        for name, by_basis in table.tables("metrics").items():
            figures: dict[Basis, Estimate | None] = {}
            for basis in BASES:
                if basis in by_basis.values:
                    found = by_basis.table(basis)
                    figures[basis] = None if found is None else _estimate(found)
            metrics[name] = figures
        return cls(
            control=table.need("control", bool),
            pairs=table.need("pairs", int),
            valid=table.need("valid", int),
            metrics=metrics,
            pool=table.get("pool", int),
        )


def _estimate(table: Table) -> Estimate:
    low, high, median, p95 = (table.get(name, float) for name in ("low", "high", "median", "p95"))
    return Estimate(table.need("mean", float), low, high, median, table.need("count", int), p95)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The summary of one run, or of several runs together.

    Attributes:
        bundle: the bundle that was explained.
        pairs: number of questions; None if several runs asked different ones.
        common_pairs: number of questions that all compared engines solved.
        compared: names of the engines that are compared, which are all but the controls.
        engines: the engines by name, in the order of the tables.
        notes: sentences for the reader.
        gates: the outcomes of the last command's gates.
        finished: date and time when the last question was answered, UTC; "" for several runs together.
        records: sha256 of the records that the figures are computed from; "" for several runs together.
    """

    bundle: BundleName
    pairs: int | None
    common_pairs: int
    compared: tuple[str, ...]
    engines: Mapping[str, EngineSummary]
    notes: tuple[str, ...] = ()
    gates: tuple[Outcome, ...] = ()
    finished: str = ""
    records: str = ""

    @property
    def controls(self) -> list[str]:
        """The names of the controls."""
        return [name for name, engine in self.engines.items() if engine.control]

    @property
    def figures(self) -> dict[str, dict[str, Estimate | None]]:
        """By engine and metric: means over an engine's valid answers; validity and cost over all answers."""
        return {
            name: {metric: engine.estimate(metric) for metric in engine.metrics}
            for name, engine in self.engines.items()
        }

    def best(self, metric: str, basis: Basis) -> set[str]:
        """The engines with the best mean of a metric, not counting controls; empty if there is nothing to compare."""
        better, shown = BY_NAME[metric].better, BY_NAME[metric].shown
        means = {}
        for name, engine in self.engines.items():
            found = engine.estimate(metric, basis)
            if found is not None and not engine.control:
                means[name] = shown(found.mean), found.mean
        if better is None or len(means) < 2:
            return set()
        choose = max if better == "higher" else min
        top = choose(means.values(), key=lambda each: each[1])[0]
        winners = {name for name, (text, _) in means.items() if text == top}  # means that print the same are equal
        return set() if len(winners) == len(means) else winners

    def as_json(self) -> dict[str, object]:
        """The JSON object."""
        return {
            "schema": SCHEMA,
            "bundle": vars(self.bundle),
            "pairs": self.pairs,
            "common_pairs": self.common_pairs,
            "compared": list(self.compared),
            "engines": {name: engine.as_json() for name, engine in self.engines.items()},
            "notes": list(self.notes),
            "gates": [outcome.as_json(subject="engine", count="pairs") for outcome in self.gates],
            "finished": self.finished,
            "records": self.records,
        }

    @classmethod
    def from_json(cls, table: Table) -> Summary:
        """The inverse of `as_json`."""
        return cls(
            bundle=BundleName.from_json(table.need_table("bundle")),
            pairs=table.get("pairs", int),
            common_pairs=table.need("common_pairs", int),
            compared=table.several("compared", str) or (),
            engines={name: EngineSummary.from_json(each) for name, each in table.tables("engines").items()},
            notes=table.several("notes", str) or (),
            gates=tuple(
                Outcome.from_json(each, subject="engine", count="pairs") for each in table.list_of_tables("gates")
            ),
            finished=table.get("finished", str) or "",
            records=table.get("records", str) or "",
        )

    def write(self, directory: Path) -> None:
        """Write summary.json into a run's directory.

        Raises:
            OutputError: the file could not be written.
        """
        write_text(directory / SUMMARY, to_json(self.as_json(), indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Summary:
        """Read the summary of a finished run.

        Raises:
            UsageError: the run is not finished.
            DataError: the file is damaged.
        """
        try:
            return cls.from_json(read_json(directory / SUMMARY, SCHEMA, "; remove it and run the command again"))
        except FileNotFoundError as error:
            raise UsageError(
                f"{directory}: the run is not finished (no {SUMMARY}); resume it with the command in its manifest.json"
            ) from error


def in_order(figures: Mapping[str, Figures]) -> dict[str, Figures]:
    """Sort figures into the catalogue's order."""
    return {metric.name: figures[metric.name] for metric in METRICS if metric.name in figures}
