"""The overview: one picture that compares engines on one image, with one row per engine."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ..answer import Answer
from ..wording import looks, percent
from .held import drawn
from .panel import change_picture, enlarge, outline
from .sheet import BAD, FAINT, GAP, GOOD, INK, MARGIN, Colour, Sheet

SIDE = 140  # minimum of an image's longer side, in pixels
LABELS = 300  # width of the text beside an engine's images, in pixels


def draw_overview(answers: Sequence[Answer]) -> Image.Image:
    """Draw the factual, the counterfactual and the signed change of each engine, with the main findings.

    Args:
        answers: answers to the same question.
    """
    asked = answers[0]
    width, height = enlarge(drawn(asked.pictures)[0], SIDE).size
    top = MARGIN + 92
    sheet = Sheet(2 * MARGIN + LABELS + 3 * (width + GAP), top + len(answers) * (height + GAP))
    title = f"What would make this {asked.wording}?"
    sheet.write((MARGIN, MARGIN - 4), title, 24, INK, sheet.width - 2 * MARGIN)
    seen = f"the model sees {asked.factual}; {100 * asked.threshold:g} % sure of the target is asked for"
    sheet.write((MARGIN, MARGIN + 30), seen, 15, FAINT, sheet.width - 2 * MARGIN)
    for column, heading in enumerate(("factual", "counterfactual", "what changed")):
        middle = MARGIN + LABELS + GAP + column * (width + GAP) + width // 2
        sheet.write((middle, top - 26), heading, 15, FAINT, width + GAP - 6, centred=True)
    for place, answer in enumerate(answers):
        factual, found = drawn(answer.pictures)
        row_top = top + place * (height + GAP)
        change, _ = change_picture(factual, found)
        for column, picture in enumerate((factual, found, change)):
            left = MARGIN + LABELS + GAP + column * (width + GAP)
            enlarged = enlarge(picture, SIDE)
            if column == 1:
                outline(enlarged, answer.regions, enlarged.width / picture.width)
            sheet.place(enlarged, (left, row_top))
        number = f", {answer.place} of {answer.of}" if answer.of > 1 else ""
        sheet.write((MARGIN, row_top + 6), answer.label + number, 20, INK, LABELS)
        for line, (text, colour) in enumerate(findings(answer)):
            sheet.write((MARGIN, row_top + 38 + 23 * line), text, 15, colour, LABELS)
    return sheet.picture


def findings(answer: Answer) -> list[tuple[str, Colour]]:
    """The lines of text beside an engine's images."""
    sure, target = percent(answer.target_confidence), answer.target
    of_it = f" of {target}" if len(answer.question.among) > 1 else ""
    lines = [(f"valid: the model is {sure} sure{of_it}", GOOD) if answer.valid else (f"not valid: {sure}{of_it}", BAD)]
    agrees, judge = answer.metrics.get("judge_agrees"), answer.value("judge_confidence")
    if agrees is not None and judge is not None:
        verdict = "judges agree" if agrees else "judges disagree"
        lines.append((f"{verdict}: {percent(judge)} for {target}", GOOD if agrees else BAD))
    real, realism, sharpness = (
        answer.value(name) for name in ("looks_real", "realism_percentile", "sharpness_percentile")
    )
    if real:
        lines.append((f"looks real: realism {realism:.0f}, sharpness {sharpness:.0f}", GOOD))
    elif real is not None:
        lines.append((looks(answer.metrics), BAD))
    elif realism is not None:
        lines.append((f"realism percentile {realism:.0f}", FAINT))
    l1 = answer.value("l1")
    if l1 is not None:
        lines.append((f"L1 {l1:.1f}, {answer.cost.seconds:.2g} s", FAINT))
    return lines
