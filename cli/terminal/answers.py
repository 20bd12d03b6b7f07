"""Prints the answers of `cfx explain`: as a card, as a line, and as a table that compares the engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...answers.answer import COUNTS, Answer
from ...answers.wording import looks, percent
from ...errors import printable
from ...metrics.catalogue import BY_NAME, METRICS, Metric
from ...reports.tables import ARROWS

MEASURED = (
    "measured on the 8-bit PNG that was written; no engine uses the judges (other classifiers, autoencoders, "
    "real images); docs/metrics.md explains each number"
)


def line(*parts: str | tuple[str, str] | Text) -> Text:
    """One line of text and styled text, in which names from outside cannot control the terminal."""
    safe: list[str | tuple[str, str] | Text] = []
    for part in parts:
        if isinstance(part, tuple):
            safe.append((printable(part[0]), part[1]))
        else:
            safe.append(part if isinstance(part, Text) or part == "\n" else printable(part))
    return Text.assemble(*safe)


def print_card(console: Console, answer: Answer) -> None:
    """Print one answer as a card: what the model sees, what the judges say, and what the search cost."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("input", line(f"{answer.question.source.name}: the model sees {answer.factual}"))
    grid.add_row("asked", line(f"what would make it {answer.wording}? engine {answer.label}"))
    within = answer.question.within
    if within is not None:
        grid.add_row("where", line(f"{within.words}: {percent(within.share)} of the pixels may change"))
    if answer.of > 1:
        place = f"{answer.place} of {answer.of}; they differ by L1 {number(answer.diversity)} on average"
        grid.add_row("place", Text(place))
    grid.add_row("answer", validity(answer))
    grid.add_row("judges", judgement(answer))
    grid.add_row("changed", Text(changes(answer)))
    im1, im2 = answer.value("im1"), answer.value("im2")
    grid.add_row("IM1, IM2", Text(f"{number(im1)}, {number(im2)}   lower is better"))
    forward, backward = answer.cost.forward_calls or 0, answer.cost.backward_calls or 0
    split = f"{forward} forward, {backward} backward"
    seconds = number(answer.cost.seconds)
    grid.add_row(
        "cost", Text(f"{answer.cost.steps} steps, {forward + backward} classifier calls ({split}), {seconds} s")
    )
    grid.add_row("files", Text("\n".join(printable(path) for path in answer.files.values())))
    console.print(grid)
    console.print()


def validity(answer: Answer) -> Text:
    """Whether the counterfactual is valid, and what the model sees in it."""
    needed = f"{100 * answer.threshold:g} % needed"
    if answer.valid and answer.question.is_met(answer.threshold):
        return line(("valid", "bold green"), f": the model sees {answer.factual} already, nothing needs to change")
    if answer.valid:
        since = "still" if answer.counterfactual.name == answer.factual.name else "now"
        return line(("valid", "bold green"), f": the model {since} sees {answer.counterfactual}, {needed}")
    sure = f"{percent(answer.target_confidence)} for {answer.target}, {needed}"
    sees = f": the model sees {answer.counterfactual}; {sure}"
    return line(("not valid", "bold red"), sees)


def judgement(answer: Answer) -> Text:
    """What the judges see in the counterfactual, and whether it looks real."""
    agrees, sure = answer.metrics.get("judge_agrees"), answer.value("judge_confidence")
    if agrees is None or sure is None:
        return line("cannot say: there are none")
    verdict = ("agree", "green") if agrees else ("disagree", "bold yellow")
    target = answer.target
    text = line(verdict, f": classifiers that no engine uses give {target} {percent(sure)}", *referee(answer))
    realism, sharpness = answer.value("realism_percentile"), answer.value("sharpness_percentile")
    if realism is None:
        return text
    typical = f"more typical than {realism:.0f} % of real images of {target}"
    real = answer.metrics.get("looks_real")
    if real is None or sharpness is None:
        why = answer.missing.get("looks_real", "the sharpness and noise of real images are not known")
        return line(text, "\n", typical, f"; whether it looks real is not known: {why}")
    style = "green" if real else "bold yellow"
    return line(text, "\n", (looks(answer.metrics), style), f"; {typical}, sharper than {sharpness:.0f} %")


