"""Prints the information of `cfx info` as text."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...counterfactuals.fidelity import Fidelity
from ...counterfactuals.preset import Preset
from ...counterfactuals.settings import text_of
from ..information import BundleAbout, EngineAbout, EngineDetails, Information, PartAbout


def print_information(console: Console, information: Information) -> None:
    """Print the versions, then one table each for devices, engines, bundles, and what is not available."""
    torch = information.torch or "missing"
    console.print(Text(f"cfx {information.version}, Python {information.python}, torch {torch}"))
    tables = {title: grid() for title in ("devices", "engines", "bundles", "not available")}
    for device in information.devices:
        state = ("available", "green") if device.available else ("not available", "dim")
        tables["devices"].add_row(device.name, Text.assemble(state, "  ", device.detail))
    for engine in information.engines:
        mark = " (default)" if engine.default else " (control)" if engine.control else ""
        needs = ", ".join(engine.needs) or "no model"
        source = f"{engine.paper} ({faithful(engine.fidelity)})"
        about = Text.assemble(engine.summary, (f"\nneeds {needs}{uses(engine)}; {source}", "dim"))
        tables["engines"].add_row(engine.name + mark, about)
    for bundle in information.bundles:
        tables["bundles"].add_row(bundle.name, bundle_lines(bundle))
        for name, part in bundle.parts.items():
            tables["bundles"].add_row(f"  {name}", part_line(part))
        for name, why in bundle.lacks.items():
            tables["bundles"].add_row(f"  {name}", Text(why, "dim"))
        for name, values in bundle.settings.items():
            told = ", ".join(f"{setting}={text_of(value)}" for setting, value in values.items())
            tables["bundles"].add_row(f"  {name}", Text(f"asked with {told}, unless --set says otherwise", "dim"))
    for missing in information.unavailable:
        tables["not available"].add_row(missing.what, Text(missing.why))
    for title, table in tables.items():
        if table.row_count:
            console.print()
            console.print(Text(title, "bold"))
            console.print(table)


def uses(engine: EngineAbout) -> str:
    """The parts of a bundle that an engine uses where there are any, as the end of a sentence."""
    return f"; uses {', '.join(engine.uses)} if the bundle has it" if engine.uses else ""


def faithful(fidelity: Fidelity) -> str:
    """How near an engine is to its source, and how it departs from it."""
    return f"fidelity: {fidelity.kind}" + (f"; {fidelity.departs}" if fidelity.departs else "")


def print_engine(console: Console, details: EngineDetails) -> None:
    """Print what an engine does, what it needs, and its settings."""
    engine = details.engine
    needs = ", ".join(engine.needs) or "no part of a bundle"
    gradients = "gradients of the classifier" if details.gradients else "no gradients: it explains black boxes, too"
    console.print(Text.assemble((engine.name, "bold"), f": {engine.summary}"))
    source = f"{engine.paper}\n{faithful(engine.fidelity)}"
    console.print(Text(f"{source}\nneeds {needs}, and {gradients}{uses(engine)}", "dim"))
    if engine.plugin is not None:
        console.print(Text(f"from the package {engine.plugin}", "dim"))
    if details.caution is not None:
        console.print(Text(details.caution, "yellow"))
    console.print()
    if not details.settings:
        console.print("it has no settings")
        return
    table = Table("setting", "type", "default", "what it is", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for each in details.settings:
        ends = ((">=", each.least), ("<=", each.most))
        limits = [f"{sign} {end:g}" for sign, end in ends if end is not None]
        what = Text(f"{each.what} ({', '.join(limits)})" if limits else each.what)
        if each.source:
            what.append(f"\n{each.source}", "dim")
        table.add_row(Text(each.name), Text(each.type), Text(text_of(each.default)), what)
    console.print(table)
    console.print(f"\nchange one with --set {engine.name}.{details.settings[0].name}=VALUE")
    for name, preset in details.presets.items():
        console.print()
        console.print(preset_lines(engine.name, name, preset))


def preset_lines(engine: str, name: str, preset: Preset) -> Text:
    """The settings of a preset and how to ask for them, what its source reports, and what still differs."""
    options = [f"--set {engine}.preset={name}"]
    if "confidence" in preset.settings:
        options.append(f"--confidence {text_of(preset.settings['confidence'])}")
    told = ", ".join(f"{each}={text_of(value)}" for each, value in preset.settings.items() if each != "confidence")
    return Text.assemble(
        ("preset ", "bold"),
        (name, "bold"),
        f", asked for with {' '.join(options)}: {told}\n",
        (f"published: {preset.published}\ndiffers: {preset.differs}", "dim"),
    )


def bundle_lines(bundle: BundleAbout) -> Text:
    """The classes of a bundle, its directory, and whether its files are intact."""
    intact = ("files verified (sha256)", "green") if bundle.verified else (bundle.problem or "", "bold red")
    shape = "x".join(str(side) for side in bundle.shape)
    about = f"{shape} pixels, {len(bundle.classes)} classes: {', '.join(bundle.classes)}\n"
    return Text.assemble(about, f"{bundle.directory}, {bundle.bytes / 1e6:.1f} MB\n", intact)


STYLES = {"good": "green", "weak": "bold yellow", "useless": "bold red"}


def part_line(part: PartAbout) -> Text:
    """The verdict on a part and its reason; without a verdict its architecture, checksum and measurements."""
    if part.verdict is not None:
        cut_short = f" ({part.trained})" if part.trained and part.trained.startswith("cut short") else ""
        return Text.assemble((f"{part.verdict}: ", STYLES[part.verdict]), part.because or "", cut_short)
    measured = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in part.measured.items())
    digest = f"  sha256 {part.sha256[:12]}" if part.sha256 else ""
    return Text.assemble(part.architecture, (f"{digest}  ", "dim"), measured)


def grid() -> Table:
    """An empty grid: names on the left, descriptions on the right."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table
