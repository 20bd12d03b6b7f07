"""The page of a run: what is on it, what it costs, and how it behaves in a browser."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cfx.answers.answer import Answer, Cost, Envelope
from cfx.answers.pictures.held import InRun
from cfx.answers.question import Question, Source
from cfx.answers.seen import Seen
from cfx.benchmarks.summary import gather, summarise
from cfx.images.writing import to_picture
from cfx.metrics.catalogue import BY_NAME
from cfx.reports.axes import FRAME, Scale, Span
from cfx.reports.figures import figures
from cfx.reports.gallery import GalleryItem
from cfx.reports.page import Page
from cfx.reports.plots import Point, place_labels, trade_off
from cfx.reports.section import BUDGET, Section
from cfx.reports.sections.gallery import Gallery
from cfx.reports.sections.glossary import OF_COUNTERFACTUALS
from cfx.reports.summary import BundleName, Summary

ENVELOPE = Envelope(bundle="mnist", digest="0", settings={}, confidence=0.9, device="cpu", seed=0)
ENGINES = ("latent", "vcnet", "projection", "noise")
Browser = Any  # conftest's Browser
HOSTILE = "</script><img src=x onerror=alert(1)>{{data}}<!--\udcff"


def png(image: Tensor) -> bytes:
    content = BytesIO()
    to_picture(image).save(content, "PNG", optimize=True)
    return content.getvalue()


def entry(pictures: list[bytes], place: int = 0, **fields: Any) -> GalleryItem:
    """An answer: digit `place` becomes one of the class after it."""
    factual, target = place % 10, (place + 1) % 10
    given = {
        "input": f"mnist test {place}", "engine": "vcnet", "factual": str(factual), "factual_confidence": 0.993,
        "target": str(target), "found": str(target), "confidence": 0.912, "valid": True,
        "metrics": {"judge_agrees": True, "looks_real": True, "realism_percentile": 42.0, "l1": 83.25},
        "factual_png": pictures[2 * factual], "counterfactual_png": pictures[2 * target + 1],
    }  # fmt: skip
    return GalleryItem(**(given | fields))


@pytest.fixture(scope="session")
def answers(pictures) -> list[GalleryItem]:
    """Each engine's answers to twenty questions: all kinds of verdicts."""
    verdicts = list(product((True, False), (True, False, None), (True, False, None)))
    result = []
    for (number, engine), place in product(enumerate(ENGINES), range(20)):
        valid, agrees, real = verdicts[(3 * number + place) % len(verdicts)]
        metrics = {"judge_agrees": agrees, "looks_real": real, "realism_percentile": float(place), "l1": 40.0 + place}
        result.append(entry(pictures, place, engine=engine, valid=valid, metrics=metrics))
    return result


@pytest.fixture(scope="session")
def summary() -> Summary:
    """Of engines that solve different pairs; the control is nearest, fastest and always valid."""
    records = []
    for number, engine in enumerate(ENGINES):
        control = engine == "noise"
        for pair in range(40):
            valid = control or (pair * 7 + number) % 10 > number
            metrics = {"judge_agrees": not control and pair % 9 > 0, "looks_real": not control and pair % 4 >= number,
                       "l1": 10.0 if control else 60.0 + 10 * number + pair}  # fmt: skip
            cost = Cost(steps=1, forward_calls=2, seconds=0.001 if control else 0.01 * (number + 1))
            question = Question(source=Source(name=f"{pair}.png"), factual=Seen("4", 0.99), target="9", number=pair)
            records.append(
                Answer(question=question, engine=engine, counterfactual=Seen("4", 0.99), valid=valid,
                       target_confidence=0.95, metrics=metrics, cost=cost,
                       envelope=ENVELOPE, pictures=InRun(Path(), {}))
            )  # fmt: skip
    found = gather(records, 40, {engine: engine == "noise" for engine in ENGINES})
    return summarise(found, bundle=BundleName(name="mnist", digest="0"), notes=[f"lpips: {HOSTILE[:-1]}"])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def call(entries: list[GalleryItem], *, summary: Summary | None = None, budget: int = BUDGET, **given: Any) -> Path:
        """The page of `cfx bench`, or without a summary that of `cfx explain`."""
        path = tmp_path / "index.html"
        sections: list[Section] = [OF_COUNTERFACTUALS]
        if summary is not None:
            sections += figures(summary)
        sections.append(Gallery.of(entries, controls=[] if summary is None else summary.controls))
        Page(**({"title": "cfx bench", "facts": {}, "sections": sections} | given)).write(path, budget)
        return path

    return call