def referee(answer: Answer) -> list[str | tuple[str, str]]:
    """What the referee sees in the counterfactual; nothing without one."""
    agrees = answer.metrics.get("referee_agrees")
    if agrees is None:
        return []
    return ["; the referee ", ("agrees", "green") if agrees else ("disagrees", "bold yellow")]


def changes(answer: Answer) -> str:
    """How far the counterfactual is from the factual."""
    share = answer.value("l0")
    distances = (
        [] if share is None else [f"{round(share * answer.pictures.factual[0].numel())} pixels ({percent(share)})"]
    )
    distances += [f"{name.upper()} {number(answer.value(name))}" for name in ("l1", "l2")]
    lpips = answer.value("lpips")
    why = answer.missing.get("lpips", "")
    without = why if why.startswith("not asked for") else "not available (see cfx info)"
    distances.append(f"LPIPS {without if lpips is None else number(lpips)}")
    return ", ".join(distances)


def print_row(console: Console, answer: Answer) -> None:
    """Print one answer as a line, for runs of many images."""
    agrees, percentile = answer.metrics.get("judge_agrees"), answer.value("realism_percentile")
    verdict = ("valid", "green") if answer.valid else ("not valid", "bold red")
    if agrees is None:
        judge = ("no judge", "dim")
    else:
        judge = ("judges agree", "green") if agrees else ("judges disagree", "yellow")
    text = line(f"{answer.question.source.name}: {answer.factual.name} to {answer.target}, {answer.label}, ")
    text = line(text, verdict, f" {percent(answer.target_confidence)}, ", judge)
    text.append(f", realism {number(percentile)}, L1 {number(answer.value('l1'))}, {number(answer.cost.seconds)} s")
    console.print(text, soft_wrap=True)


def number(value: float | None) -> str:
    """A value with three significant digits; "-" if it is None."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass
class RunningMeans:
    """Counts and sums over one engine's answers, from which the final table is made in constant memory."""

    images: int = 0
    valid: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, answer: Answer, *, alone: bool) -> None:
        """Count an answer. Its metrics are added only if it is valid, or if it is the only one (`alone`)."""
        self.images += 1
        self.valid += answer.valid
        if not (answer.valid or alone):
            return
        for name in (*answer.metrics, *COUNTS, "seconds"):
            value = answer.value(name)
            if value is not None:
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1

    def mean(self, name: str) -> float | None:
        """The mean over the answers that have a value; None if there are none."""
        return self.sums[name] / self.counts[name] if self.counts.get(name) else None


LEFT_OUT = ("validity", "confidence", "judge_confidence")
"""Metrics that the final table does not list: validity is its first row, and the threshold decides the others."""


def print_comparison(console: Console, means: Mapping[str, RunningMeans]) -> None:
    """Print a table with one column per engine: the values for one image, or the means over several."""
    alone = all(engine.images == 1 for engine in means.values())
    images = max(engine.images for engine in means.values())
    title = "the engines on this image" if len(means) > 1 else "on this image"
    if not alone:
        title = f"{images} images; shares and means over the valid counterfactuals"
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("", style="dim", no_wrap=True)
    for label in means:
        table.add_column(label.replace(" ", "\n"), justify="right", header_style="bold")

    def shown(metric: Metric, value: float | None) -> str:
        if alone and metric.yes_or_no and value is not None:
            return "yes" if value else "no"
        return metric.shown(value)

    validity = [engine.valid / engine.images for engine in means.values()]
    table.add_row(f"{ARROWS['higher']} valid", *(shown(BY_NAME["validity"], value) for value in validity))
    for metric in METRICS:
        values = [engine.mean(metric.name) for engine in means.values()]
        if metric.name not in LEFT_OUT and any(value is not None for value in values):
            table.add_row(f"{ARROWS[metric.better]} {metric.label}", *(shown(metric, value) for value in values))
    console.print(Text(title, "bold"), table, Text("↑ higher is better, ↓ lower", "dim"), "", sep="\n")
