"""The answers of `cfx explain` in the terminal: as a card, as a line, in the table that compares engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..metrics.catalogue import BY_NAME, METRICS, Metric
from .record import Explanation, percent, with_article

MEASURED = (
    "measured on the 8-bit PNG that was written; the judges (other classifiers, autoencoders, real images) "
    "were used by no engine; what each number means: docs/metrics.md"
)
DIRECTIONS = "distances, IM1, IM2 and cost: lower is better; the others: higher"


def print_card(console: Console, explanation: Explanation) -> None:
    """The answer for one image and one engine: what the model sees, whether to believe it, what it took."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    about = explanation
    grid.add_row("input", Text(f"{about.input}: the model sees {about.factual}"))
    grid.add_row("asked", Text(f"what would make it {with_article(about.target)}? engine {about.label}"))
    grid.add_row("answer", validity(about))
    grid.add_row("judges", judgement(about))
    grid.add_row("changed", Text(changes(about)))
    im1, im2 = about.score("im1"), about.score("im2")
    grid.add_row("IM1, IM2", Text(f"{number(im1)}, {number(im2)}   lower is better"))
    calls = about.cost.forward_calls + about.cost.backward_calls
    split = f"{about.cost.forward_calls} forward, {about.cost.backward_calls} backward"
    seconds = number(about.cost.seconds)
    grid.add_row("cost", Text(f"{about.cost.steps} steps, {calls} classifier calls ({split}), {seconds} s"))
    grid.add_row("files", Text("\n".join(str(path) for path in about.files.values())))
    console.print(grid)
    console.print()


def validity(explanation: Explanation) -> Text:
    """Whether the counterfactual is valid, and what the model sees in it."""
    needed = f"{100 * explanation.threshold:g} % needed"
    if explanation.valid:
        return Text.assemble(("valid", "bold green"), f": the model now sees {explanation.counterfactual}, {needed}")
    sure = f"{percent(explanation.confidence)} for {explanation.target}, {needed}"
    sees = f": the model sees {explanation.counterfactual}; {sure}"
    return Text.assemble(("not valid", "bold red"), sees)


def judgement(explanation: Explanation) -> Text:
    """What models that no engine uses say of it."""
    agrees, sure = explanation.scores.get("judge_agrees"), explanation.score("judge_confidence")
    if agrees is None or sure is None:
        return Text("cannot say: the bundle has none")
    verdict = ("agree", "green") if agrees else ("disagree", "bold yellow")
    target = explanation.target
    text = Text.assemble(verdict, f": classifiers that no engine uses give {target} {percent(sure)}")
    real, percentile = explanation.scores.get("looks_real"), explanation.score("realism_percentile")
    if percentile is not None:
        looks = ("looks real", "green") if real else ("does not look real", "bold yellow")
        text = Text.assemble(text, "\n", looks, f": more typical than {percentile:.0f} % of real images of {target}")
    return text


def changes(explanation: Explanation) -> str:
    """How far it is from the factual."""
    share = explanation.score("l0")
    parts = [] if share is None else [f"{round(share * explanation.pixels)} pixels ({percent(share)})"]
    parts += [f"{name.upper()} {number(explanation.score(name))}" for name in ("l1", "l2")]
    lpips = explanation.score("lpips")
    asked = not any(note.startswith("lpips: not asked for") for note in explanation.notes)
    without = "not available (see cfx info)" if asked else "not asked for (--lpips)"
    parts.append(f"LPIPS {without if lpips is None else number(lpips)}")
    return ", ".join(parts)


def print_row(console: Console, explanation: Explanation) -> None:
    """The answer on one line, for when there are many."""
    about = explanation
    agrees, percentile = about.scores.get("judge_agrees"), about.score("realism_percentile")
    verdict = ("valid", "green") if about.valid else ("not valid", "bold red")
    if agrees is None:
        judge = ("no judge", "dim")
    else:
        judge = ("judges agree", "green") if agrees else ("judges disagree", "yellow")
    text = Text(f"{about.input}: {about.factual.name} to {about.target}, {about.label}, ")
    text = Text.assemble(text, verdict, f" {percent(about.confidence)}, ", judge)
    text.append(f", realism {number(percentile)}, L1 {number(about.score('l1'))}, {number(about.cost.seconds)} s")
    console.print(text, soft_wrap=True)


def number(value: float | None) -> str:
    """Three significant digits, or a dash where there is no value."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass
class Tally:
    """Counts and sums over one engine's answers: what the closing table needs, in constant memory."""

    images: int = 0
    valid: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, explanation: Explanation, *, alone: bool) -> None:
        """Count an answer in; its numbers too, where it is valid, or `alone` and not averaged with others."""
        self.images += 1
        self.valid += explanation.valid
        if not (explanation.valid or alone):
            return
        cost = explanation.cost
        values: dict[str, float | None] = {name: explanation.score(name) for name in explanation.scores}
        values |= {name: getattr(cost, name) for name in ("steps", "forward_calls", "backward_calls", "seconds")}
        for name, value in values.items():
            if value is not None:
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1

    def mean(self, name: str) -> float | None:
        """The mean over the answers that have a value, or None."""
        return self.sums[name] / self.counts[name] if self.counts.get(name) else None


LEFT_OUT = ("validity", "confidence", "judge_confidence")
"""Metrics without a row in the table of a few images: the first row, and what the threshold decides."""


def print_comparison(console: Console, tallies: Mapping[str, Tally]) -> None:
    """One column an engine: the numbers of the one image, or the means over several."""
    alone = all(tally.images == 1 for tally in tallies.values())
    images = max(tally.images for tally in tallies.values())
    title = "the engines on this image" if len(tallies) > 1 else "on this image"
    if not alone:
        title = f"{images} images; shares and means over the valid counterfactuals"
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("", style="dim", no_wrap=True)
    for label in tallies:
        table.add_column(label.replace(" ", "\n"), justify="right", header_style="bold")

    def shown(metric: Metric, value: float | None) -> str:
        if alone and metric.yes_or_no and value is not None:
            return "yes" if value else "no"
        return metric.shown(value)

    validity = [tally.valid / tally.images for tally in tallies.values()]
    table.add_row("valid", *(shown(BY_NAME["validity"], value) for value in validity))
    for metric in METRICS:
        values = [tally.mean(metric.name) for tally in tallies.values()]
        if metric.name not in LEFT_OUT and any(value is not None for value in values):
            table.add_row(metric.label, *(shown(metric, value) for value in values))
    console.print(Text(title, "bold"), table, Text(DIRECTIONS, "dim"), "", sep="\n")