def data_of(path: Path) -> dict[str, Any]:
    found = re.findall(
        r'<script type="application/json" id="answers-data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL
    )
    assert len(found) == 1
    return json.loads(found[0])


def views(path: Path) -> list[str]:
    """The figures over the common pairs, and those over each engine's own."""
    text = path.read_text("utf-8")
    marks = r'<div class="(?:plots )?of-(common|valid)[^"]*">'
    parts = re.split(marks, text.split("<section")[1].split("</main>")[0])[1:]
    found = {view: "".join(parts[n + 1] for n in range(0, len(parts), 2) if parts[n] == view) for view in parts[::2]}
    assert sorted(found) == ["common", "valid"]
    return [found["common"], found["valid"]]


# What is in the file


def test_the_worst_come_first(write, pictures):
    def answer(name: str, valid: bool, agrees: bool | None, real: bool | None, percentile: float | None) -> GalleryItem:
        metrics = {"judge_agrees": agrees, "looks_real": real, "realism_percentile": percentile}
        return entry(pictures, input=name, valid=valid, metrics=metrics)

    wanted = [
        answer("not valid, ghost", False, True, True, 1.0),
        answer("not valid", False, False, False, 30.0),
        answer("not valid, nobody knows", False, None, None, None),
        answer("judges disagree, ghost", True, False, False, 0.0),
        answer("judges disagree", True, False, True, 60.0),
        answer("does not look real", True, True, False, 2.0),
        answer("does not look real, judges unknown", True, None, False, 4.0),
        answer("good", True, True, True, 8.0),
        answer("better", True, True, True, 80.0),
        answer("nobody knows", True, None, None, None),
    ]
    found = data_of(write(wanted[::-1]))
    assert [row["input"] for row in found["entries"]] == [answer.input for answer in wanted]
    assert [row["position"] for row in found["entries"]] == list(range(9, -1, -1)), "where they came from is kept"


def test_a_picture_is_stored_once(write, pictures):
    found = data_of(write([entry(pictures, place, engine=engine) for place in range(20) for engine in ENGINES]))
    assert len(found["entries"]) == 80 and len(found["pictures"]) == 20
    assert len(set(found["pictures"])) == 20


def test_the_budget_is_kept_and_said_and_each_engine_keeps_its_worst(write, answers):
    whole = write(answers).stat().st_size
    budget = whole - 5_000
    path = write(answers, budget=budget)
    found = data_of(path)
    kept, left = len(found["entries"]), len(answers) - len(found["entries"])
    assert budget - 3_000 < path.stat().st_size <= budget, "no room is wasted either"
    assert f"<strong>{left:,} of 80 answers are not on this page</strong>" in path.read_text()
    assert f"The {kept} shown are the worst ones of each engine" in path.read_text()
    counts = Counter(row["engine"] for row in found["entries"])
    assert len(counts) == len(ENGINES) and max(counts.values()) - min(counts.values()) <= 2
    for engine in ENGINES:
        ranked = sorted((answer for answer in answers if answer.engine == engine), key=lambda answer: answer.severity)
        assert [row["input"] for row in found["entries"] if row["engine"] == engine] == [
            answer.input for answer in ranked
        ][: counts[engine]]
    assert "are not on this page" not in write(answers).read_text()


def test_a_budget_that_is_too_small_for_any_picture_leaves_the_figures(write, answers, summary):
    path = write(answers, summary=summary, budget=1_000)
    assert data_of(path)["entries"] == [] and data_of(path)["pictures"] == []
    assert "80 of 80 answers are not on this page" in path.read_text() and "<table>" in path.read_text()


