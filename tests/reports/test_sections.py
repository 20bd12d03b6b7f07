"""The laws of sections, over one of each kind; and what each kind says and does in a browser."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cfx.errors import DataError
from cfx.metrics.catalogue import BY_NAME
from cfx.metrics.measure import Measure
from cfx.reports import section
from cfx.reports.gallery import GalleryItem, WorstAnswers
from cfx.reports.page import Page, asset, fitted
from cfx.reports.pictures import Picture
from cfx.reports.section import Section, as_script, size
from cfx.reports.sections.cards import Card, Cards
from cfx.reports.sections.curve import Curve, CurvePoint
from cfx.reports.sections.facts import Facts
from cfx.reports.sections.gallery import Gallery
from cfx.reports.sections.gates import Gates
from cfx.reports.sections.glossary import OF_COUNTERFACTUALS
from cfx.reports.sections.notes import Notes
from cfx.reports.sections.scatter import Scatter, ScatterPoint
from cfx.reports.sections.strip import Strip
from cfx.runs.gates import Outcome

Browser = Any  # conftest's Browser
HOSTILE = '</script><img src=x onerror="alert(1)">{{data}}<!--\udcff'
FIRST = Measure("first", "first axis", None, "number")
ROTATION = Measure("rotation", "rotation", None, "number", unit="°")
ACCURACY = Measure("accuracy", "accuracy", "higher", "share")


def item(place: int, before: Path | bytes, after: Path | bytes, engine: str = "leap") -> GalleryItem:
    """Answer number `place`; the lower `place`, the worse."""
    metrics = {"judge_agrees": True, "looks_real": True, "realism_percentile": place / 1000, "l1": 12.5}
    return GalleryItem(f"image {place}", engine, "4", 0.99, "9", "9", 0.95, True, metrics, before, after)


def curve(title: str = "Accuracy by rotation") -> Curve:
    lines = {
        name: [
            CurvePoint(x, 0.9 - drop * abs(x), 0.85 - drop * abs(x), 0.95 - drop * abs(x)) for x in range(-30, 31, 10)
        ]
        for name, drop in (("all", 0.005), ("of 4", 0.01), (HOSTILE, 0.02))
    }
    without = {"chance": [CurvePoint(-30, 0.1), CurvePoint(30, 0.1)]}
    return Curve(
        id="curve", title=title, series=lines | without, x=ROTATION, y=ACCURACY, text="It falls on both sides."
    )


def scatter(pictures: list[bytes], count: int = 60) -> Scatter:
    points = [ScatterPoint(n % 17, n * 7 % 23, f"digit {n}", f"class {n % 10}", pictures[n % 20]) for n in range(count)]
    return Scatter(
        id="scatter", title="Groups", points=points, x=Measure("first", "first axis", None, "number"), y=BY_NAME["l1"]
    )


def strip(pictures: list[bytes]) -> Strip:
    shown = [Picture(png, f"a digit, {n}", f"{10 * n}° {HOSTILE}") for n, png in enumerate(pictures)]
    return Strip(id="strip", title="One image, turned", pictures=shown, text="From left to right.")


def cards(pictures: list[bytes]) -> Cards:
    shown = [Picture(png, f"a digit, {n}", "seen as 9") for n, png in enumerate(pictures)]
    found = [
        Card(title=f"4 and 9 are mixed up, {n}", sentence=f"Where it is narrow. {HOSTILE}",
             figures={"share": "12.0 % (8.1 to 17.3)", "members": "40"}, pictures=shown[5 * n : 5 * n + 5])
        for n in range(4)
    ]  # fmt: skip
    return Cards(id="cards", title="Findings", cards=found, text="The largest first.")


@pytest.fixture
def every(pictures: list[bytes]) -> dict[str, Section]:
    """One section of each kind that stands alone."""
    outcome = Outcome(gate="g", subject="leap", passed=True, measured=1.0, count=3, says=HOSTILE)
    items = [item(place, pictures[place], pictures[19 - place]) for place in range(20)]
    found: list[Section] = [
        Facts(id="facts", facts={"command": HOSTILE, HOSTILE: "1"}),
        OF_COUNTERFACTUALS,
        Gates(id="gates", outcomes=[outcome]),
        Notes(id="notes", notes=[HOSTILE]),
        curve(),
        scatter(pictures),
        strip(pictures),
        cards(pictures),
        Gallery.of(items),
    ]
    return {each.id: each for each in found}


KINDS = ("facts", "reading", "gates", "notes", "curve", "scatter", "strip", "cards", "answers")
WITH_PICTURES = ("scatter", "strip", "cards", "answers")


def true_weight(section: Section) -> int:
    data = section.data()
    return size(section.html()) + (0 if data is None else size(as_script(data)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_section_weighs_what_it_puts_into_the_page(every: dict[str, Section], kind: str):
    weight, true = every[kind].weight(), true_weight(every[kind])
    assert true <= weight <= true + 400 + 130 * 20, "a little more is allowed: a note, and the tags of twenty pictures"


@pytest.mark.parametrize("kind", KINDS)
def test_a_section_fits_into_the_room_it_is_given_and_says_what_it_left_out(every: dict[str, Section], kind: str):
    whole = every[kind]
    assert whole.fit(whole.weight()) is whole
    least = whole.fit(0)
    assert (least is not whole) == (kind in WITH_PICTURES)
    for share in (0.0, 0.3, 0.7, 0.95):
        room = int(least.weight() + share * (whole.weight() - least.weight()))
        part = whole.fit(room)
        assert part.weight() <= max(room, least.weight()) and true_weight(part) <= part.weight()
        assert ("not on this page" in part.html()) == (kind in WITH_PICTURES)
        again = part.fit(part.weight())
        assert again is part, "what fits stays as it is"


@pytest.mark.parametrize("kind", KINDS)
def test_a_section_escapes_and_refers_to_nothing(every: dict[str, Section], kind: str):
    html = every[kind].html()
    assert "onerror=" not in re.sub(r"onerror=&quot;", "", html) and "<!--" not in html
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'(?:src|href)="([^"]*)"', html))
    for name in every[kind].assets:
        assert asset(name)
    ids = re.findall(r'\sid="([^"]*)"', html)
    assert all(name.startswith(kind) for name in ids)


def test_every_asset_is_of_a_section_and_every_class_of_sections_is_tested(every: dict[str, Section]):
    folder = Path(section.__file__).parent
    files = {path.stem for path in (folder / "sections").glob("*.py")} - {"__init__"}
    found, used = set(), set()
    for name in files:
        for value in vars(import_module(f"cfx.reports.sections.{name}")).values():
            if isinstance(value, type) and issubclass(value, Section) and value is not Section:
                found.add(value)
                used |= set(value.assets)
    in_runs = {"BasisChoice", "MetricTable", "TradeOffs"}  # test_page.py has a summary for them
    assert {each.__name__ for each in found} == {type(each).__name__ for each in every.values()} | in_runs
    shell = {"page.html", "page.css", "page.js"}
    assert {path.name for path in (folder / "assets").iterdir()} == used | shell


def test_empty_sections_are_left_out(tmp_path: Path):
    empty: list[Section] = [
        Cards(id="cards", title="Findings", cards=[]),
        Scatter(id="scatter", title="Groups", points=[], x=ROTATION, y=ACCURACY),
        Curve(id="curve", title="Curve", series={}, x=ROTATION, y=ACCURACY),
        Gates(id="gates", outcomes=[]),
    ]
    Page(title="Nothing", facts={}, sections=empty).write(tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text()
    assert "<h2" not in page and "<h3" not in page and page.count('type="application/json"') == 0


@pytest.mark.parametrize("ids", [("a", "a"), ("A",), ("a b",), ("",)])
def test_ids_are_different_and_plain(ids: tuple[str, ...]):
    with pytest.raises(ValueError, match="a section's id is lower case"):
        Page(title="", facts={}, sections=[Notes(id=name, notes=["x"]) for name in ids])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_cannot_be_drawn_are_refused(number: float):
    with pytest.raises(ValueError, match="cannot be drawn"):
        Scatter(id="a", points=[ScatterPoint(number, 1, "one")], x=ROTATION, y=ACCURACY)
    with pytest.raises(ValueError, match="cannot be drawn"):
        Curve(id="a", series={"one": [CurvePoint(1, number)]}, x=ROTATION, y=ACCURACY)
    with pytest.raises(ValueError, match="positive on a logarithmic axis"):
        Curve(id="a", series={"one": [CurvePoint(0, 1)]}, x=ROTATION, y=ACCURACY, log=True)


# What a page shares out


@dataclass(frozen=True, kw_only=True)
class Elastic(Section):
    """Takes any room between `least` and `wants`."""

    least: int
    wants: int

    def html(self) -> str:
        return "x" * self.wants

    def fit(self, room: int) -> Elastic:
        return self if room >= self.wants else replace(self, wants=max(self.least, room))


@pytest.mark.parametrize(
    ("wants", "room", "given"),
    [
        ([(0, 10), (0, 20)], 100, [10, 20]),
        ([(0, 10), (0, 1000), (0, 1000)], 110, [10, 50, 50]),
        ([(15, 15), (0, 20)], 24, [15, 9]),
        ([(0, 15), (20, 20)], 24, [4, 20]),
        ([(30, 30), (0, 20)], 24, [30, 0]),
        ([(0, 1000), (0, 30), (10, 500)], 230, [95, 30, 105]),
    ],
)
def test_room_is_shared_out(wants: list[tuple[int, int]], room: int, given: list[int]):
    sections = [Elastic(id=f"s{n}", least=least, wants=want) for n, (least, want) in enumerate(wants)]
    assert [each.weight() for each in fitted(sections, room)] == given


@pytest.mark.parametrize("share", [0.5, 0.8, 0.98])
def test_a_page_of_all_sections_keeps_to_its_budget(every: dict[str, Section], tmp_path: Path, share: float):
    path = tmp_path / "index.html"
    sections = [each for name, each in every.items() if name != "facts"]
    page = Page(title="All", facts={}, sections=sections)
    page.write(path)
    whole = path.stat().st_size
    page.write(path, budget=1)
    least = path.stat().st_size
    budget = int(least + share * (whole - least))
    page.write(path, budget=budget)
    assert path.stat().st_size <= budget, "and no more than a few pictures are missing that would have fitted"
    assert path.stat().st_size > budget - 8_000


# Memory


def test_a_hundred_thousand_answers_take_memory_for_those_that_are_shown(
    pictures: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = [tmp_path / f"{number}.png" for number in range(200)]
    for number, file in enumerate(files):
        file.write_bytes(pictures[number % 20] + bytes([number]))
    reads: Counter[str] = Counter()
    read = Path.read_bytes

    def counted(path: Path) -> bytes:
        reads[path.name] += 1
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counted)

    def items() -> Iterator[GalleryItem]:
        for place in range(100_000):  # the worst come in no order
            rank = place * 7_919 % 100_000
            yield item(rank, files[place % 100], files[100 + place % 100], ("leap", "pixel", "auto")[place % 3])

    tracemalloc.start()
    gallery = Gallery.of(items(), most=300_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not reads, "nothing is read before the page is written"
    kept = len(gallery.worst)
    assert 300 < kept < 2_000 and gallery.worst.count == 100_000
    assert peak < 4_000 * kept, "a hundred thousand answers would take 50 times as much"
    path = tmp_path / "index.html"
    Page(title="Many", facts={}, sections=[gallery]).write(path, budget=200_000)
    assert path.stat().st_size <= 200_000
    data = json.loads(re.findall('id="answers-data">(.*?)</script>', path.read_text())[0])
    rows = data["entries"]
    assert f"{100_000 - len(rows):,} of 100,000 answers are not on this page" in path.read_text()
    assert sum(reads.values()) <= 2 * len(rows), "only pictures that are shown"
    counts = Counter(row["engine"] for row in rows)
    assert max(counts.values()) - min(counts.values()) <= 1
    for engine in counts:  # whatever the order in which they came, the worst are there
        shown = [int(row["input"].split()[1]) for row in rows if row["engine"] == engine]
        every = sorted(p * 7_919 % 100_000 for p in range(100_000) if ("leap", "pixel", "auto")[p % 3] == engine)
        assert shown == every[: len(shown)]


def test_one_huge_picture_does_not_push_out_all_others(pictures: list[bytes]):
    worst = WorstAnswers(room=50_000)
    worst.add(item(0, pictures[0], bytes(100_000)))
    for place in range(1, 5):
        worst.add(item(place, pictures[0], pictures[1]))
    assert [kept.item.input for kept in worst.ranked()] == [f"image {place}" for place in range(1, 5)]
    assert worst.count == 5


def test_a_picture_that_is_missing_is_named(tmp_path: Path, pictures: list[bytes]):
    missing = tmp_path / "missing.png"
    with pytest.raises(DataError, match=r"missing\.png: the page needs this picture, but it could not be read"):
        Gallery.of([item(0, missing, pictures[0])])
    for look in (Picture.html, Picture.weight):
        with pytest.raises(DataError, match=r"missing\.png: the page needs"):
            look(Picture(missing, "nothing"))


# What the kinds say


def test_a_curve_has_its_numbers_in_a_table_and_its_bands_only_where_there_are_intervals():
    html = curve().html()
    assert html.count('class="band') == 3 and html.count('class="line') == 8, "four lines, and four in the legend"
    assert '<th scope="row">-30°</th><td>75.0 % (70.0 % to 80.0 %)</td>' in html
    assert html.count("<td>-</td>") == 5, "where a line has no point"
    assert 'role="img" aria-label="accuracy against rotation: all, of 4, ' in html
    assert len(set(re.findall(r'class="line kind-\d" d="[^"]*"( stroke-dasharray="[^"]*")?', html))) == 4


def test_a_scatter_names_its_points_and_tells_kinds_by_shape_too(pictures: list[bytes]):
    html = scatter(pictures).html()
    assert '<path class="mark kind-0" role="img" aria-label="digit 0 (class 0): first axis 0, L1 0"' in html
    assert "class 0 (6)" in html
    shapes = {(found[0], found[1]) for found in re.findall(r'class="mark (kind-\d)" role.*? d="([^"]*)"', html)}
    assert len(shapes) == 10
    assert 'role="group" aria-label="L1 against first axis, 60 points"' in html


def test_cards_and_strips_have_alternatives_for_every_picture(pictures: list[bytes]):
    for each in (cards(pictures), strip(pictures)):
        assert len(re.findall(r'<img alt="a digit, \d+"', each.html())) == 20
    assert "<h3>4 and 9 are mixed up, 0</h3>" in cards(pictures).html(), "one level below the section's own"
    assert "<dt>share</dt><dd>12.0 % (8.1 to 17.3)</dd>" in cards(pictures).html()
    assert escape(HOSTILE) in strip(pictures).html()


# In a browser


@pytest.fixture
def opened(browser: Browser, every: dict[str, Section], tmp_path: Path) -> Callable[[int], Browser]:
    def call(width: int = 1280) -> Browser:
        path = tmp_path / "index.html"
        sections = [each for name, each in every.items() if name != "facts"]
        Page(title="All", facts={"images": "20"}, sections=sections).write(path)
        browser.open(path)
        return browser

    return call


def test_every_section_opens_without_complaint(opened: Callable[..., Browser]):
    browser = opened()
    assert browser.run("return [...document.images].every(i => i.alt && i.complete && i.naturalWidth)")
    assert browser.texts("main h2") == ["Accuracy by rotation", "Groups", "One image, turned", "Findings", "Answers"]
    assert browser.errors() == []


def test_points_of_a_scatter_are_chosen_by_click_and_by_key(opened: Callable[..., Browser]):
    browser = opened()
    chosen = "return document.querySelector('.chosen-point p')?.textContent"
    stops = "return document.querySelectorAll('[data-scatter] .mark[tabindex=\"0\"]').length"
    assert browser.run(chosen) is None and browser.run(stops) == 1
    browser.run("document.querySelectorAll('[data-scatter] .mark')[5].dispatchEvent(new Event('click'))")
    assert browser.run(chosen) == "digit 5 (class 5): first axis 5, L1 12" and browser.run(stops) == 1
    assert browser.run("return document.querySelectorAll('.chosen-point img').length") == 1
    browser.run("const mark = document.querySelector('[data-scatter] .mark.chosen'); mark.focus();"
                "mark.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))")  # fmt: skip
    assert browser.run(chosen).startswith("digit 22 "), "the next to the right"
    assert browser.run("return document.activeElement.getAttribute('aria-label')").startswith("digit 22 ")
    assert browser.errors() == []


@pytest.mark.parametrize("width", [320, 1280])
def test_no_section_sticks_out_sideways(opened: Callable[..., Browser], width: int):
    browser = opened()
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
        assert browser.run("return document.documentElement.scrollWidth") <= width
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
