"""Prints bundles for `cfx init` and `cfx train`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...answers.reach import FAR
from ...bundles.bundle import Bundle
from ...errors import few
from ...progress import in_minutes
from ...training.setup import InitReport
from ..info_models import part_about
from .information import grid, part_line


def print_bundle_parts(console: Console, bundle: Bundle) -> None:
    """Print where a bundle is, and the verdict or measurements of each part."""
    console.print(Text(f"bundle {bundle.name} in {bundle.directory}"))
    table = grid()
    for name, entry in bundle.parts.items():
        table.add_row(name, part_line(part_about(entry)))
    for name, why in bundle.file.left_out.items():
        table.add_row(name, Text(f"left out: {why}", "dim"))
    console.print(table)


def print_trial(console: Console, bundle: Bundle) -> None:
    """Print what the engines were worth in the trial, the best first; nothing if there was none."""
    trial = bundle.file.trial
    if not trial:
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("engine")
    for title in ("questions", "valid", "judges agree", "looks real", "seconds each"):
        table.add_column(title, justify="right")
    for name, entry in sorted(trial.items(), key=lambda each: each[0] != bundle.file.engine):
        shares = [
            "-" if share is None else f"{share:.0%}" for share in (entry.valid, entry.judges_agree, entry.looks_real)
        ]
        style = "bold" if name == bundle.file.engine else ""
        table.add_row(name, str(entry.questions), *shares, f"{entry.seconds:.2g}", style=style)
    console.print(table)


def print_reach(console: Console, bundle: Bundle) -> None:
    """Print which classes the bundle's engine seldom reached from which; nothing if that was not tried."""
    reach = bundle.file.reach
    if reach is None:
        return
    far = sorted((its.share, pair) for pair, its in reach.pairs.items() if its.share < FAR)
    found = [f"{bundle.classes[seen]} to {bundle.classes[target]} ({share:.0%})" for share, (seen, target) in far]
    some = few(found, 6) if found else "none"
    console.print(Text(f"far for {reach.engine}, of {len(reach.pairs)} pairs of classes: {some}"))


def print_checked(console: Console, checked: InitReport) -> None:
    """Print what `cfx init` found."""
    about = checked.file
    table = grid()
    size = "x".join(map(str, about.shape[1:]))
    colours = "grey" if about.shape[0] == 1 else "colour"
    counts = zip(checked.images.classes, checked.images.counts().tolist(), strict=True)
    each = [f"{name} {count}" for name, count in counts]
    table.add_row("images", Text(f"{len(checked.images)} in {colours}, read as {size} (height x width)"))
    table.add_row("classes", Text(f"{len(each)}: {few(each, 12)}"))
    entry = about.parts["classifier"].foreign if "classifier" in about.parts else None
    if checked.accuracy is None or entry is None:
        table.add_row("classifier", Text("none given: cfx train trains one"))
    else:
        right = f"right on {checked.accuracy:.1%} of {checked.looked_at} labelled images"
        table.add_row("classifier", Text(f"{entry.name} ({entry.kind}): {right}"))
        mistakes = "; ".join(f"{is_} seen as {seen} ({count})" for count, is_, seen in checked.confusions)
        table.add_row("mistakes", Text(mistakes or "none"))
    console.print(Text(f"bundle {about.name} created in {checked.directory}"), table, sep="\n")
    takes = f"the whole training takes up to about {in_minutes(checked.seconds)} on this machine"
    console.print(Text(f"next: cfx train {checked.directory} --budget 20m ({takes})", "dim"))