def test_hostile_names_stay_text(write, pictures, summary):
    named = replace(summary, engines={HOSTILE: summary.engines["latent"]}, compared=(HOSTILE,))
    answer = entry(pictures, input=HOSTILE, engine=HOSTILE, factual=HOSTILE, target=HOSTILE, found=HOSTILE)
    path = write([answer], title=HOSTILE, facts={HOSTILE: HOSTILE, "command": HOSTILE}, summary=named)
    page = path.read_text("utf-8")
    assert "<img" not in page and page.count("</script>") == page.count("<script") == 4 and page.count("<!--") == 0
    row = data_of(path)["entries"][0]
    assert row["input"] == row["engine"] == row["seen"] == HOSTILE, "and comes out as it went in"
    assert unescape(re.findall("<h1>(.*?)</h1>", page)[0]) == HOSTILE[:-1] + "?", (
        "which is no Unicode, and so not UTF-8"
    )


def test_numbers_that_are_none_are_left_out(write, pictures):
    metrics = {"im1": float("nan"), "im2": float("inf"), "l1": 1 / 3, "looks_real": None, "judge_agrees": False}
    found = data_of(write([entry(pictures, metrics=metrics)]))
    assert found["entries"][0]["metrics"] == {"confidence": 0.912, "judge_agrees": 0, "l1": 0.333333}


def test_nothing_is_fetched(write, answers, summary):
    page = write(answers, summary=summary).read_text("utf-8")
    assert "default-src 'none'; img-src data: blob:;" in page and '<link rel="icon" href="data:,">' in page
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import|\bfetch\(|XMLHttpRequest|innerHTML",
        re.sub('<script type="application/json".*?</script>', "", page),
    )
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,"]


def test_without_a_summary_there_is_only_the_gallery(write, answers):
    page = write(answers).read_text("utf-8")
    assert "<table>" not in page and "<svg" not in page and 'id="answers"' in page


def test_the_best_is_marked_and_never_a_control(write, answers, summary):
    for view, text in zip(("common", "valid"), views(write(answers, summary=summary)), strict=True):
        rows = re.findall(r'<tr><th scope="row">(.*?)&nbsp;.*?</th>(.*?)</tr>', text)
        assert len(rows) > 5
        for label, cells in rows:
            metric = next(metric for metric in BY_NAME.values() if metric.label == unescape(label))
            kinds = re.findall('<td class="(.*?)"', cells)
            assert kinds[-1] == "control" and len(kinds) == len(ENGINES)
            marked = {engine for engine, kind in zip(ENGINES, kinds, strict=True) if kind == "best"}
            assert marked == summary.best(metric.name, view)
            assert cells.count("<strong>") == len(marked)
        found = dict(rows)
        assert "best" in found["L1"] and "best" in found["images per second"]
        assert "<small>control</small>" in text and "Controls are over all of their answers." in text


def test_each_figure_says_over_which_pairs_it_is(write, answers, summary):
    common, valid = views(write(answers, summary=summary))
    count = summary.common_pairs
    assert 0 < count < 40
    assert f"Over the {count} of 40 pairs that every compared engine solved" in common and "survivor bias" in valid
    for text, words in ((common, "common pairs"), (valid, "its own valid pairs")):
        basis = dict(re.findall(r'<th scope="row">(.*?)&nbsp;.*?<small>(.*?)</small>', text))
        assert basis["L1"] == basis["judges agree"] == words
        assert basis["valid"] == basis["steps"] == "all pairs", "whatever the others are over"
    l1 = summary.engines["latent"].estimate("l1", "common")
    shown = [BY_NAME["l1"].shown(getattr(l1, key)) for key in ("mean", "low", "high")]
    assert re.search(rf">{shown[0]}(</strong><span.*?</span>)?<small>{shown[1]} to {shown[2]}</small>", common)
    assert 'value="common" checked' in write(answers, summary=summary).read_text()
    nobody = write(answers, summary=replace(summary, common_pairs=0)).read_text()
    assert 'value="valid" checked' in nobody, "an empty table is no place to begin"


# Trade-offs


def test_plots_contain_every_engine(write, answers, summary):
    for text in views(write(answers, summary=summary)):
        plots = re.findall("<svg.*?</svg>", text)
        assert len(plots) == 12, "validity, judges, realism against distance and speed; without controls and with them"
        for number, plot in enumerate(plots):
            engines = ENGINES[:-1] if number < 6 else ENGINES
            assert re.findall(r'<text class="label.*?">(.*?)</text>', plot) == list(engines)
            assert plot.count("<circle") == len(engines)
            assert plot.count('class="point control"') == (number >= 6)
            assert "higher is better ↑" in plot
            assert (
                "L1, lower is better ←" if number % 6 < 3 else "images per second, log scale, higher is better →"
            ) in plot
            assert ">100<" in plot or number % 6 < 3


def test_an_engine_without_a_value_is_named_below_the_plot(write, answers, summary):
    vcnet = summary.engines["vcnet"]
    without = replace(vcnet, metrics={**vcnet.metrics, "looks_real": {"valid": None, "common": None}})
    poorer = replace(summary, engines={**summary.engines, "vcnet": without})
    captions = re.findall("<figcaption>(.*?)</figcaption>", views(write(answers, summary=poorer))[0])
    assert "looks real against L1 (no value: vcnet)" in captions and "valid against L1" in captions


@pytest.mark.parametrize("spread", [0.0, 3.0, 400.0])
def test_labels_stay_inside_and_off_one_another(spread: float):
    generator = np.random.default_rng(0)
    middle = np.array([(FRAME.left + FRAME.right) / 2, FRAME.top + 5])
    places = [tuple(middle + spread * (generator.random(2) - 0.5) * (0.7, 0)) for _ in range(9)]
    widths = [6.4 * letters for letters in (6, 6, 5, 10, 5, 7, 11, 12, 24)]
    labels = place_labels(places, widths, [])
    for number, label in enumerate(labels):
        assert FRAME.holds(label)
        assert not any(label.overlap(other) for other in labels[:number])


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[1.0], [7.7, 153.0], [0.004, 1500.0], [42.2, 79.8, 102.0]])
def test_an_axis_holds_its_values_between_round_ticks(values: list[float], log: bool):
    metric = BY_NAME["images_per_second"]
    point = Span(0.5)
    svg = trade_off([Point("a", False, Span(value), point) for value in values], metric, BY_NAME["validity"], log=log)
    ticks = re.findall(r'<text class="tick x" x="(.*?)".*?>(.*?)<', svg)
    assert 2 <= len(ticks) <= 8
    where = [float(place) for place in re.findall(r'cx="(.*?)"', svg)]
    assert where == sorted(where) and min(where) >= FRAME.left and max(where) <= FRAME.right


def test_shares_never_leave_nought_to_one():
    spans = [Span(1.0, 0.996, 1.0), Span(0.999, 0.99, 1.0)]
    svg = trade_off([Point("a", False, Span(1.0), s) for s in spans], BY_NAME["l1"], BY_NAME["validity"])
    ticks = [float(text) for text in re.findall(r'<text class="tick y".*?>(.*?) %<', svg)]
    assert max(ticks) == 100 and min(ticks) >= 95


def test_a_scale_maps_its_ends():
    assert Scale(0, 10, 100, 200)(5) == 150
    assert Scale(0, 2, 100, 200, log=True)(10) == 150
    assert Scale(0, 2, 100, 200, log=True).ticks() == [1, 10, 100]


# In a browser


def test_the_gallery_shows_filters_and_counts(browser: Browser, write, answers, summary):
    browser.open(write(answers, summary=summary))
    assert browser.count == "60 of 80 answers", "controls wait until they are asked for"
    assert browser.texts(".verdicts")[0].startswith("✗ not valid")
    browser.choose("engine", "*")
    assert browser.count == "80 of 80 answers"
    browser.choose("verdict", "not-valid")
    invalid = sum(not answer.valid for answer in answers)
    assert browser.count == f"{invalid} of 80 answers"
    assert all(text.startswith("✗ not valid") for text in browser.texts(".verdicts"))
    browser.choose("verdict", "judges-disagree")
    disagreeing = sum(answer.metrics["judge_agrees"] is False for answer in answers)
    assert browser.count == f"{disagreeing} of 80 answers"
    browser.choose("verdict", "")
    browser.choose("from", "=3")
    browser.choose("to", "=4")
    assert browser.count == "8 of 80 answers" and set(browser.texts(".card h3")) == {"3 → 4"}
    browser.choose("engine", "=vcnet")
    assert browser.count == "2 of 80 answers" and set(browser.texts(".card .engine")) == {"vcnet"}
    browser.choose("to", "=5")
    assert browser.count == "None of 80 answers" and browser.texts(".card") == []
    assert browser.errors() == []


def test_the_gallery_sorts(browser: Browser, write, answers):
    browser.open(write(answers))

    def l1() -> list[float]:
        found = browser.run("return [...document.querySelectorAll('.card')].map(c => [...c.querySelectorAll('dl div')]"
                            ".find(d => d.firstChild.textContent === 'L1').lastChild.textContent)")  # fmt: skip
        return [float(value) for value in found]

    browser.choose("sort", "=l1")
    assert l1() == sorted(l1(), reverse=True) and l1()[0] == 59
    browser.choose("order", "best")
    assert l1() == sorted(l1()) and l1()[0] == 40
    browser.choose("sort", "question")
    assert browser.texts(".card .input")[:5] == ["mnist test 0"] * 4 + ["mnist test 1"]
    browser.run("document.querySelectorAll('.card .input')[4].click()")
    assert browser.count == "4 of 80 answers" and browser.texts(".card .engine") == list(ENGINES)
    browser.run("history.back()")
    browser.wait("document.getElementById('answers-count').textContent === '80 of 80 answers'")
    assert browser.errors() == []


def test_a_view_can_be_linked_to(browser: Browser, write, answers, summary):
    path = write(answers, summary=summary)
    browser.open(path, "#verdict=not-valid&engine=%3Dlatent&basis=valid&controls=")
    assert browser.count == f"{sum(not a.valid for a in answers if a.engine == 'latent')} of 80 answers"
    visible = "return [...document.querySelectorAll('table, .plots')].map(e => e.checkVisibility())"
    assert browser.run(visible) == [False, True] + [False] * 3 + [True], "own valid pairs, with controls"
    browser.run("document.querySelector('input[value=common]').click()")
    assert browser.run(visible) == [True, False, False, True, False, False]
    browser.run("document.querySelector('input[name=controls]').click()")
    assert browser.run(visible) == [True, False, True, False, False, False]
    assert browser.run("return location.hash") == "#engine=%3Dlatent&verdict=not-valid"
    browser.open(path, "#engine=nobody&sort=%3Dnothing&verdict=x")
    assert browser.count == "60 of 80 answers", "a link to what is not there shows everything"
    assert browser.errors() == []


def test_hostile_names_stay_text_in_the_browser(browser: Browser, write, pictures):
    name = HOSTILE[:-1]
    browser.open(write([entry(pictures, input=name, engine=name, factual=name, target=name, found=name)], title=name))
    assert browser.texts(".card h3") == [f"{name} → {name}"] and browser.texts("h1") == [name]
    assert browser.run("return document.images.length") == 2
    browser.choose("engine", f"={name}")
    assert browser.count == "1 of 1 answers"
    assert browser.errors() == []


def test_values_are_printed_as_in_tables(browser: Browser, write, pictures):
    values = {"im1": 0.00123449, "im2": 12.3456, "l0": 0.24567, "l1": 137.49, "l2": 7.0, "linf": None, "cout": -0.96449}
    browser.open(write([entry(pictures, metrics=values), entry(pictures, 1, metrics={"linf": 0.5})], budget=10**6))
    browser.run("document.querySelector('.card details').open = true")
    browser.wait("document.querySelectorAll('.card:first-child dl').length === 2")
    cells = browser.texts(".card:first-child details :is(dt, dd)")
    wanted = {"confidence": 0.912, **values}
    assert dict(zip(cells[::2], cells[1::2], strict=True)) == {
        BY_NAME[name].label: BY_NAME[name].shown(value) for name, value in wanted.items()
    }


def drawn_change(browser: Browser, path: Path) -> np.ndarray:
    """The canvas of the first card: (H, W, 4)."""
    browser.open(path)
    values = browser.run(
        "const c = document.querySelector('.card canvas');"
        "return [c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
    )
    return np.array(values[2]).reshape(values[0], values[1], 4)


def test_the_change_has_its_sign_and_size(browser: Browser, write, pictures, digits):
    before, after = (np.asarray(Image.open(BytesIO(pictures[n]))).astype(int) for n in (0, 3))
    found = drawn_change(browser, write([entry(pictures)]))
    change = after - before
    assert np.abs(found[..., 3] - 255 * np.abs(change) / np.abs(change).max()).max() <= 0.51, "none where none"
    red, blue = found[..., 0] > found[..., 2], found[..., 2] > found[..., 0]
    strong = found[..., 3] > 32
    assert (red == (change > 0))[strong].all() and (blue == (change < 0))[strong].all()
    assert red.any() and blue.any()


def test_a_change_of_colour_alone_is_seen(browser: Browser, write, pictures, digits):
    digit = digits[0][:1, 0]
    nothing = torch.zeros_like(digit)
    red, green = (png(torch.cat(channels)) for channels in ((digit, nothing, nothing), (nothing, digit, nothing)))
    found = drawn_change(browser, write([entry(pictures, factual_png=red, counterfactual_png=green)]))
    assert ((found[..., 3] > 0) == (digit[0].numpy() > 0)).all()
    strong = found[..., 3] > 32
    assert (found[..., 0] > found[..., 2])[strong].all(), "green is brighter than red"
    same = drawn_change(browser, write([entry(pictures, factual_png=red, counterfactual_png=red)]))
    assert not same.any() and browser.texts("canvas + figcaption span") == ["nothing"]
    assert browser.errors() == []


def test_a_damaged_picture_is_said(browser: Browser, write, pictures):
    browser.open(write([entry(pictures, counterfactual_png=b"no picture")]))
    assert browser.texts("canvas + figcaption span") == ["a picture is damaged"]


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_sticks_out_sideways(browser: Browser, write, answers, summary, width: int):
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    try:
        named = [replace(answers[0], input="a/very/long/path/" * 20, engine="engine" * 20), *answers]
        browser.open(write(named, summary=summary, facts={"command": "cfx bench " + "x" * 300}))
        assert browser.run("return document.documentElement.scrollWidth") <= width
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def thousand_questions(digits: tuple[Tensor, Tensor], engines: tuple[str, ...]) -> Iterator[GalleryItem]:
    """A thousand questions to each engine; every picture is another one, being a real digit, moved a little."""
    images, labels = digits
    by_class = [images[labels == number] for number in range(10)]
    generator = np.random.default_rng(0)

    def moved(image: Tensor, place: int) -> bytes:
        return png(torch.roll(image, (place % 5 - 2, place // 5 % 5 - 2), dims=(1, 2)))

    for place in range(1000):
        factual, target = place % 10, (place + 1 + place // 10 % 9) % 10
        picture = moved(by_class[factual][place // 10 % 40], place // 400)
        for number, engine in enumerate(engines):
            index = number * 1000 + place
            answer = moved(by_class[target][(place // 10 + 7 * number) % 40], index // 240)
            names = ("judge_confidence", "realism_percentile", "knn_agreement", "im1", "im2", "l0", "l1", "l2", "linf")
            names += ("lpips", "cout", "robust_noise", "robust_retrained")
            metrics: dict[str, float | bool | None] = dict(zip(names, generator.random(len(names)), strict=True))
            metrics |= {"judge_agrees": bool(index % 50), "looks_real": bool(index % 4)}
            yield GalleryItem(
                f"mnist test {place}", engine, str(factual), 0.99, str(target), str(target), 0.9, bool(index % 300),
                metrics, picture, answer,
            )  # fmt: skip


@pytest.mark.slow
def test_six_thousand_answers_open_in_less_than_three_seconds(browser: Browser, write, digits, summary):
    entries = list(thousand_questions(digits, (*ENGINES, "diffeo", "third-party")))
    path = write(entries, summary=summary)
    data = data_of(path)
    size = path.stat().st_size / 1e6
    assert len(data["entries"]) == 6000 and size < 25
    browser.open(path)  # once to have Chromium itself warm
    seconds = browser.open(path)
    print(f"{len(data['pictures'])} pictures, {size:.2f} MB, {seconds:.2f} s")
    assert seconds < 3
    assert browser.count == "5,000 of 6,000 answers" and 60 <= len(browser.texts(".card")) <= 120
    before = len(browser.texts(".card"))
    browser.run("document.getElementById('answers-more').scrollIntoView()")
    browser.wait(f"document.querySelectorAll('.card').length > {before}")
    started = time.perf_counter()
    browser.choose("sort", "=im1")
    assert time.perf_counter() - started < 1
    assert browser.errors() == []
